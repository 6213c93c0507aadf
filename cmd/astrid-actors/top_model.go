package main

import (
	"errors"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/astrid-actors/astrid-actors/messages"
)

// ratesOver is how far back rates are counted at least, once that is known.
const ratesOver = 3 * time.Second

// topModel is all that top shows. It knows neither terminal nor daemon: it is told
// what was seen and pressed, and draws a screen. It has no lock.
type topModel struct {
	painter       painter
	columns       []topColumn
	width, height int

	tree    *messages.Tree
	at      time.Time         // when the tree came, by our clock
	now     time.Time         // the last moment that we heard of, by our clock
	bases   [2]*messages.Tree // rates are counted from the first
	stale   error             // why there is no newer tree; nil where there is
	details map[string]*messages.CapsuleDetail
	deaths  []time.Time // the restarts of the last hour, by the daemon's clock

	rows     []topRow // what is left of the filter, in order
	order    int      // the place in columns of what is sorted by
	filter   string
	typing   bool // keys go into the filter
	paused   bool
	selected string // an id; where it is not among the rows, the first is
	first    int    // the row at the top of the screen
	open     string // the capsule that is shown closely; "" for none
	scroll   int    // lines of it that are above the screen
	asking   string // whose restart waits for a yes
	note     string // what came of the last action
}

// topAction is what the model wants to be done.
type topAction struct {
	do topVerb
	id string
}

type topVerb int

const (
	topNothing topVerb = iota
	topQuit
	topLook
	topRestart
)

func newTopModel(p painter, tree *messages.Tree, now time.Time) *topModel {
	m := &topModel{painter: p, columns: topColumns(), width: 80, height: 24, details: map[string]*messages.CapsuleDetail{}}
	m.look(looked{tree: tree}, now)
	return m
}

// resize is told of the terminal's size.
func (m *topModel) resize(width, height int) { m.width, m.height = width, height }

// look takes what a look at the daemon has brought, at a moment by our clock.
func (m *topModel) look(l looked, now time.Time) {
	for _, d := range l.details {
		m.details[d.GetCapsule().GetId()] = d
	}
	if m.paused {
		return
	}
	m.now, m.stale = now, l.err
	if l.err != nil {
		return
	}
	if m.tree == nil || !l.tree.GetStarted().AsTime().Equal(m.tree.GetStarted().AsTime()) {
		m.bases = [2]*messages.Tree{nil, l.tree} // another daemon, or one that has started only now
	}
	if at := l.tree.GetAt().AsTime(); at.Before(m.bases[1].GetAt().AsTime()) {
		// Its clock was set back: what was counted by it is counted anew.
		m.bases = [2]*messages.Tree{nil, l.tree}
		m.deaths = slices.DeleteFunc(m.deaths, at.Before)
	}
	if l.tree.GetAt().AsTime().Sub(m.bases[1].GetAt().AsTime()) >= ratesOver {
		m.bases = [2]*messages.Tree{m.bases[1], l.tree}
	}
	m.tree, m.at = l.tree, now
	m.arrange()
}

// base is what rates are counted from.
func (m *topModel) base() *messages.Tree {
	if m.bases[0] != nil {
		return m.bases[0]
	}
	return m.bases[1]
}

// arrange makes the rows anew.
func (m *topModel) arrange() {
	m.rows = topRows(m.tree, m.base(), m.details, topMatches(m.filter), m.columns[m.order].compare)
}

// clock is the daemon's clock, now.
func (m *topModel) clock() time.Time { return m.tree.GetAt().AsTime().Add(m.now.Sub(m.at)) }

// wanted are the capsules to be looked at closely: the open one, and some of those
// that their limits may show to be in trouble, where these are not known yet.
func (m *topModel) wanted() []string {
	const atOnce = 16
	var ids []string
	if m.open != "" {
		ids = append(ids, m.open)
	}
	for i := range m.rows {
		c := m.rows[i].capsule
		strained := m.rows[i].trouble != nil || c.GetQueue() > 0 || c.GetState() == messages.CapsuleState_CAPSULE_STATE_STOPPING
		if !strained || c.GetId() == m.open || len(ids) == atOnce {
			continue
		}
		if d := m.details[c.GetId()]; d == nil || d.GetCapsule().GetGeneration() != c.GetGeneration() {
			ids = append(ids, c.GetId())
		}
	}
	return ids
}

