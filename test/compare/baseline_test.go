package main

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// measured returns an artificial result: theirs is ratio times ours, with that much
// noise in each turn; the processor time is the same with a hundredth of the noise.
func measured(random *rand.Rand, row string, ratio, noise, allocs float64) *result {
	var ours, theirs samples
	ours.who, theirs.who = us, sdk
	ours.allocs, theirs.allocs = allocs, 70
	for range 101 {
		jitter := func() float64 { return 1 + noise*random.ExpFloat64() } // noise only slows down
		ours.values = append(ours.values, 100*jitter())
		theirs.values = append(theirs.values, 100*ratio*jitter())
		quiet := 1 + noise/100*random.ExpFloat64()
		ours.work, theirs.work = append(ours.work, 90), append(theirs.work, 90*ratio*quiet)
	}
	return newResult(row, nanoseconds, []samples{ours, theirs}, nil)
}

func TestRegressions(t *testing.T) {
	ratios := map[string]float64{sdk: 80}
	was := &baseline{Rows: map[string]baselineRow{
		"both":  {Ratios: ratios, Work: ratios, Allocs: 3},
		"times": {Ratios: ratios, Allocs: 3},
		"work":  {Work: ratios, Allocs: 3},
	}}
	const times, work = "takes", "uses"
	for _, tt := range []struct {
		name                 string
		row                  string
		ratio, noise, allocs float64
		want                 []string // parts of the messages, one each
	}{
		{"the same", "both", 80, 0, 3, nil},
		{"the same, with noise", "both", 80, 0.5, 3, nil},
		{"the same, with much noise", "both", 80, 3, 3, nil},
		{"a little slower, with noise", "both", 65, 0.3, 3, nil},
		{"faster", "both", 200, 0.1, 3, nil},
		{"half as fast", "both", 40, 0, 3, []string{"uses 40 × the processor time that ours uses; it was 80 ×"}},
		{"half as fast, with noise", "both", 40, 0.3, 3, []string{work}},
		{"half as fast, in times only", "times", 40, 0, 3, nil},
		{"a quarter as fast", "both", 20, 0, 3, []string{"takes 20 × what ours takes; it was 80 ×", work}},
		{"a quarter as fast, in times only", "times", 20, 0.1, 3, []string{times}},
		{"a quarter as fast, in processor time only", "work", 20, 0.1, 3, []string{work}},
		{"twenty times as slow, with much noise", "both", 4, 1, 3, []string{times, work}},
		{"one more allocation", "both", 80, 0, 4, nil},
		{"many more allocations", "both", 80, 0, 9, []string{"9 allocations; it was 3"}},
		{"a row that was not there", "another row", 1, 0, 99, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(20) {
				got := was.regressions(measured(rand.New(rand.NewPCG(seed, 1)), tt.row, tt.ratio, tt.noise, tt.allocs), 1.5)
				if len(got) != len(tt.want) {
					t.Fatalf("seed %d: found %q, want %q", seed, got, tt.want)
				}
				for i, want := range tt.want {
					if !strings.Contains(got[i], want) {
						t.Fatalf("seed %d: found %q, want one with %q", seed, got[i], want)
					}
				}
			}
		})
	}
}

// A contender that got cheaper on this machine is no regression of ours: we would be worse
// against the others too.
func TestOneContenderAloneIsNoRegression(t *testing.T) {
	ratios := map[string]float64{sdk: 80, floor: 1}
	was := &baseline{Rows: map[string]baselineRow{"call": {Ratios: ratios, Work: ratios, Allocs: -1}}}
	for _, tt := range []struct {
		sdk, floor float64
		want       int
	}{{80, 1, 0}, {8, 1, 0}, {80, 0.1, 0}, {8, 0.1, 4}} {
		contender := func(who string, ratio float64) samples {
			return samples{who: who, values: []float64{ratio}, work: []float64{ratio}, allocs: -1}
		}
		measured := []samples{contender(us, 1), contender(sdk, tt.sdk), contender(floor, tt.floor)}
		if got := was.regressions(newResult("call", nanoseconds, measured, nil), 1.5); len(got) != tt.want {
			t.Errorf("%v × and %v ×: found %q, want %d", tt.sdk, tt.floor, got, tt.want)
		}
	}
}

// The written file is the baseline of later runs: the worst of several runs. Rows that
// were not measured this time stay.
func TestBaselineFile(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	path := filepath.Join(t.TempDir(), "baseline.json")
	for _, results := range [][]*result{
		{measured(random, "first", 80, 0, 3), measured(random, "second", 80, 0, -1), measured(random, "third", 4, 0, -1)},
		{measured(random, "second", 4, 0, -1), measured(random, "third", 80, 0, -1)},
	} {
		if err := writeBaseline(path, results); err != nil {
			t.Fatal(err)
		}
	}
	b, err := readBaseline(path)
	if err != nil {
		t.Fatal(err)
	}
	for row, worse := range map[string]bool{"first": true, "second": false, "third": false} {
		if got := b.regressions(measured(random, row, 3, 0, 3), 1.5); (len(got) > 0) != worse {
			t.Errorf("%s at 3 ×: found %q", row, got)
		}
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readBaseline(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names the file", err)
	}
	if err := writeBaseline(path, nil); err == nil {
		t.Error("a damaged baseline was overwritten")
	}
}

// A regression is worse each time that it is measured. Noise is not.
func TestCheckMeasuresAgain(t *testing.T) {
	old := &baseline{Rows: map[string]baselineRow{"made up": {Ratios: map[string]float64{hand: 8}, Allocs: -1}}}
	for _, tt := range []struct {
		name    string
		ratios  []float64 // by measurement
		regress bool
	}{
		{"good at once", []float64{8}, false},
		{"bad once", []float64{2, 8}, false},
		{"bad twice", []float64{2, 2, 8}, false},
		{"bad each time", []float64{2, 2, 2}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			times := 0
			measure := func() *result {
				ratio := tt.ratios[times]
				times++
				return newResult("made up", nanoseconds, []samples{
					{who: us, values: []float64{10}, allocs: -1}, {who: hand, values: []float64{10 * ratio}, allocs: -1},
				}, nil)
			}
			err := check(t.Context(), old, []*result{measure()}, 1.5, func(_ context.Context, row string) (*result, error) {
				if row != "made up" {
					t.Errorf("measured %q again", row)
				}
				return measure(), nil
			}, io.Discard)
			if (err != nil) != tt.regress {
				t.Errorf("check: %v", err)
			}
			if times != len(tt.ratios) {
				t.Errorf("measured %d times, want %d", times, len(tt.ratios))
			}
		})
	}
	if err := check(t.Context(), &baseline{}, nil, 1.5, nil, io.Discard); err == nil {
		t.Error("a baseline that has none of the rows was accepted")
	}
}
