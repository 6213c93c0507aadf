package actors

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// errDeadline: the deadline of the trigger, not the capsule's own limit, ended a call.
var errDeadline = errors.New("the trigger's deadline passed")

// limited is the context of one guest call: it ends with the incarnation, and at
// its deadline. Its timer is made only for those who wait for Done or whom Err
// tells of the end, so that a short call costs none.
type limited struct {
	life     context.Context
	deadline moment
	limit    time.Duration // whose end the deadline is; 0 where it is the trigger's
	timed    atomic.Pointer[timed]
}

// timed is a context with its timer.
type timed struct {
	context.Context
	cancel context.CancelFunc
}

// newLimited returns a context that has begun.
func newLimited(life context.Context, now moment, limit time.Duration, deadline moment) *limited {
	l := &limited{}
	l.begin(life, now, limit, deadline)
	return l
}

// begin makes l, which is zero, the context of a guest call that begins now: it ends
// after limit and at deadline, where these are not zero. Release it.
func (l *limited) begin(life context.Context, now moment, limit time.Duration, deadline moment) {
	l.life, l.deadline = life, deadline
	if limit > 0 && (deadline == 0 || deadline.after(now) >= limit) {
		l.deadline, l.limit = now.add(limit), limit
	}
}

// cause is why the call ends at its deadline.
func (l *limited) cause() error {
	if l.limit > 0 {
		return limitPassed(l.limit)
	}
	return errDeadline
}

// limitPassed is why a call ended that ran into its capsule's own limit.
type limitPassed time.Duration

func (l limitPassed) Error() string {
	return fmt.Sprintf("the capsule's limit of %v passed", time.Duration(l))
}

func (l *limited) Deadline() (time.Time, bool) { return l.deadline.time(), l.deadline != 0 }

func (l *limited) Done() <-chan struct{} { return l.withTimer().Done() }

// Err goes by the clock: on a busy machine the timer can be late.
func (l *limited) Err() error {
	if !l.passed() {
		if t := l.timed.Load(); t != nil {
			return t.Err()
		}
		return l.life.Err()
	}
	if err := l.withTimer().Err(); err != nil {
		return err
	}
	return context.DeadlineExceeded
}

// passed says whether the deadline is over.
func (l *limited) passed() bool { return l.deadline != 0 && now() >= l.deadline }

func (l *limited) Value(key any) any {
	if t := l.timed.Load(); t != nil {
		return t.Value(key)
	}
	return l.life.Value(key)
}

// withTimer returns what ends by itself.
func (l *limited) withTimer() context.Context {
	if l.deadline == 0 {
		return l.life
	}
	if l.timed.Load() == nil {
		ctx, cancel := context.WithDeadlineCause(l.life, l.deadline.time(), l.cause())
		if !l.timed.CompareAndSwap(nil, &timed{ctx, cancel}) {
			cancel()
		}
	}
	return l.timed.Load()
}

// explain adds to a guest's failure why it was interrupted.
func (l *limited) explain(err error) error {
	failure, ok := errors.AsType[*capsulehost.Failure](err)
	if !ok || (failure.Kind != capsulehost.KindTimeout && failure.Kind != capsulehost.KindCancelled) {
		return err
	}
	ended := context.Cause(l.life)
	switch {
	case ended != nil && failure.Kind == capsulehost.KindCancelled:
		return errors.Join(failure, ended)
	case l.passed():
		said := *failure
		said.Message = "out of time: " + l.cause().Error() // which the guest's host may not have known yet
		return errors.Join(&said, l.cause())
	default:
		return errors.Join(failure, ended)
	}
}

// release frees l's timer.
func (l *limited) release() {
	if t := l.timed.Load(); t != nil {
		t.cancel()
	}
}
