package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/supervisor"
)

// The contenders of the rows about groups and pools: all are ours.
const (
	inOneGroup  = "in one group"
	oneInstance = "one instance"
)

// nestedGroups returns groups, each in the one before it, the innermost with the children.
func nestedGroups(depth int, children ...string) []supervisor.Group {
	out := make([]supervisor.Group, depth)
	for i := range out {
		out[i] = supervisor.Group{Name: fmt.Sprintf("g%d", i), Children: []string{fmt.Sprintf("g%d", i+1)}}
	}
	out[depth-1].Children = children
	return out
}

// deep invokes a capsule whose group is in three others: the tree is not on a call's way.
func (b *bench) deep(targets ...judge) row {
	const topic = "test.deep"
	return b.race("trigger to 1 in a tree of depth 4", func(ctx context.Context, c *closers) ([]contender, error) {
		dir, err := b.capsules("fixed", 1, func(int) string { return interceptors(topic) })
		if err != nil {
			return nil, err
		}
		var out []contender
		for _, at := range []struct {
			who   string
			depth int
		}{{us, 4}, {inOneGroup, 1}} {
			s, err := serveWith(ctx, 1, supervisor.Config{
				Home: b.home(), CapsuleDirs: []string{dir}, Supervisors: nestedGroups(at.depth, "fixed-00000"),
			})
			if err != nil {
				return nil, err
			}
			c.add(func(context.Context) error { return s.stop() })
			out = append(out, contender{who: at.who, run: repeat(func(ctx context.Context) error {
				return s.trigger(ctx, topic, json.RawMessage("1"), 1)
			})})
		}
		return out, nil
	}, targets...)
}

// pool is one call of many that ask a pool of two instances at the same time, each for
// work of 200 µs.
func (b *bench) pool(targets ...judge) row {
	const topic, askers = "test.pool", 8
	return b.race("call of a pool of 2 that works 200 µs", func(ctx context.Context, c *closers) ([]contender, error) {
		turns, err := b.turnsFor(ctx, 200*time.Microsecond)
		if err != nil {
			return nil, err
		}
		var out []contender
		for _, size := range []struct {
			who       string
			instances int
		}{{us, 2}, {oneInstance, 1}} {
			dir, err := b.capsules("work", 1, func(int) string {
				return fmt.Sprintf("%s[supervision]\ninstances = %d\n", interceptors(topic), size.instances)
			})
			if err != nil {
				return nil, err
			}
			s, err := serve(ctx, b.home(), 1, dir)
			if err != nil {
				return nil, err
			}
			c.add(func(context.Context) error { return s.stop() })
			payload := json.RawMessage(fmt.Append(nil, turns))
			out = append(out, contender{who: size.who, run: inParallel(askers, func(ctx context.Context) error {
				return s.trigger(ctx, topic, payload, 1)
			})})
		}
		return out, nil
	}, targets...)
}

// inParallel runs f n times, on several goroutines.
func inParallel(goroutines int, f func(ctx context.Context) error) func(ctx context.Context, n int) (time.Duration, error) {
	return func(ctx context.Context, n int) (time.Duration, error) {
		var next atomic.Int64
		errs := make(chan error, goroutines)
		began := time.Now()
		for range goroutines {
			go func() {
				for next.Add(1) <= int64(n) {
					if err := f(ctx); err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		var first error
		for range goroutines {
			if err := <-errs; first == nil {
				first = err
			}
		}
		return time.Since(began), first
	}
}

// restartGroup restarts a group of many small capsules: all stop, one after the other, and
// start again in order. By hand they are closed and instantiated again: nobody hears of it,
// and nothing waits.
func (b *bench) restartGroup(n int, targets ...judge) row {
	return b.race(fmt.Sprintf("restart of a group of %s", count(n)), func(ctx context.Context, c *closers) ([]contender, error) {
		dir, err := b.small(n)
		if err != nil {
			return nil, err
		}
		children := make([]string, n)
		for i := range children {
			children[i] = fmt.Sprintf("fixed-%05d", i)
		}
		s, err := serveWith(ctx, n, supervisor.Config{
			Home: b.home(), CapsuleDirs: []string{dir}, Supervisors: nestedGroups(1, children...),
		})
		if err != nil {
			return nil, err
		}
		c.add(func(context.Context) error { return s.stop() })
		out := []contender{{who: us, run: repeat(func(ctx context.Context) error { return s.Restart(ctx, "g0") })}}

		wasm, err := b.guest("fixed")
		if err != nil {
			return nil, err
		}
		one, err := maker(ctx, c, hand, b.home(), wasm)
		if err != nil {
			return nil, err
		}
		closes := make([]closer, n)
		closeAll := func(ctx context.Context) (err error) {
			for _, closeIt := range slices.Backward(closes) {
				if closeIt != nil {
					err = errors.Join(err, closeIt(ctx))
				}
			}
			clear(closes)
			return err
		}
		c.add(closeAll)
		return append(out, contender{who: hand, run: repeat(func(ctx context.Context) error {
			err := closeAll(ctx)
			for i := 0; i < n && err == nil; i++ {
				_, closes[i], err = one(ctx)
			}
			return err
		})}), nil
	}, targets...)
}
