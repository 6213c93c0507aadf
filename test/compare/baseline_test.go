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

// measured makes a result up: theirs is ratio times ours, with so much noise in
// each turn.
func measured(random *rand.Rand, row string, ratio, noise, allocs float64) *result {
	var ours, theirs samples
	ours.who, theirs.who = us, sdk
	ours.allocs, theirs.allocs = allocs, 70
	for range 101 {
		jitter := func() float64 { return 1 + noise*random.ExpFloat64() } // noise only slows down
		ours.values = append(ours.values, 100*jitter())
		theirs.values = append(theirs.values, 100*ratio*jitter())
	}
	return newResult(row, nanoseconds, []samples{ours, theirs}, nil)
}

func TestRegressions(t *testing.T) {
	was := &baseline{Rows: map[string]baselineRow{"a row": {Ratios: map[string]float64{sdk: 80}, Allocs: 3}}}
	for _, tt := range []struct {
		name                 string
		row                  string
		ratio, noise, allocs float64
		want                 string // part of what is said; "" where nothing is to be
	}{
		{"the same", "a row", 80, 0, 3, ""},
		{"the same, with noise", "a row", 80, 0.5, 3, ""},
		{"a little slower, with noise", "a row", 65, 0.3, 3, ""},
		{"faster", "a row", 200, 0.1, 3, ""},
		{"half as fast", "a row", 40, 0, 3, "takes 40 × what ours takes; it was 80 ×"},
		{"half as fast, with noise", "a row", 35, 0.2, 3, "it was 80 ×"},
		{"ten times as slow, with much noise", "a row", 8, 1, 3, "it was 80 ×"},
		{"one more allocation", "a row", 80, 0, 4, ""},
		{"many more allocations", "a row", 80, 0, 9, "9 allocations; it was 3"},
		{"a row that was not there", "another row", 1, 0, 99, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(20) {
				got := was.regressions(measured(rand.New(rand.NewPCG(seed, 1)), tt.row, tt.ratio, tt.noise, tt.allocs), 1.5)
				if tt.want == "" && len(got) > 0 {
					t.Fatalf("seed %d: %q is no regression", seed, got)
				}
				if tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
					t.Fatalf("seed %d: found %q, want one with %q", seed, got, tt.want)
				}
			}
		})
	}
}

// What is written is what a later run is compared with; rows that were not
// measured this time stay.
func TestBaselineFile(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	path := filepath.Join(t.TempDir(), "baseline.json")
	for _, results := range [][]*result{
		{measured(random, "first", 80, 0, 3), measured(random, "second", 2, 0, -1)},
		{measured(random, "second", 4, 0, -1)},
	} {
		if err := writeBaseline(path, results); err != nil {
			t.Fatal(err)
		}
	}
	b, err := readBaseline(path)
	if err != nil {
		t.Fatal(err)
	}
	for row, worse := range map[string]bool{"first": true, "second": false} {
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

// A regression is worse each time that it is measured. Noise isn't.
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
