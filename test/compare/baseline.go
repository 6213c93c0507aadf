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

// baseline holds ratios to compare later runs with. It has no durations, which depend on
// the machine.
type baseline struct {
	// Rows has the result of each row, by name.
	Rows map[string]baselineRow `json:"rows"`
}

type baselineRow struct {
	// Ratios are the contenders' values divided by ours, by contender.
	Ratios map[string]float64 `json:"ratios"`
	// Work is the same for the processor time, which a busy machine changes little.
	Work map[string]float64 `json:"work,omitempty"`
	// Allocs is the number of our allocations; negative if not counted.
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

// writeBaseline merges the results into the file at path. It keeps the worse of the old
// and the new value, so that the baseline is the worst of several runs: after one lucky
// run all others would be regressions. If there is no file it creates one.
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

// regressions returns the values that are worse than in the baseline. A ratio is worse
// if even the upper quartile of its turns, times the tolerance, is below the baseline:
// widely scattered turns prove nothing. If the ratio to one contender is not worse, the
// others are no regression: they do work that we don't, like clearing memory, which is
// cheaper on this machine than where the baseline was measured. A machine that is busy
// with other work changes durations, so their tolerance is twice that of the processor
// time. Allocations are nearly the same in every run, so they may rise by at most half
// plus two.
func (b *baseline) regressions(r *result, tolerance float64) []string {
	was, known := b.Rows[r.row]
	if !known {
		return nil
	}
	out := worse(r, was.Ratios, 2*tolerance, "takes %s × what ours takes", func(e *entry) spread { return e.ratio })
	out = append(out, worse(r, was.Work, tolerance, "uses %s × the processor time that ours uses", func(e *entry) spread { return e.work })...)
	if now := r.entries[0].allocs; now >= 0 && was.Allocs >= 0 && now > was.Allocs*1.5+2 {
		out = append(out, fmt.Sprintf("%s: %s allocations; it was %s", r.row, number(now), number(was.Allocs)))
	}
	return out
}

// worse returns a line for each contender if the ratios to all of them are worse.
func worse(r *result, was map[string]float64, tolerance float64, format string, of func(*entry) spread) []string {
	var out []string
	for i := range r.entries[1:] {
		e := &r.entries[1+i]
		before, known := was[e.who]
		now := of(e)
		switch {
		case !known || now.Median <= 0:
		case now.High*tolerance < before:
			out = append(out, fmt.Sprintf("%s: %s "+format+"; it was %s ×", r.row, e.who, number(now.Median), number(before)))
		default:
			return nil
		}
	}
	return out
}

// again is how often a row that seems worse is measured again: a regression is worse
// every time.
const again = 2

// check fails if a row is worse than in the baseline each time that it is measured;
// onceMore measures one row again.
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
