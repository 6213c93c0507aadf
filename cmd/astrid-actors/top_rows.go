package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/web"
)

// topRow is one capsule, with what a snapshot alone does not tell.
type topRow struct {
	capsule           *messages.Capsule
	trouble           *web.Trouble // nil for none
	calls, reductions float64      // a second
}

func (r *topRow) quantile(q float64) time.Duration { return r.capsule.GetCallDuration().Quantile(q) }

// topColumn is a column of the list, and an order that the list can have.
type topColumn struct {
	title   string
	width   int // in cells; 0 takes what is left
	numeric bool
	text    func(*topRow) string
	compare func(a, b *topRow) int // the first comes first; nil where there is no such order
}

// topColumns are the columns from left to right.
func topColumns() []topColumn {
	number := func(of func(*topRow) uint64) func(a, b *topRow) int {
		return func(a, b *topRow) int { return cmp.Compare(of(b), of(a)) }
	}
	return []topColumn{
		{"STATE", 10, false, func(r *topRow) string {
			return stateGlyph(r.capsule.GetState()) + " " + r.capsule.GetState().Word()
		}, byTrouble},
		{"ID", 0, false, func(r *topRow) string { return printable(r.capsule.GetId()) },
			func(*topRow, *topRow) int { return 0 }},
		{"GEN", 4, true, func(r *topRow) string { return few(float64(r.capsule.GetGeneration())) },
			number(func(r *topRow) uint64 { return r.capsule.GetGeneration() })},
		{"RESTARTS", 8, true, func(r *topRow) string {
			return strconv.Itoa(int(r.capsule.GetBudgetSpent())) + "/" + strconv.Itoa(int(r.capsule.GetBudget()))
		}, number(func(r *topRow) uint64 { return uint64(r.capsule.GetBudgetSpent()) })},
		{"QUEUE", 5, true, func(r *topRow) string { return few(float64(r.capsule.GetQueue())) },
			number(func(r *topRow) uint64 { return uint64(r.capsule.GetQueue()) })},
		{"CALLS/S", 7, true, func(r *topRow) string { return few(r.calls) },
			func(a, b *topRow) int { return cmp.Compare(b.calls, a.calls) }},
		{"P50", 6, true, func(r *topRow) string { return quantileText(r, 0.5) }, nil},
		{"P99", 6, true, func(r *topRow) string { return quantileText(r, 0.99) },
			func(a, b *topRow) int { return cmp.Compare(b.quantile(0.99), a.quantile(0.99)) }},
		{"MEMORY", 6, true, func(r *topRow) string { return bytesText(r.capsule.GetMemoryBytes()) },
			number(func(r *topRow) uint64 { return r.capsule.GetMemoryBytes() })},
		{"RED/S", 5, true, func(r *topRow) string { return few(r.reductions) },
			func(a, b *topRow) int { return cmp.Compare(b.reductions, a.reductions) }},
		{"LAST CAUSE", topCauseWidth, false, func(r *topRow) string { return shortened(r.capsule.GetLastFailure().GetMessage(), 200) }, nil},
	}
}

// topCauseWidth is the least that the last column is of use with.
const topCauseWidth = 16

func quantileText(r *topRow, q float64) string {
	if r.capsule.GetCallDuration().Count() == 0 {
		return "-"
	}
	return duration(r.quantile(q))
}

// byTrouble puts what is in trouble first, the worst on top.
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

// topRows makes the rows of a tree. What is counted a second is counted since base,
// which may be nil. The order is compare's, then that of the ids; nil keeps all.
func topRows(tree, base *messages.Tree, details map[string]*messages.CapsuleDetail, keep func(*messages.Capsule) bool, compare func(a, b *topRow) int) []topRow {
	now := tree.GetAt().AsTime()
	seconds := now.Sub(base.GetAt().AsTime()).Seconds()
	before := base.GetCapsules()
	rows := make([]topRow, 0, len(tree.GetCapsules()))
	for i, c := range tree.GetCapsules() {
		if !keep(c) {
			continue
		}
		r := topRow{capsule: c, trouble: web.Diagnose(c, details[c.GetId()], tree.GetSettings(), now)}
		// The order of capsules never changes while one daemon runs.
		if i < len(before) && before[i].GetId() == c.GetId() && seconds > 0 {
			r.calls = rate(c.GetCalls(), before[i].GetCalls(), seconds)
			r.reductions = rate(c.GetReductions(), before[i].GetReductions(), seconds)
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b topRow) int {
		return cmp.Or(compare(&a, &b), strings.Compare(a.capsule.GetId(), b.capsule.GetId()))
	})
	return rows
}

func rate(n, before uint64, seconds float64) float64 {
	if n < before {
		return 0
	}
	return float64(n-before) / seconds
}

// topMatches makes a filter of what was typed: all of its words are in the id or
// are the beginning of the state.
func topMatches(filter string) func(*messages.Capsule) bool {
	words := strings.Fields(strings.ToLower(filter))
	return func(c *messages.Capsule) bool {
		for _, w := range words {
			if !strings.Contains(c.GetId(), w) && !strings.HasPrefix(c.GetState().Word(), w) {
				return false
			}
		}
		return true
	}
}

// stateGlyph is the shape of a state, so that colour is not all that tells it.
func stateGlyph(s messages.CapsuleState) string {
	return map[messages.CapsuleState]string{
		messages.CapsuleState_CAPSULE_STATE_LOADING:  "◌",
		messages.CapsuleState_CAPSULE_STATE_STARTING: "◐",
		messages.CapsuleState_CAPSULE_STATE_READY:    "●",
		messages.CapsuleState_CAPSULE_STATE_CRASHED:  "▲",
		messages.CapsuleState_CAPSULE_STATE_FAILED:   "✖",
		messages.CapsuleState_CAPSULE_STATE_STOPPING: "□",
		messages.CapsuleState_CAPSULE_STATE_STOPPED:  "■",
	}[s]
}

// few is a number of at most five characters: 0, 0.3, 12, 999, 1.2k, 45k, 3.4M.
func few(v float64) string {
	units := []string{"", "k", "M", "G", "T", "P", "E"}
	unit := 0
	for ; v >= 999.5 && unit < len(units)-1; unit++ {
		v /= 1000
	}
	return digitsText(v) + units[unit]
}

// bytesText is a number of bytes of at most six characters: 0, 64KiB, 1.5MiB.
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

// digitsText is a number below 1,000, with a tenth where it is below 10.
func digitsText(v float64) string {
	precision := 0
	if v < 9.95 {
		precision = 1
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', precision, 64), ".0")
}
