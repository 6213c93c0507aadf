package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
)

// crowd measures many idle capsules, each time in a process of their own: the time to
// start and to stop them, their memory, and their processor time while idle.
func (b *bench) crowd() row {
	n := count(b.many)
	names := []string{
		fmt.Sprintf("start %s small capsules", n),
		"memory per idle small capsule",
		fmt.Sprintf("idle, %s small capsules", n),
		fmt.Sprintf("stop %s small capsules", n),
	}
	return row{names, func(ctx context.Context) ([]*result, error) {
		dir, err := b.small(b.many)
		if err != nil {
			return nil, err
		}
		if _, err := b.crowdOf(ctx, us, dir, 1); err != nil { // fills the cache
			return nil, err
		}
		var start, memory, idle, stop []samples
		whos := []string{us}
		for _, who := range []string{hand, sdk, floor} {
			if b.by.MatchString(who) {
				whos = append(whos, who)
			}
		}
		for _, who := range whos {
			for _, s := range []*[]samples{&start, &memory, &idle, &stop} {
				*s = append(*s, samples{who: who, allocs: -1})
			}
		}
		turns := 3
		if b.short {
			turns = 1
		}
		for range turns {
			for i, who := range whos {
				f, err := b.crowdOf(ctx, who, dir, b.many)
				if err != nil {
					return nil, err
				}
				start[i].values = append(start[i].values, f.Start)
				memory[i].values = append(memory[i].values, f.Memory/float64(b.many))
				idle[i].values = append(idle[i].values, f.Idle)
				stop[i].values = append(stop[i].values, f.Stop)
			}
		}
		return []*result{
			newResult(names[0], nanoseconds, start, []judge{fasterThan(hand, 0.12)}),
			newResult(names[1], octets, memory, []judge{atMost(64<<10 + 8e6*math.Max(0, 1/float64(b.many)-1e-4))}),
			newResult(names[2], share, idle[:1], []judge{atMost(0.001)}),
			newResult(names[3], nanoseconds, stop, []judge{fasterThan(hand, 0.01)}),
		}, nil
	}}
}

// subscriptions is how many subscribed has.
const subscriptions = 1000

// subscribed measures the processor time of a system that is idle, with many subscriptions
// whose readers wait, in a process of its own. In the time is at least one tick of the
// kernel's.
func (b *bench) subscribed() row {
	name := fmt.Sprintf("idle, %s subscriptions", count(subscriptions))
	return row{[]string{name}, func(ctx context.Context) ([]*result, error) {
		idle := samples{who: us, allocs: -1}
		for turn := 0; turn < 3 && (turn == 0 || !b.short); turn++ {
			var f figures
			if err := b.child(ctx, &f, readers, strconv.Itoa(subscriptions), b.home(), b.dir, b.idle("6s")); err != nil {
				return nil, err
			}
			idle.values = append(idle.values, f.Idle)
		}
		return []*result{newResult(name, share, []samples{idle}, []judge{atMost(0.001)})}, nil
	}}
}

// idle returns how long a system is watched while it is idle.
func (b *bench) idle(long string) string {
	if b.short {
		return "500ms"
	}
	return long
}

// sameTopic is how many of the small capsules have the same topic: a trigger has a limit
// of legs.
const sameTopic = 1000

// smallTopic returns the topic of the small capsules n*sameTopic and those that follow.
func smallTopic(n int) string { return fmt.Sprintf("test.fixed%d", n) }

// small creates n small capsules, sealed.
func (b *bench) small(n int) (string, error) {
	dir, err := b.capsules("fixed", n, func(i int) string { return interceptors(smallTopic(i / sameTopic)) })
	if err != nil {
		return "", err
	}
	return dir, b.seal(dir, "fixed")
}

// crowdOf measures many capsules of one contender in a process of their own.
func (b *bench) crowdOf(ctx context.Context, who, dir string, n int) (figures, error) {
	var f figures
	err := b.child(ctx, &f, who, strconv.Itoa(n), b.home(), dir, b.idle("3s"))
	return f, err
}
