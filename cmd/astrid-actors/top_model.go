package main

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/astrid-actors/astrid-actors/messages"
)

// ratesOver is the shortest period over which rates are counted, once so much time has
// passed.
const ratesOver = 3 * time.Second

// topModel is the state of the screen. It knows neither terminal nor daemon: its methods
// receive snapshots and keys, and draw a screen. It has no lock.
type topModel struct {
	painter       painter
	columns       []topColumn
	width, height int

	tree    *messages.Tree
	at      time.Time         // when the tree arrived, by our clock
	now     time.Time         // the time of the last request, by our clock
	bases   [2]*messages.Tree // rates are counted from the first
	stale   error             // the reason why there is no newer tree; nil if there is one
	details map[string]*messages.CapsuleDetail
	deaths  []time.Time // the restarts of the last hour, by the daemon's clock

	rows     []topRow // those that match the filter, in order
	order    int      // the index of the column to sort by
	filter   string
	typing   bool // keys go into the filter
	paused   bool
	selected string    // an id; if it is not among the rows, the first row is selected
	first    int       // the row at the top of the screen
	open     string    // the capsule whose details are shown; "" for none
	scroll   int       // lines of it that are above the screen
	asking   topAction // what needs a confirmation; zero for nothing
	note     string    // the result of the last action
}

// topAction is the action of a key.
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
	topReload
	topRemove
)

// String returns the command that does the same.
func (v topVerb) String() string {
	return map[topVerb]string{topRestart: "restart", topReload: "reload", topRemove: "remove"}[v]
}

// done returns the verb for what was done, and for what was not.
func (v topVerb) done() string {
	return map[topVerb]string{topRestart: "restarted", topReload: "reloaded", topRemove: "removed"}[v]
}

func newTopModel(p painter, tree *messages.Tree, now time.Time) *topModel {
	m := &topModel{painter: p, columns: topColumns(), width: 80, height: 24, details: map[string]*messages.CapsuleDetail{}}
	m.look(looked{tree: tree}, now)
	return m
}

// resize sets the size of the terminal.
func (m *topModel) resize(width, height int) { m.width, m.height = width, height }

// look receives the answers of the daemon, at a time by our clock.
func (m *topModel) look(l looked, now time.Time) {
	for _, d := range l.details {
		m.details[d.Capsule.ID] = d
	}
	if m.paused {
		return
	}
	m.now, m.stale = now, l.err
	if l.err != nil {
		return
	}
	if m.tree == nil || !l.tree.Started.Equal(m.tree.Started) {
		m.bases = [2]*messages.Tree{nil, l.tree} // another daemon, or one that has started only now
	}
	if at := l.tree.At; at.Before(m.bases[1].At) {
		// Its clock was set back: restart the counts that depend on it.
		m.bases = [2]*messages.Tree{nil, l.tree}
		m.deaths = slices.DeleteFunc(m.deaths, at.Before)
	}
	if l.tree.At.Sub(m.bases[1].At) >= ratesOver {
		m.bases = [2]*messages.Tree{m.bases[1], l.tree}
	}
	m.tree, m.at = l.tree, now
	m.arrange()
}

// base returns the tree from which rates are counted.
func (m *topModel) base() *messages.Tree {
	if m.bases[0] != nil {
		return m.bases[0]
	}
	return m.bases[1]
}

// arrange rebuilds the rows.
func (m *topModel) arrange() {
	m.rows = topRows(m.tree, m.base(), m.details, topMatches(m.filter), m.columns[m.order].compare)
}

// clock returns the current time by the daemon's clock.
func (m *topModel) clock() time.Time { return m.tree.At.Add(m.now.Sub(m.at)) }

// wanted returns the capsules whose details are needed: the open one, and some whose own
// limits, not known yet, may show a trouble.
func (m *topModel) wanted() []string {
	const atOnce = 16
	var ids []string
	if m.open != "" {
		ids = append(ids, m.open)
	}
	for i := range m.rows {
		c := m.rows[i].capsule
		strained := m.rows[i].trouble != nil || c.Queue > 0 || c.State == messages.StateStopping
		if !strained || c.ID == m.open || len(ids) == atOnce {
			continue
		}
		if d := m.details[c.ID]; d == nil || d.Capsule.Generation != c.Generation {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// countRestarts counts restarts, some of which may have been counted already.
func (m *topModel) countRestarts(at []time.Time) {
	for _, t := range at {
		if n := len(m.deaths); n == 0 || t.After(m.deaths[n-1]) {
			m.deaths = append(m.deaths, t)
		}
	}
	hour := m.clock().Add(-time.Hour)
	m.deaths = slices.DeleteFunc(m.deaths, func(t time.Time) bool { return t.Before(hour) })
}

// answered records the result of an action.
func (m *topModel) answered(r acted) {
	if r.err == nil {
		m.note = r.do.done() + " " + printable(r.id)
		for _, c := range r.changes { // one, of that capsule
			m.note = printable(c.String())
		}
		return
	}
	text := r.err.Error()
	if answer, ok := errors.AsType[*connect.Error](r.err); ok {
		text = answer.Message()
	}
	m.note = "error: " + printable(text)
}

// press handles a key: its name, and its text.
func (m *topModel) press(key, text string) topAction {
	switch {
	case key == "ctrl+c":
		return topAction{do: topQuit}
	case m.asking.do != topNothing:
		return m.answer(key)
	case m.typing:
		m.typeKey(key, text)
		return topAction{}
	}
	m.note = ""
	switch key {
	case "q":
		return topAction{do: topQuit}
	case "r", "u", "x":
		id := cmp.Or(m.open, m.current())
		if id != "" {
			m.asking = topAction{map[string]topVerb{"r": topRestart, "u": topReload, "x": topRemove}[key], id}
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

// pressOn handles the keys that change the view.
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

// answer handles the key after the question about an action.
func (m *topModel) answer(key string) topAction {
	action := m.asking
	m.asking = topAction{}
	if key != "y" && key != "Y" {
		m.note = "not " + action.do.done()
		return topAction{}
	}
	m.note = action.do.String() + " " + printable(action.id) + " …"
	return action
}

// typeKey handles a key while the filter is typed.
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

// typed adds text to the filter while it is typed.
func (m *topModel) typed(text string) {
	const longest = 64
	if m.typing && text != "" && len(m.filter)+len(text) <= longest {
		m.filter += strings.ToLower(printable(text))
		m.first = 0
		m.arrange()
	}
}

// place returns the index of the selected row.
func (m *topModel) place() int {
	return max(0, slices.IndexFunc(m.rows, func(r topRow) bool { return r.capsule.ID == m.selected }))
}

// current returns the id of the selected row; "" if there is none.
func (m *topModel) current() string {
	if len(m.rows) == 0 {
		return ""
	}
	return m.rows[m.place()].capsule.ID
}

// move moves the selection, or scrolls the details.
func (m *topModel) move(by int) {
	switch {
	case m.open != "":
		m.scroll = max(0, m.scroll+by)
	case len(m.rows) > 0:
		m.selected = m.rows[min(max(0, m.place()+by), len(m.rows)-1)].capsule.ID
	}
}

// page returns how many lines the page keys move.
func (m *topModel) page() int { return max(1, m.height-8) }
