package actors

import (
	"math"
	"runtime"
	"time"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
)

// longCall is how long a capsule's call may be expected to take to be run without a
// queue.
const longCall = 50 * time.Microsecond

// helperShare is how much work, by the same measure, a trigger has for each goroutine
// that helps the one that asks.
const helperShare = 100 * time.Microsecond

// dispatch has the calls of a trigger made. Calls that are expected to be long go to
// their capsules' queues first, so that they run meanwhile. The others run here, on
// the goroutine that asks: handing a call of a microsecond to another goroutine costs
// more than the call. If they are many, other goroutines help, each with the next call
// that nobody has taken: from the other end, as neighbours share memory, and so that each
// capsule is likely to be called by the goroutine that has called it before.
//
// Calls of one capsule stay in order: whoever takes the first makes them all.
//
// It returns the time: at the end of the last call that ran here.
func (t *trigger) dispatch() monotime.Time {
	var work time.Duration
	for n := range t.calls {
		first := &t.calls[n]
		if !first.first {
			continue
		}
		expected := first.expected()
		if expected > longCall {
			first.first = false
			first.queueAll()
			continue
		}
		for c := first; c != nil; c = c.then {
			work += expected
		}
		if t.system == nil {
			t.system = first.ref.cfg.System
		}
	}
	for range min(int(work/helperShare), runtime.GOMAXPROCS(0)-1) {
		t.help()
	}
	return t.runCalls(t.made, true)
}

// expected returns how long a call is likely to take; forever, if it must be queued.
func (c *invocation) expected() time.Duration {
	if c.ref == nil {
		return math.MaxInt64 // it waits at its pool for an instance
	}
	return c.ref.expected()
}

// runCalls makes the calls that nobody has taken, on the goroutine that asks or on one
// that helps it. It returns the time: at the end of the last one, and at least at.
func (t *trigger) runCalls(at monotime.Time, asking bool) monotime.Time {
	for first := t.takeCall(asking); first != nil; first = t.takeCall(asking) {
		for c := first; c != nil; c = c.then {
			if asking && c != first && hasGivenUp(t.asker) {
				c.queueAll()
				break
			}
			at = c.run(at, asking)
		}
	}
	return at
}

// takeCall takes the next call that nobody has taken, with those of its capsule that come
// after it; nil if there is none. The goroutine that asks takes the first, the others the
// last one.
func (t *trigger) takeCall(asking bool) *invocation {
	for int(t.taken.Add(1)) <= len(t.calls) {
		var n int
		if asking {
			n = t.front
			t.front++
		} else {
			n = len(t.calls) - int(t.back.Add(1))
		}
		if c := &t.calls[n]; c.first {
			return c
		}
	}
	return nil
}

// handOver has another goroutine make the calls that nobody has taken: they wait behind
// one that turns out to be long. It may be called at any time while a call runs.
func (t *trigger) handOver() {
	if int(t.taken.Load()) < len(t.calls) && t.helping.CompareAndSwap(false, true) {
		t.help()
	}
}

// help has another goroutine make the calls that nobody has taken.
func (t *trigger) help() {
	t.helpers.Add(1)
	t.system.Go(func() {
		t.helping.Store(false)
		t.runCalls(monotime.Now(), false)
		t.helpers.Add(-1)
	})
}

// queueAll queues a call and those that come after it.
func (c *invocation) queueAll() {
	c.trigger.shared.Store(true)
	for ; c != nil; c = c.then {
		c.queue()
	}
}

// queue hands a call to its capsule, or to its pool if that has no instance for it yet.
func (c *invocation) queue() {
	if c.ref == nil {
		c.pooled.pool.place(c)
		return
	}
	c.ref.post(c)
}

// run makes a call here and now if its capsule is idle, and else queues it. It returns
// the time at which it ended: now, and at least at.
func (c *invocation) run(at monotime.Time, asking bool) monotime.Time {
	c.began, c.ctx.inline, c.ctx.asking = at, c.trigger, asking
	switch {
	case !c.ref.mailbox.Load().TryRun(c):
		c.trigger.shared.Store(true)
		c.began, c.ctx.inline, c.ctx.asking = monotime.None, nil, false
		c.queue()
		return at
	case c.ended == monotime.None: // its actor failed over it, and its supervisor is told
		c.trigger.shared.Store(true)
		return monotime.Now()
	}
	return c.ended
}
