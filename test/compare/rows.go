package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
)

// row is one measurement, or several that are made together.
type row struct {
	names []string
	run   func(ctx context.Context) ([]*result, error)
}

// bench has the parameters of the rows.
type bench struct {
	*fixtures
	effort effort
	by     *regexp.Regexp // the contenders beside ours
	short  bool
	many   int // how many capsules "many" means
	// child runs this program again with arguments, and decodes its output.
	child func(ctx context.Context, out any, args ...string) error
}

// rows returns all rows, in the table's order.
func (b *bench) rows() []row {
	out := []row{
		b.call(0),
		b.call(128, fasterThan(sdk, 80), allocsAtMost(3)),
		b.call(10<<10, fasterThan(sdk, 25), fasterThan(floor, 0.8)),
		b.call(1<<20, fasterThan(sdk, 18), fasterThan(floor, 0.8)),
		b.interceptor(128),
		b.trigger(1, fasterThan(crews, 1.2), fasterThan(hand, 0.7), allocsAtMost(8)),
		b.trigger(10, fasterThan(crews, 1)),
		b.trigger(100, fasterThan(crews, 1)),
	}
	if !b.short {
		out = append(out, b.trigger(1000, fasterThan(crews, 1)))
	}
	out = append(out,
		b.work(10, fasterThan(hand, 1.9)),
		b.nested(fasterThan(hand, 0.7)),
		b.deep(fasterThan(inOneGroup, 1/1.03)),
		b.pool(fasterThan(oneInstance, 1.9)),
		b.restartGroup(100, fasterThan(hand, 1.0/3)),
		b.publish(fasterThan(natsCore, 1), fasterThan(goChannel, 1.0/3)),
		b.chain(fasterThan(tenAsked, 1/1.2)),
		b.kvSet(fasterThan(boltBatch, 0.8)),
		b.kvGet(overAtMost(goMap, 2e3)),
		b.routing(1000, fasterThan(amongTen, 1/1.3)),
	)
	if !b.short {
		out = append(out, b.routing(100_000, fasterThan(amongTen, 1/1.3)))
	}
	return append(out,
		b.crash("crash-on-x", "small capsule", fasterThan(hand, 1.0/3), p99AtMost(3e6)),
		b.crash("stock-go", "stock-Go guest", fasterThan(hand, 0.8)),
		b.crowd(),
		b.subscribed(),
	)
}

// race is a row whose contenders alternate. Setup creates them, and adds their resources
// to c.
func (b *bench) race(name string, setup func(ctx context.Context, c *closers) ([]contender, error), targets ...judge) row {
	return row{[]string{name}, func(ctx context.Context) (out []*result, err error) {
		var c closers
		defer func() {
			if closeErr := c.close(ctx); err == nil {
				err = closeErr
			}
		}()
		contenders, err := setup(ctx, &c)
		if err != nil {
			return nil, err
		}
		contenders = append(contenders[:1], slices.DeleteFunc(contenders[1:], func(c contender) bool {
			return !b.by.MatchString(c.who)
		})...)
		measured, err := alternate(ctx, b.effort, contenders)
		if err != nil {
			return nil, err
		}
		return []*result{newResult(name, nanoseconds, measured, targets)}, nil
	}}
}

// size formats a number of bytes.
func size(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d B", n)
	}
}

// count formats a number with commas.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
