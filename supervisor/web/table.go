package web

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// rowsAPage limits the rows sent to one browser, for any number of capsules.
const rowsAPage = 100

// query selects the capsules that a browser shows; it is part of the address.
type query struct {
	Filter string // text
	State  string // "", a state, or "trouble"
	Sort   string // a column's key
	Down   bool
	Page   int // from 1
}

// column is a column of the table.
type column struct {
	Key, Title, Hint string
	// Numeric columns are right-aligned, and sorted largest first by the first click.
	Numeric bool
	compare func(f *frame, a, b *messages.Capsule) int
}

func by[T cmp.Ordered](value func(*messages.Capsule) T) func(*frame, *messages.Capsule, *messages.Capsule) int {
	return func(_ *frame, a, b *messages.Capsule) int { return cmp.Compare(value(a), value(b)) }
}

// columns returns the columns of the table.
func columns() []column {
	return []column{
		{Key: "state", Title: "State", Hint: "the worst first", compare: func(f *frame, a, b *messages.Capsule) int { return cmp.Compare(f.rank(a), f.rank(b)) }},
		{Key: "path", Title: "Path", compare: by(func(c *messages.Capsule) string { return c.Path })},
		{Key: "generation", Title: "Gen", Hint: "generation: counts its loads", Numeric: true, compare: by(func(c *messages.Capsule) uint64 { return c.Generation })},
		{Key: "uptime", Title: "Uptime", Hint: "how long it has been ready", Numeric: true, compare: by(func(c *messages.Capsule) time.Duration { return c.Uptime })},
		{Key: "restarts", Title: "Restarts", Hint: "by the supervisor, since the daemon started; and how much of the budget is spent now", Numeric: true, compare: by(func(c *messages.Capsule) uint64 { return c.Restarts })},
		{Key: "cause", Title: "Last cause", Hint: "why it died last", compare: by(lastCause)},
		{Key: "queue", Title: "Queue", Hint: "calls that wait, and the most that may", Numeric: true, compare: by(func(c *messages.Capsule) uint32 { return c.Queue })},
		{Key: "wait", Title: "Wait", Hint: "99 of 100 calls waited no longer before they started, since the daemon started", Numeric: true, compare: by(func(c *messages.Capsule) time.Duration { return c.QueueWait.Quantile(0.99) })},
		{Key: "rate", Title: "Calls/s", Hint: "over the last seconds", Numeric: true, compare: func(f *frame, a, b *messages.Capsule) int {
			return cmp.Compare(f.calls[a.ID], f.calls[b.ID])
		}},
		{Key: "p50", Title: "p50", Hint: "half of its calls took no longer, since the daemon started", Numeric: true, compare: by(func(c *messages.Capsule) time.Duration { return c.CallDuration.Quantile(0.5) })},
		{Key: "p99", Title: "p99", Hint: "99 of 100 calls took no longer, since the daemon started", Numeric: true, compare: by(func(c *messages.Capsule) time.Duration { return c.CallDuration.Quantile(0.99) })},
		{Key: "memory", Title: "Memory", Hint: "now, peak and limit", Numeric: true, compare: by(func(c *messages.Capsule) uint64 { return c.MemoryBytes })},
		{Key: "module", Title: "Module", Hint: "its version, file and hash", compare: by(func(c *messages.Capsule) string { return c.ModuleHash })},
	}
}

// rank orders capsules, the worst first: those that are down, those with another
// trouble, those that start, those that are ready, those that were stopped.
func (f *frame) rank(c *messages.Capsule) int {
	rank := 2 * slices.Index([]messages.CapsuleState{failed, crashed, starting, loading, stopping, ready, stopped}, c.State)
	if f.trouble[c.ID] != nil {
		rank = min(rank, 3) // behind crashed
	}
	return rank
}

// readQuery reads the query of an address. It ignores unknown values.
func readQuery(v url.Values) query {
	q := query{Filter: strings.TrimSpace(v.Get("q")), State: v.Get("state"), Sort: v.Get("sort"), Down: v.Get("dir") == "down", Page: 1}
	if n, err := strconv.Atoi(v.Get("page")); err == nil && n > 1 {
		q.Page = n
	}
	if len(q.Filter) > 200 {
		q.Filter = q.Filter[:200]
	}
	if !slices.ContainsFunc(columns(), func(c column) bool { return c.Key == q.Sort }) {
		q.Sort = ""
	}
	return q
}

// Address returns the query as part of an address, with changes: pairs of name and
// value.
func (q query) Address(changes ...string) string {
	v := url.Values{}
	set := func(name, value string) {
		v.Del(name)
		if value != "" {
			v.Set(name, value)
		}
	}
	set("q", q.Filter)
	set("state", q.State)
	set("sort", q.Sort)
	if q.Down {
		set("dir", "down")
	}
	if q.Page > 1 {
		set("page", strconv.Itoa(q.Page))
	}
	for i := 0; i+1 < len(changes); i += 2 {
		set(changes[i], changes[i+1])
	}
	if len(v) == 0 {
		return "?"
	}
	return "?" + v.Encode()
}

// matches reports whether the query selects a capsule. wanted is the filter in
// lower case.
func (q query) matches(f *frame, c *messages.Capsule, wanted string) bool {
	switch q.State {
	case "", c.State.String():
	case "trouble":
		if f.trouble[c.ID] == nil {
			return false
		}
	default:
		return false
	}
	if wanted == "" {
		return true
	}
	for _, s := range []string{c.Path, c.State.String(), lastCause(c), c.ModuleHash, c.Version} {
		if strings.Contains(strings.ToLower(s), wanted) {
			return true
		}
	}
	return false
}

// selection is one page of the capsules that a query selects.
type selection struct {
	Query    query
	Capsules []*messages.Capsule
	// From and To are the positions of the first and the last within Found, from 1; 0 if
	// there is none.
	From, To, Found, All int
	Pages                int
}

func (q query) selectFrom(f *frame) selection {
	wanted := strings.ToLower(q.Filter)
	s := selection{All: len(f.tree.Capsules)}
	var found []*messages.Capsule
	for _, c := range f.tree.Capsules {
		if q.matches(f, c, wanted) {
			found = append(found, c)
		}
	}
	for _, column := range columns() {
		if column.Key == q.Sort {
			slices.SortStableFunc(found, func(a, b *messages.Capsule) int {
				n := column.compare(f, a, b)
				if q.Down {
					n = -n
				}
				return cmp.Or(n, cmp.Compare(a.ID, b.ID))
			})
		}
	}
	s.Found, s.Pages = len(found), max(1, (len(found)+rowsAPage-1)/rowsAPage)
	q.Page = min(q.Page, s.Pages)
	s.Query = q
	from := (q.Page - 1) * rowsAPage
	s.Capsules = found[from:min(len(found), from+rowsAPage)]
	if len(s.Capsules) > 0 {
		s.From, s.To = from+1, from+len(s.Capsules)
	}
	return s
}

// row is one capsule in the tree and in the table.
type row struct {
	*messages.Capsule
	Cause   string
	Trouble *attention
	Rate    float64
	Limit   uint32 // of its queue
	Module  string // a file's name
}

func (w *watch) row(f *frame, c *messages.Capsule) *row {
	of := w.fact(c)
	return &row{
		Capsule: c, Cause: lastCause(c), Trouble: f.trouble[c.ID], Rate: f.calls[c.ID],
		Limit: cmp.Or(of.queue, f.tree.Settings.Queue), Module: of.module[strings.LastIndexByte(of.module, '/')+1:],
	}
}
