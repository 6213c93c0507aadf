package main

import (
	"cmp"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/web"
)

// topRow is one capsule, with values that are computed from several snapshots.
type topRow struct {
	capsule           *messages.Capsule
	trouble           *web.Trouble // nil for none
	calls, reductions float64      // a second
}

func (r *topRow) quantile(q float64) time.Duration { return r.capsule.CallDuration.Quantile(q) }

// topColumn is a column of the list, and a possible order of the list.
type topColumn struct {
	title   string
	width   int // in cells; 0 for the rest of the line
	numeric bool
	text    func(*topRow) string
	compare func(a, b *topRow) int // nil if the list can't be sorted by it
}

// topColumns returns the columns from left to right.
func topColumns() []topColumn {
	number := func(of func(*topRow) uint64) func(a, b *topRow) int {
		return func(a, b *topRow) int { return cmp.Compare(of(b), of(a)) }
	}
	return []topColumn{
		{"STATE", 10, false, func(r *topRow) string {
			return stateGlyph(r.capsule.State) + " " + r.capsule.State.String()
		}, byTrouble},
		{"ID", 0, false, func(r *topRow) string { return printable(r.capsule.ID) },
			func(*topRow, *topRow) int { return 0 }},
		{"GEN", 4, true, func(r *topRow) string { return few(float64(r.capsule.Generation)) },
			number(func(r *topRow) uint64 { return r.capsule.Generation })},
		{"RESTARTS", 8, true, func(r *topRow) string {
			return strconv.Itoa(int(r.capsule.BudgetSpent)) + "/" + strconv.Itoa(int(r.capsule.Budget))
		}, number(func(r *topRow) uint64 { return uint64(r.capsule.BudgetSpent) })},
		{"QUEUE", 5, true, func(r *topRow) string { return few(float64(r.capsule.Queue)) },
			number(func(r *topRow) uint64 { return uint64(r.capsule.Queue) })},
		{"CALLS/S", 7, true, func(r *topRow) string { return few(r.calls) },
			func(a, b *topRow) int { return cmp.Compare(b.calls, a.calls) }},
		{"P50", 6, true, func(r *topRow) string { return quantileText(r, 0.5) }, nil},
		{"P99", 6, true, func(r *topRow) string { return quantileText(r, 0.99) },
			func(a, b *topRow) int { return cmp.Compare(b.quantile(0.99), a.quantile(0.99)) }},
		{"MEMORY", 6, true, func(r *topRow) string { return bytesText(r.capsule.MemoryBytes) },
			number(func(r *topRow) uint64 { return r.capsule.MemoryBytes })},
		{"RED/S", 5, true, func(r *topRow) string { return few(r.reductions) },
			func(a, b *topRow) int { return cmp.Compare(b.reductions, a.reductions) }},
		{"LAST CAUSE", topCauseWidth, false, func(r *topRow) string {
			if f := r.capsule.LastFailure; f != nil {
				return shortened(f.Message, 200)
			}
			return ""
		}, nil},
	}
}

// topCauseWidth is the smallest useful width of the last column.
const topCauseWidth = 16

func quantileText(r *topRow, q float64) string {
	if r.capsule.CallDuration.Count() == 0 {
		return "-"
	}
	return duration(r.quantile(q))
}

// byTrouble puts the capsules in trouble first, the worst at the top.
func byTrouble(a, b *topRow) int {
	switch {
	case a.trouble != nil && b.trouble != nil:
		return cmp.Compare(a.trouble.Rank, b.trouble.Rank)
	case a.trouble != nil:
		return -1
	case b.trouble != nil:
		return 1
	}
	return 0
}

// topRows returns the rows of a tree that keep accepts. Rates are counted since base.
// The order is compare's, then that of the ids.
func topRows(tree, base *messages.Tree, details map[string]*messages.CapsuleDetail, keep func(*messages.Capsule) bool, compare func(a, b *topRow) int) []topRow {
	now := tree.At
	seconds := now.Sub(base.At).Seconds()
	before := base.Capsules
	rows := make([]topRow, 0, len(tree.Capsules))
	for i, c := range tree.Capsules {
		if !keep(c) {
			continue
		}
		r := topRow{capsule: c, trouble: web.Diagnose(c, details[c.ID], tree.Settings, now)}
		// The order of capsules seldom changes while one daemon runs.
		if i < len(before) && before[i].ID == c.ID && seconds > 0 {
			r.calls = rate(c.Calls, before[i].Calls, seconds)
			r.reductions = rate(c.Reductions, before[i].Reductions, seconds)
		}
		rows = append(rows, r)
	}
	rows = append(rows, rejectedRows(tree, keep)...)
	slices.SortFunc(rows, func(a, b topRow) int {
		return cmp.Or(compare(&a, &b), strings.Compare(a.capsule.ID, b.capsule.ID))
	})
	return rows
}

// rejectedRows returns a row for each directory that can't become a capsule, and has no
// entry among them. Its id is what reload knows it by.
func rejectedRows(tree *messages.Tree, keep func(*messages.Capsule) bool) []topRow {
	var rows []topRow
	for _, r := range tree.Rejected {
		c := &messages.Capsule{ID: cmp.Or(r.ID, filepath.Base(r.Directory)), State: messages.StateFailed, Directory: r.Directory}
		if keep(c) {
			rows = append(rows, topRow{capsule: c, trouble: &web.Trouble{
				What: "rejected", Bad: true, Cause: r.Problem, Decision: "it is not started", Next: "Nothing: mend it, and reload.",
			}})
		}
	}
	return rows
}

func rate(n, before uint64, seconds float64) float64 {
	if n < before {
		return 0
	}
	return float64(n-before) / seconds
}

// topMatches returns a filter for typed text: each of its words is in the id, or
// begins the state.
func topMatches(filter string) func(*messages.Capsule) bool {
	words := strings.Fields(strings.ToLower(filter))
	return func(c *messages.Capsule) bool {
		for _, w := range words {
			if !strings.Contains(c.ID, w) && !strings.HasPrefix(c.State.String(), w) {
				return false
			}
		}
		return true
	}
}

// stateGlyph returns the shape of a state, so that it can be recognised without its
// colour.
func stateGlyph(s messages.CapsuleState) string {
	return map[messages.CapsuleState]string{
		messages.StateLoading:  "◌",
		messages.StateStarting: "◐",
		messages.StateReady:    "●",
		messages.StateCrashed:  "▲",
		messages.StateFailed:   "✖",
		messages.StateStopping: "□",
		messages.StateStopped:  "■",
	}[s]
}

// few formats a number in at most five characters: 0, 0.3, 12, 999, 1.2k, 45k, 3.4M.
func few(v float64) string {
	units := []string{"", "k", "M", "G", "T", "P", "E"}
	unit := 0
	for ; v >= 999.5 && unit < len(units)-1; unit++ {
		v /= 1000
	}
	return digitsText(v) + units[unit]
}

// bytesText formats a number of bytes in at most six characters: 0, 64KiB, 1.5MiB.
func bytesText(n uint64) string {
	v, unit := float64(n), 0
	for ; v >= 999.5 && unit < 4; unit++ {
		v /= 1024
	}
	if unit == 0 {
		return strconv.FormatUint(n, 10)
	}
	return digitsText(v) + []string{"", "KiB", "MiB", "GiB", "TiB"}[unit]
}

// digitsText formats a number below 1,000, with one decimal if it is below 10.
func digitsText(v float64) string {
	precision := 0
	if v < 9.95 {
		precision = 1
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', precision, 64), ".0")
}
