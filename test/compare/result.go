package main

import "fmt"

// unit is the unit of a row's values.
type unit int

const (
	nanoseconds unit = iota
	octets
	share // of one core
)

// result is the result of a row. Its first entry is ours.
type result struct {
	row     string
	unit    unit
	entries []entry
	targets []verdict
}

// entry is the result of one contender.
type entry struct {
	who    string
	value  spread
	p99    float64 // of single operations; 0 if not recorded
	ratio  spread  // its value divided by ours, by turn: above 1 ours is better
	work   spread  // the same for the processor time; zero if not measured
	over   spread  // ours minus its, by turn
	allocs float64 // negative if not counted
}

// verdict is a target, and whether it is met.
type verdict struct {
	want, got string
	met       bool
}

// judge checks one target against a result.
type judge func(r *result) verdict

// newResult compares the contenders with the first of them, which is ours.
func newResult(row string, u unit, measured []samples, targets []judge) *result {
	r := &result{row: row, unit: u}
	ours := measured[0].values
	for _, s := range measured {
		r.entries = append(r.entries, entry{
			who: s.who, value: spreadOf(s.values), p99: quantile(s.each, 0.99), allocs: s.allocs,
			ratio: spreadOf(pairwise(s.values, ours, quotient)),
			work:  spreadOf(pairwise(s.work, measured[0].work, quotient)),
			over:  spreadOf(pairwise(ours, s.values, difference)),
		})
	}
	for _, t := range targets {
		r.targets = append(r.targets, t(r))
	}
	return r
}

func (r *result) entry(who string) *entry {
	for i := range r.entries {
		if r.entries[i].who == who {
			return &r.entries[i]
		}
	}
	return &entry{who: who} // so that its target is not met
}

// fasterThan requires ours to be that many times as fast as theirs.
func fasterThan(who string, times float64) judge {
	return func(r *result) verdict {
		got := r.entry(who).ratio.Median
		return verdict{fmt.Sprintf("≥ %s × %s", number(times), who), number(got) + " ×", got >= times}
	}
}

// allocsAtMost limits our allocations.
func allocsAtMost(n float64) judge {
	return func(r *result) verdict {
		got := r.entries[0].allocs
		return verdict{fmt.Sprintf("≤ %s allocs", number(n)), number(got), got >= 0 && got < n+0.5}
	}
}

// atMost limits our median.
func atMost(limit float64) judge {
	return func(r *result) verdict {
		got := r.entries[0].value.Median
		return verdict{"≤ " + r.unit.text(limit), r.unit.text(got), got <= limit}
	}
}

// p99AtMost limits our 99th percentile.
func p99AtMost(limit float64) judge {
	return func(r *result) verdict {
		got := r.entries[0].p99
		return verdict{"p99 ≤ " + r.unit.text(limit), r.unit.text(got), got > 0 && got <= limit}
	}
}

// overAtMost limits our time minus theirs.
func overAtMost(who string, limit float64) judge {
	return func(r *result) verdict {
		got := r.entry(who).over.Median
		return verdict{fmt.Sprintf("≤ %s over %s", r.unit.text(limit), who), r.unit.text(got), r.entry(who).value.Median > 0 && got <= limit}
	}
}

// text formats a value with three digits in a suitable unit.
func (u unit) text(v float64) string {
	type scale struct {
		of   float64
		name string
	}
	scales := map[unit][]scale{
		nanoseconds: {{1e9, "s"}, {1e6, "ms"}, {1e3, "µs"}, {1, "ns"}},
		octets:      {{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}, {1, "B"}},
		share:       {{0.01, "%"}},
	}[u]
	for _, s := range scales {
		if v >= s.of || -v >= s.of {
			return number(v/s.of) + " " + s.name
		}
	}
	smallest := scales[len(scales)-1]
	return number(v/smallest.of) + " " + smallest.name
}

// number formats a number with three digits, and with all digits before the decimal
// point.
func number(v float64) string {
	switch size := max(v, -v); {
	case size >= 100 || size == float64(int64(size)):
		return fmt.Sprintf("%.0f", v)
	case size >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