// countRestarts counts restarts, of which some may be known.
func (m *topModel) countRestarts(at []time.Time) {
	for _, t := range at {
		if n := len(m.deaths); n == 0 || t.After(m.deaths[n-1]) {
			m.deaths = append(m.deaths, t)
		}
	}
	hour := m.clock().Add(-time.Hour)
	m.deaths = slices.DeleteFunc(m.deaths, func(t time.Time) bool { return t.Before(hour) })
}

// answered says what came of a restart.
func (m *topModel) answered(r restarted) {
	if r.err == nil {
		m.note = "restarted " + printable(r.id)
		return
	}
	text := r.err.Error()
	if answer, ok := errors.AsType[*connect.Error](r.err); ok {
		text = answer.Message()
	}
	m.note = "error: " + printable(text)
}

// press takes a key: its name, and the text that it stands for.
func (m *topModel) press(key, text string) topAction {
	switch {
	case key == "ctrl+c":
		return topAction{do: topQuit}
	case m.asking != "":
		return m.answer(key)
	case m.typing:
		m.typeKey(key, text)
		return topAction{}
	}
	m.note = ""
	switch key {
	case "q":
		return topAction{do: topQuit}
	case "r":
		m.asking = m.open
		if m.open == "" {
			m.asking = m.current()
		}
	case "space":
		m.paused = !m.paused
		return topAction{do: topLook}
	case "up", "k":
		m.move(-1)
	case "down", "j":
		m.move(1)
	case "pgup":
		m.move(-m.page())
	case "pgdown":
		m.move(m.page())
	case "home", "g":
		m.move(-len(m.rows) - m.scroll)
	case "end", "G":
		m.move(len(m.rows) + 1<<16)
	default:
		return m.pressOn(key)
	}
	return topAction{}
}

// pressOn takes the keys that change what is shown.
func (m *topModel) pressOn(key string) topAction {
	switch key {
	case "esc":
		if m.open != "" {
			m.open, m.scroll = "", 0
			break
		}
		m.filter = ""
		m.arrange()
	case "enter":
		if m.open == "" {
			m.open, m.scroll = m.current(), 0
			return topAction{do: topLook}
		}
		m.open, m.scroll = "", 0
	case "/":
		m.open, m.scroll, m.typing = "", 0, true
	case "s", "S":
		step := 1
		if key == "S" {
			step = len(m.columns) - 1
		}
		m.order = (m.order + step) % len(m.columns)
		for m.columns[m.order].compare == nil {
			m.order = (m.order + step) % len(m.columns)
		}
		m.first = 0
		m.arrange()
	}
	return topAction{}
}

// answer takes the key after the question whether to restart.
func (m *topModel) answer(key string) topAction {
	id := m.asking
	m.asking = ""
	if key != "y" && key != "Y" {
		m.note = "not restarted"
		return topAction{}
	}
	m.note = "restarting " + printable(id) + " …"
	return topAction{do: topRestart, id: id}
}

// typeKey takes a key while the filter is typed.
func (m *topModel) typeKey(key, text string) {
	switch key {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.filter = false, ""
		m.arrange()
	case "backspace":
		if runes := []rune(m.filter); len(runes) > 0 {
			m.filter = string(runes[:len(runes)-1])
			m.arrange()
		}
	default:
		m.typed(text)
	}
}

// typed takes text, while the filter is typed.
func (m *topModel) typed(text string) {
	const longest = 64
	if m.typing && text != "" && len(m.filter)+len(text) <= longest {
		m.filter += strings.ToLower(printable(text))
		m.first = 0
		m.arrange()
	}
}

// place is the selected row's.
func (m *topModel) place() int {
	return max(0, slices.IndexFunc(m.rows, func(r topRow) bool { return r.capsule.GetId() == m.selected }))
}

// current is the id of the selected row, "" where there is none.
func (m *topModel) current() string {
	if len(m.rows) == 0 {
		return ""
	}
	return m.rows[m.place()].capsule.GetId()
}

// move moves the selection, or what is shown of a capsule.
func (m *topModel) move(by int) {
	switch {
	case m.open != "":
		m.scroll = max(0, m.scroll+by)
	case len(m.rows) > 0:
		m.selected = m.rows[min(max(0, m.place()+by), len(m.rows)-1)].capsule.GetId()
	}
}

// page is how far the page keys go.
func (m *topModel) page() int { return max(1, m.height-8) }
