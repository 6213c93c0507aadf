package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

const (
	treeRows       = 200 // lines of the overview's tree
	attentionShown = 30
	latestEvents   = 40  // on the overview
	eventRows      = 200 // on the events' page
	eventRowsBack  = 1000
	capsuleEvents  = 40
)

// show answers with a whole page.
func (p *page) show(w http.ResponseWriter, r *http.Request, name string) {
	q := r.URL.Query()
	if id := r.PathValue("id"); id != "" {
		q.Set("id", id)
	}
	q.Set("view", name)
	r.URL.RawQuery = q.Encode()
	v, err := p.view(name, r, p.watch.fresh(), 0)
	if err != nil {
		status := http.StatusInternalServerError
		if errors.Is(err, supervisor.ErrNotFound) {
			status = http.StatusNotFound
		}
		p.render(w, status, "problem", err.Error())
		return
	}
	if k, ok := v.Data.(*kept); ok {
		if err := p.readKept(r.Context(), k, q.Get("after"), q.Get("show")); err != nil {
			k.Problem = err.Error()
		}
	}
	p.render(w, http.StatusOK, "layout", &shown{view: v, page: p, Stream: "/stream?" + q.Encode()})
}

// view returns a page's content. since is the last event that a browser has received, if
// it reconnects.
func (p *page) view(name string, r *http.Request, f *frame, since uint64) (*view, error) {
	v := &view{Name: name, Frame: f, Sequence: f.tree.Sequence}
	v.Parts = append(v.Parts, part{"stats", "stats", p.stats(f)})
	var err error
	switch q := r.URL.Query(); name {
	case "overview":
		p.overview(v)
	case "capsules":
		p.capsules(v, q)
	case "bus":
		p.bus(v)
	case "approvals":
		p.approvals(v)
	case "events":
		p.events(v, q, since)
	case "trigger":
		v.Title = "Trigger"
		v.Data = &triggerForm{Topic: q.Get("topic"), Payload: q.Get("payload"), Topics: suggested(v.Frame.tree),
			Actions: p.cfg.Actions, CSRF: p.guard.secret, Command: p.cfg.Command}
	case "capsule":
		err = p.capsule(v, q)
	case "traces":
		p.traces(v)
	case "trace":
		err = p.trace(v, q)
	case "group":
		err = p.group(v, q)
	case "state":
		err = p.state(v, q)
	default:
		err = fmt.Errorf("there is no page %q: %w", name, supervisor.ErrNotFound)
	}
	return v, err
}

// title is the page's title, with the number of troubles in front.
func (v *view) title() string {
	title := "astrid-actors"
	if v.Title != "" {
		title = v.Title + " · " + title
	}
	if n := len(v.Frame.attention); n > 0 {
		title = fmt.Sprintf("(%d) %s", n, title)
	}
	return title
}

// At is the time of the snapshot.
func (f *frame) At() time.Time { return f.now }

// Zone is the time zone of the times shown.
func (f *frame) Zone() string { return f.now.Local().Format("MST") }

// PageTitle is title for the templates.
func (v *view) PageTitle() string { return v.title() }

// stats is the row of figures below the header.
type stats struct {
	*messages.Tree
	Triggers float64
	Restarts uint64
	States   []stateCount
	Troubled int
}

type stateCount struct {
	State messages.CapsuleState
	N     int
}

func (p *page) stats(f *frame) *stats {
	s := &stats{
		Tree: f.tree, Triggers: f.triggers, Restarts: f.restarts, Troubled: len(f.attention)}
	n := map[messages.CapsuleState]int{}
	for _, c := range f.tree.Capsules {
		n[c.State]++
	}
	for _, state := range []messages.CapsuleState{ready, failed, crashed, starting, loading, stopping, stopped} {
		if n[state] > 0 || state == ready {
			s.States = append(s.States, stateCount{state, n[state]})
		}
	}
	return s
}

// alarm is one entry of the list of troubles.
type alarm struct {
	*attention
	Actions bool
}

// HasDue reports whether Next has a time.
func (a *attention) HasDue() bool { return !a.Due.IsZero() }

// ElementID returns an id derived from the path, which may be a directory.
func (a *attention) ElementID() string { return url.PathEscape(strings.ReplaceAll(a.Path, "/", "-")) }

