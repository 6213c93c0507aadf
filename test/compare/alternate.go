package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"time"
)

// contender is one implementation of a row.
type contender struct {
	who string
	// run does it n times and returns the duration, without the preparation.
	run func(ctx context.Context, n int) (time.Duration, error)
	// per is how many operations each of these is; 0 means one.
	per int
	// each, if not nil, is the slice to which run appends each single duration, in
	// nanoseconds: for the 99th percentile.
	each *[]float64
}

// effort limits how much is measured.
type effort struct {
	turns int           // at most
	least int           // turns, even if they exceed the limit
	limit time.Duration // no new turn after that
	batch time.Duration // one contender's turn takes at least this long; 0 means once
}

// samples are the results of one contender's turns.
type samples struct {
	who    string
	values []float64 // by turn, per operation; nanoseconds, or the row's unit
	work   []float64 // by turn: the processor time of the whole process, per operation
	each   []float64 // by operation, if the contender records that
	allocs float64   // per operation, by the whole process; negative if not counted
}

// alternate runs the contenders in turns, A B C, A B C, until e is used up.
func alternate(ctx context.Context, e effort, contenders []contender) ([]samples, error) {
	out := make([]samples, len(contenders))
	batch := make([]int, len(contenders))
	for i, c := range contenders {
		out[i].who = c.who
		var err error
		if batch[i], err = calibrate(ctx, e.batch, c); err == nil {
			out[i].allocs, err = countAllocs(ctx, batch[i], c)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.who, err)
		}
		if c.each != nil {
			*c.each = nil
		}
	}
	for began, turn := time.Now(), 0; turn < e.turns && (turn < e.least || time.Since(began) < e.limit); turn++ {
		for i, c := range contenders {
			took, worked, err := c.turn(ctx, batch[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.who, err)
			}
			operations := float64(batch[i] * max(c.per, 1))
			out[i].work = append(out[i].work, float64(worked.Nanoseconds())/operations)
			out[i].values = append(out[i].values, float64(took.Nanoseconds())/operations)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	for i, c := range contenders {
		if c.each != nil {
			out[i].each = *c.each
		}
	}
	return out, nil
}

// turn measures one turn, after a garbage collection and a warm-up.
func (c *contender) turn(ctx context.Context, n int) (took, worked time.Duration, err error) {
	runtime.GC()
	noted := 0
	if c.each != nil {
		noted = len(*c.each)
	}
	if _, err := c.run(ctx, max(1, n/10)); err != nil {
		return 0, 0, err
	}
	if c.each != nil {
		*c.each = (*c.each)[:noted]
	}
	before := cpuTime()
	took, err = c.run(ctx, n)
	return took, cpuTime() - before, err
}

// calibrate returns the number of operations that makes a turn long enough to measure,
// and warms the contender up.
func calibrate(ctx context.Context, batch time.Duration, c contender) (n int, err error) {
	n = 1
	for {
		took, err := c.run(ctx, n)
		if err == nil && took >= batch { // it may have met a pause, as the first run does
			again, errAgain := c.run(ctx, n)
			took, err = min(took, again), errAgain
		}
		switch {
		case err != nil:
			return 0, err
		case took >= batch:
			return n, nil
		case took < batch/100:
			n *= 10
		default:
			n = int(math.Ceil(float64(n) * 1.2 * float64(batch) / float64(took)))
		}
	}
}

// countAllocs counts the allocations of one operation, without measuring the time. It
// returns the least of several tries, as other goroutines may allocate meanwhile.
func countAllocs(ctx context.Context, n int, c contender) (float64, error) {
	least := math.Inf(1)
	var before, after runtime.MemStats
	for range 3 {
		runtime.ReadMemStats(&before)
		if _, err := c.run(ctx, n); err != nil {
			return 0, err
		}
		runtime.ReadMemStats(&after)
		least = min(least, float64(after.Mallocs-before.Mallocs)/float64(n*max(c.per, 1)))
	}
	return least, nil
}

// repeat returns a contender's run that repeats f.
func repeat(f func(ctx context.Context) error) func(context.Context, int) (time.Duration, error) {
	return func(ctx context.Context, n int) (time.Duration, error) {
		began := time.Now()
		for range n {
			if err := f(ctx); err != nil {
				return 0, err
			}
		}
		return time.Since(began), nil
	}
}
