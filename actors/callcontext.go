package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
)

// errDeadline: the deadline of the trigger, not the capsule's own limit, ended a call.
var errDeadline = errors.New("the trigger's deadline passed")

// errAbandoned: a call ran on the goroutine of a caller that has given up.
var errAbandoned = errors.New("its caller has given up")

// abandonedAfter is how long a call goes on that keeps its caller from giving up:
// one that is about to end need not cost its instance.
const abandonedAfter = 50 * time.Millisecond

// callContext is the context of one guest call: it ends with the run of its
// instance, and at its deadline. It makes a timer only for those who wait for Done,
// or for whom Err ended it, so that a short call has none.
//
// When a call that was not queued turns out long, the calls that wait behind it are
// handed over. One that runs on the goroutine that asks also ends when that has been
// told to give up.
type callContext struct {
	run      context.Context
	began    monotime.Time
	deadline monotime.Time
	limit    time.Duration // the deadline is the end of it; 0 if the deadline is the trigger's
	inline   *trigger      // nil unless the call runs without having been queued
	asking   bool          // it runs on the goroutine that asks
	timed    atomic.Pointer[timed]
	gaveUp   atomic.Int64 // the monotime.Time at which the caller was first seen to have given up
}

// timed is a context with its timer.
type timed struct {
	context.Context
	cancel context.CancelFunc
}

// begin makes c, which is zero, the context of a guest call that begins now: it ends
// after limit and at deadline, unless these are zero. Release it.
func (c *callContext) begin(run context.Context, now monotime.Time, limit time.Duration, deadline monotime.Time) {
	c.run, c.began, c.deadline = run, now, deadline
	if limit > 0 && (deadline == monotime.None || deadline.Sub(now) >= limit) {
		c.deadline, c.limit = now.Add(limit), limit
	}
}

// cause is why the call ends at its deadline.
func (c *callContext) cause() error {
	if c.limit > 0 {
		return limitPassed(c.limit)
	}
	return errDeadline
}

// limitPassed is why a call ended that ran into its capsule's own limit.
type limitPassed time.Duration

func (l limitPassed) Error() string {
	return fmt.Sprintf("the capsule's limit of %v passed", time.Duration(l))
}

func (c *callContext) Deadline() (time.Time, bool) {
	return c.deadline.Time(), c.deadline != monotime.None
}

func (c *callContext) Done() <-chan struct{} {
	if c.inline != nil {
		c.inline.handOver() // the guest is about to wait
	}
	return c.withTimer().Done()
}

// Err goes by the clock: on a busy machine the timer can be late.
func (c *callContext) Err() error {
	now := monotime.None
	if c.deadline != monotime.None || c.inline != nil {
		now = monotime.Now()
	}
	switch {
	case c.deadline != monotime.None && now >= c.deadline:
		if err := c.withTimer().Err(); err != nil {
			return err
		}
		return context.DeadlineExceeded
	case c.inline != nil && c.abandoned(now):
		return context.Canceled
	}
	if t := c.timed.Load(); t != nil {
		return t.Err()
	}
	return c.run.Err()
}

// abandoned hands the calls behind a long one over, and reports whether the call keeps
// a caller that has given up for too long.
func (c *callContext) abandoned(now monotime.Time) bool {
	if now.Sub(c.began) > longCall {
		c.inline.handOver()
	}
	if !c.asking || !hasGivenUp(c.inline.asker) {
		return false
	}
	c.gaveUp.CompareAndSwap(0, int64(now))
	return now.Sub(monotime.Time(c.gaveUp.Load())) >= abandonedAfter
}

// hasGivenUp reports whether a caller has been told to give up. If it is a call on
// the same goroutine, its own caller counts as well: else each of a chain of calls
// would wait in turn.
func hasGivenUp(asker context.Context) bool {
	c, ok := asker.(*callContext)
	if !ok {
		return asker.Err() != nil
	}
	return c.run.Err() != nil || c.asking && hasGivenUp(c.inline.asker)
}

// afterGivingUp calls f once when hasGivenUp becomes true.
func afterGivingUp(asker context.Context, f func()) (stop func()) {
	c, ok := asker.(*callContext)
	if !ok {
		stop := context.AfterFunc(asker, f)
		return func() { stop() }
	}
	f = sync.OnceFunc(f)
	stopRun, stopAsker := context.AfterFunc(c.run, f), func() {}
	if c.asking {
		stopAsker = afterGivingUp(c.inline.asker, f)
	}
	return func() { stopRun(); stopAsker() }
}

// passed reports whether the deadline is over.
func (c *callContext) passed() bool {
	return c.deadline != monotime.None && monotime.Now() >= c.deadline
}

func (c *callContext) Value(key any) any {
	if t := c.timed.Load(); t != nil {
		return t.Value(key)
	}
	return c.run.Value(key)
}

// withTimer returns a context that ends by itself.
func (c *callContext) withTimer() context.Context {
	if c.inline != nil {
		c.inline.shared.Store(true) // contexts that are derived from c hold it
	}
	if c.deadline == monotime.None && !c.asking {
		return c.run
	}
	if t := c.timed.Load(); t != nil {
		return t
	}
	ctx, cancel := monotime.WithDeadlineCause(c.run, c.deadline, c.cause())
	made := &timed{ctx, cancel}
	if c.asking {
		abandonable, abandon := context.WithCancelCause(ctx)
		stop := afterGivingUp(c.inline.asker, func() {
			timer := time.AfterFunc(abandonedAfter, func() { abandon(errAbandoned) })
			context.AfterFunc(abandonable, func() { timer.Stop() })
		})
		made = &timed{abandonable, func() { stop(); abandon(nil); cancel() }}
	}
	if !c.timed.CompareAndSwap(nil, made) {
		made.cancel()
	}
	return c.timed.Load()
}

// explain adds to a guest's failure why it was interrupted.
func (c *callContext) explain(err error) error {
	failure, ok := errors.AsType[*capsulehost.Failure](err)
	if !ok || (failure.Kind != capsulehost.KindTimeout && failure.Kind != capsulehost.KindCancelled) {
		return err
	}
	ended := context.Cause(c.run)
	switch {
	case ended != nil && failure.Kind == capsulehost.KindCancelled:
		return errors.Join(failure, ended)
	case c.passed():
		said := *failure
		said.Message = "out of time: " + c.cause().Error() // which the guest's host may not have known yet
		return errors.Join(&said, c.cause())
	case c.asking && failure.Kind == capsulehost.KindCancelled:
		c.inline.abandoned.Store(true)
		return errors.Join(failure, errAbandoned)
	default:
		return errors.Join(failure, ended)
	}
}

// release frees c's timer.
func (c *callContext) release() {
	if t := c.timed.Load(); t != nil {
		t.cancel()
	}
}
