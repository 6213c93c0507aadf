package main

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestQuantile(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []float64
		q      float64
		want   float64
	}{
		{"of nothing", nil, 0.5, 0},
		{"of one", []float64{7}, 0.99, 7},
		{"the middle one, unsorted", []float64{9, 1, 5}, 0.5, 5},
		{"between two", []float64{4, 1, 2, 3}, 0.5, 2.5},
		{"a quarter of the way", []float64{0, 10}, 0.25, 2.5},
		{"the least", []float64{3, 2, 1}, 0, 1},
		{"the largest", []float64{3, 2, 1}, 1, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := quantile(tt.values, tt.q); got != tt.want {
				t.Errorf("quantile(%v, %v) = %v, want %v", tt.values, tt.q, got, tt.want)
			}
		})
	}
}

func TestQuantileLeavesItsArgument(t *testing.T) {
	values := []float64{3, 1, 2}
	quantile(values, 0.5)
	if diff := cmp.Diff([]float64{3, 1, 2}, values); diff != "" {
		t.Errorf("its argument (-before +after):\n%s", diff)
	}
}

// A slow period of the machine changes all times but no ratio: each turn is compared
// with itself.
func TestRatiosSurviveASlowMachine(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var ours, theirs samples
	theirs.who = sdk
	for turn := range 101 {
		slow := 1.0
		if turn%2 == 0 {
			slow = 10 // for half of the time
		}
		ours.values = append(ours.values, slow*100*(0.95+0.1*random.Float64()))
		theirs.values = append(theirs.values, slow*800*(0.95+0.1*random.Float64()))
	}
	r := newResult("a row", nanoseconds, []samples{ours, theirs}, nil)
	if got := r.entry(sdk).ratio; math.Abs(got.Median-8) > 0.2 || got.High-got.Low > 1 {
		t.Errorf("ratio %v, want 8, and little about it", got)
	}
	if got := r.entries[0].ratio; got != (spread{1, 1, 1}) {
		t.Errorf("our own ratio %v, want 1", got)
	}
}

func TestResult(t *testing.T) {
	r := newResult("a row", nanoseconds, []samples{
		{who: us, values: []float64{1000, 3000, 2000}, each: []float64{1, 2, 5000}, allocs: 3},
		{who: hand, values: []float64{500, 1500, 1000}, allocs: -1},
	}, []judge{
		fasterThan(hand, 0.5), fasterThan(hand, 0.51), fasterThan(sdk, 0.1),
		allocsAtMost(3), allocsAtMost(2),
		atMost(2000), atMost(1999),
		p99AtMost(4902), p99AtMost(4900),
		overAtMost(hand, 1000), overAtMost(hand, 999), overAtMost(sdk, 1e9),
	})
	want := []verdict{
		{"≥ 0.50 × by hand", "0.50 ×", true}, {"≥ 0.51 × by hand", "0.50 ×", false}, {"≥ 0.10 × Extism Go SDK", "0 ×", false},
		{"≤ 3 allocs", "3", true}, {"≤ 2 allocs", "3", false},
		{"≤ 2 µs", "2 µs", true}, {"≤ 2.00 µs", "2 µs", false},
		{"p99 ≤ 4.90 µs", "4.90 µs", true}, {"p99 ≤ 4.90 µs", "4.90 µs", false},
		{"≤ 1 µs over by hand", "1 µs", true}, {"≤ 999 ns over by hand", "1 µs", false}, {"≤ 1 s over Extism Go SDK", "0 ns", false},
	}
	if diff := cmp.Diff(want, r.targets, cmp.AllowUnexported(verdict{})); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}

// A value that was not counted or recorded meets no target.
func TestNothingMeasuredMeetsNoTarget(t *testing.T) {
	r := newResult("a row", nanoseconds, []samples{{who: us, values: []float64{1}, allocs: -1}},
		[]judge{allocsAtMost(5), p99AtMost(5), fasterThan(hand, 0), overAtMost(hand, 5)})
	for _, v := range r.targets {
		if v.met && v.want != "≥ 0 × by hand" {
			t.Errorf("%s is met by %s", v.want, v.got)
		}
	}
}

func TestUnit(t *testing.T) {
	for _, tt := range []struct {
		unit unit
		v    float64
		want string
	}{
		{nanoseconds, 0, "0 ns"},
		{nanoseconds, 0.28, "0.28 ns"},
		{nanoseconds, 280, "280 ns"},
		{nanoseconds, 35_900, "35.9 µs"},
		{nanoseconds, -2_345, "-2.35 µs"},
		{nanoseconds, 1.2e9, "1.20 s"},
		{octets, 64 << 10, "64 KiB"},
		{octets, 147_000, "144 KiB"},
		{octets, 1500, "1.46 KiB"},
		{share, 0.001, "0.10 %"},
		{share, 0.25, "25 %"},
	} {
		if got := tt.unit.text(tt.v); got != tt.want {
			t.Errorf("text of %v is %q, want %q", tt.v, got, tt.want)
		}
	}
}