func (p *page) alarms(f *frame) []part {
	var parts []part
	for i, a := range f.attention {
		if i == attentionShown {
			break
		}
		parts = append(parts, part{"a-" + a.ElementID(), "alarm", &alarm{a, p.cfg.Actions}})
	}
	return parts
}

func (p *page) overview(v *view) {
	f := v.Frame
	v.Lists = append(v.Lists, list{"attention", p.alarms(f)})
	v.Parts = append(v.Parts,
		part{"calm", "calm", map[string]any{"Troubled": len(f.attention), "More": max(0, len(f.attention)-attentionShown), "Tree": f.tree}},
		part{"system", "system", f.tree},
	)
	lines, found := p.lines(f, f.tree.Branches(), treeRows)
	rows := make([]part, len(lines))
	for i, b := range lines {
		rows[i] = part{b.ElementID(), "branch", b}
	}
	v.Lists = append(v.Lists, list{"branches", rows})
	v.Parts = append(v.Parts, part{"cut", "cut", found - len(rows)})
	v.Lists = append(v.Lists, list{"latest", happenings(p.watch.events(f, latestEvents, before(f, 400), nil))})
}

// before returns the number of the event n before the last.
func before(f *frame, n uint64) uint64 { return f.tree.Sequence - min(n, f.tree.Sequence) }

func happenings(events []messages.Event) []part {
	parts := make([]part, len(events))
	for i, e := range events {
		parts[i] = part{"e-" + strconv.FormatUint(e.Sequence, 10), "happening", describe(e)}
	}
	return parts
}

// tableHead is the part above the table.
type tableHead struct {
	selection
	Columns []column
	States  []string
}

// Sorted returns the aria-sort of a column.
func (h *tableHead) Sorted(c column) string {
	switch {
	case h.Query.Sort != c.Key:
		return "none"
	case h.Query.Down:
		return "descending"
	}
	return "ascending"
}

// SortBy returns the address that sorts by a column, or reverses its order.
func (h *tableHead) SortBy(c column) string {
	down := c.Numeric
	if h.Query.Sort == c.Key {
		down = !h.Query.Down
	}
	if down {
		return h.Query.Address("sort", c.Key, "dir", "down", "page", "")
	}
	return h.Query.Address("sort", c.Key, "dir", "", "page", "")
}

// Turn returns the address of the page that many pages further.
func (h *tableHead) Turn(by int) string {
	return h.Query.Address("page", strconv.Itoa(h.Query.Page+by))
}

func (p *page) capsules(v *view, q url.Values) {
	v.Title = "Capsules"
	s := readQuery(q).selectFrom(v.Frame)
	head := &tableHead{
		selection: s, Columns: columns(),
		States: []string{"", "trouble", "ready", "crashed", "failed", "starting", "loading", "stopping", "stopped"},
	}
	head.Capsules = nil
	v.Data = head
	v.Parts = append(v.Parts, part{"columns", "columns", head}, part{"pager", "pager", head})
	rows := make([]part, len(s.Capsules))
	for i, c := range s.Capsules {
		rows[i] = part{"r-" + c.ID, "row", p.watch.row(v.Frame, c)}
	}
	v.Lists = append(v.Lists, list{"rows", rows})
}

// eventQuery selects the events that a browser shows.
type eventQuery struct {
	Filter   string
	Triggers bool
}

func (p *page) events(v *view, q url.Values, since uint64) {
	v.Title = "Events"
	e := eventQuery{Filter: strings.TrimSpace(q.Get("q")), Triggers: q.Get("triggers") != ""}
	v.Data = &e
	limit := eventRows
	if since > 0 { // it reconnects: show all that it missed, up to a limit
		limit = max(limit, min(eventRowsBack, int(v.Sequence-min(since, v.Sequence)))) //nolint:gosec // at most eventRowsBack
	}
	wanted := strings.ToLower(e.Filter)
	found := p.watch.events(v.Frame, limit, 0, func(m messages.Event) bool {
		if t, ok := m.Detail.(messages.TriggerAnswered); ok && !e.Triggers && t.Problem == "" {
			return false
		}
		if wanted == "" {
			return true
		}
		h := describe(m)
		return strings.Contains(strings.ToLower(strings.Join([]string{h.Whom(), h.What, h.Cause, h.Decision}, " ")), wanted)
	})
	v.Lists = append(v.Lists, list{"happenings", happenings(found)})
	v.Parts = append(v.Parts, part{"none", "none", len(found) == 0})
}
