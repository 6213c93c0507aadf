package main

import "fmt"

// unit is what a row's values are in.
type unit int

const (
	nanoseconds unit = iota
	octets
	share // of one core
)

// result is what a row came to. Its first entry is ours.
type result struct {
	row     string
	unit    unit
	entries []entry
	targets []verdict
}

// entry is what one contender came to.
type entry struct {
	who    string
	value  spread
	p99    float64 // of single ones; 0 where not noted
	ratio  spread  // its value by ours, turn by turn: above 1 we are better
	work   spread  // the same of the processors' time; zero where not measured
	over   spread  // ours less its, turn by turn
	allocs float64 // negative where not counted
}

// verdict is a target and how it stands.
type verdict struct {
	want, got string
	met       bool
}

// judge is one target: it looks at what was measured.
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
	return &entry{who: who} // a target on it is not met
}

// fasterThan wants ours to be so many times as fast as theirs.
func fasterThan(who string, times float64) judge {
	return func(r *result) verdict {
		got := r.entry(who).ratio.Median
		return verdict{fmt.Sprintf("≥ %s × %s", number(times), who), number(got) + " ×", got >= times}
	}
}

// allocsAtMost bounds what ours allocates.
func allocsAtMost(n float64) judge {
	return func(r *result) verdict {
		got := r.entries[0].allocs
		return verdict{fmt.Sprintf("≤ %s allocs", number(n)), number(got), got >= 0 && got < n+0.5}
	}
}

// atMost bounds our median.
func atMost(limit float64) judge {
	return func(r *result) verdict {
		got := r.entries[0].value.Median
		return verdict{"≤ " + r.unit.text(limit), r.unit.text(got), got <= limit}
	}
}

// p99AtMost bounds all but our slowest hundredth.
func p99AtMost(limit float64) judge {
	return func(r *result) verdict {
		got := r.entries[0].p99
		return verdict{"p99 ≤ " + r.unit.text(limit), r.unit.text(got), got > 0 && got <= limit}
	}
}

// overAtMost bounds what ours takes longer than theirs.
func overAtMost(who string, limit float64) judge {
	return func(r *result) verdict {
		got := r.entry(who).over.Median
		return verdict{fmt.Sprintf("≤ %s over %s", r.unit.text(limit), who), r.unit.text(got), r.entry(who).value.Median > 0 && got <= limit}
	}
}

// text shows a value with three digits and the unit that suits it.
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

// number shows a number with three digits, and all of those before the point.
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
