package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// baseline is what ratios were, for later runs to be compared with: never
// seconds, which belong to a machine.
type baseline struct {
	// Rows has for each row, by name, what it came to.
	Rows map[string]baselineRow `json:"rows"`
}

type baselineRow struct {
	// Ratios are the contenders' values by ours, by contender.
	Ratios map[string]float64 `json:"ratios"`
	// Work are the same of the processors' time, which a busy machine changes little.
	Work map[string]float64 `json:"work,omitempty"`
	// Allocs is what ours allocated; negative where that was not counted.
	Allocs float64 `json:"allocs"`
}

func readBaseline(path string) (*baseline, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the baseline: %w", err)
	}
	b := &baseline{}
	if err := json.Unmarshal(text, b); err != nil {
		return nil, fmt.Errorf("read the baseline %s: %w", path, err)
	}
	return b, nil
}

// writeBaseline enters the results into the file at path. Of what is there already
// the worse stays, so that it can be the least of some runs: one run's luck would
// make all others regressions. Without the file it begins anew.
func writeBaseline(path string, results []*result) error {
	b, err := readBaseline(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		b = &baseline{}
	case err != nil:
		return err
	}
	if b.Rows == nil {
		b.Rows = map[string]baselineRow{}
	}
	for _, r := range results {
		was, known := b.Rows[r.row]
		row := baselineRow{Ratios: map[string]float64{}, Work: map[string]float64{}, Allocs: r.entries[0].allocs}
		if known {
			row.Allocs = max(row.Allocs, was.Allocs)
		}
		for _, e := range r.entries[1:] {
			row.Ratios[e.who] = least(was.Ratios, e.who, e.ratio.Median)
			if e.work.Median > 0 {
				row.Work[e.who] = least(was.Work, e.who, e.work.Median)
			}
		}
		b.Rows[r.row] = row
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func least(was map[string]float64, who string, now float64) float64 {
	if ratio, known := was[who]; known {
		return min(ratio, now)
	}
	return now
}

// regressions says what is worse than it was. A ratio is, where even the upper
// quartile of its turns, times the tolerance, is below the one in the baseline:
// turns that scatter widely prove nothing. A machine that is busy with something
// else changes times, so theirs is twice the tolerance of the processors' time.
// Allocations are nearly the same in every run, and so may not rise by half and
// two more.
func (b *baseline) regressions(r *result, tolerance float64) []string {
	was, known := b.Rows[r.row]
	if !known {
		return nil
	}
	var out []string
	for _, e := range r.entries[1:] {
		if ratio, known := was.Ratios[e.who]; known && e.ratio.High*2*tolerance < ratio {
			out = append(out, fmt.Sprintf("%s: %s takes %s × what ours takes; it was %s ×",
				r.row, e.who, number(e.ratio.Median), number(ratio)))
		}
		if ratio, known := was.Work[e.who]; known && e.work.Median > 0 && e.work.High*tolerance < ratio {
			out = append(out, fmt.Sprintf("%s: %s uses %s × the processor time that ours uses; it was %s ×",
				r.row, e.who, number(e.work.Median), number(ratio)))
		}
	}
	if now := r.entries[0].allocs; now >= 0 && was.Allocs >= 0 && now > was.Allocs*1.5+2 {
		out = append(out, fmt.Sprintf("%s: %s allocations; it was %s", r.row, number(now), number(was.Allocs)))
	}
	return out
}

// again is how often a row that looks worse is measured once more: a regression
// is worse every time.
const again = 2

// check fails where a row is worse than in the baseline, each time that it is
// measured; onceMore does that for one row.
func check(ctx context.Context, old *baseline, results []*result, tolerance float64,
	onceMore func(ctx context.Context, row string) (*result, error), progress io.Writer,
) error {
	var found []string
	known := 0
	for _, r := range results {
		if _, ok := old.Rows[r.row]; ok {
			known++
		} else {
			fmt.Fprintf(progress, "%s: not in the baseline\n", r.row)
		}
		worse := old.regressions(r, tolerance)
		for try := 0; len(worse) > 0 && try < again; try++ {
			fmt.Fprintf(progress, "%s\nonce more:\n", strings.Join(worse, "\n"))
			repeated, err := onceMore(ctx, r.row)
			if err != nil {
				return err
			}
			worse = old.regressions(repeated, tolerance)
		}
		found = append(found, worse...)
	}
	if known == 0 {
		return errors.New("check: the baseline has none of these rows")
	}
	if len(found) > 0 {
		return fmt.Errorf("worse than the baseline:\n%s", strings.Join(found, "\n"))
	}
	return nil
}
