package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	deadline time.Time // zero is none
	cause    error     // of the end at the deadline

	mu     sync.Mutex
	timed  context.Context // life with the deadline; nil until it is needed
	cancel context.CancelFunc
}

// newLimited returns the context for a guest call that begins now: it ends
// after limit and at deadline, where these are not zero. Release it.
func newLimited(life context.Context, now time.Time, limit time.Duration, deadline time.Time) *limited {
	l := &limited{life: life, deadline: deadline, cause: errDeadline}
	if limit > 0 && (deadline.IsZero() || !deadline.Before(now.Add(limit))) {
		l.deadline, l.cause = now.Add(limit), limitPassed(limit)
	}
	return l
}

// limitPassed is why a call ended that ran into its capsule's own limit.
type limitPassed time.Duration

func (l limitPassed) Error() string {
	return fmt.Sprintf("the capsule's limit of %v passed", time.Duration(l))
}

func (l *limited) Deadline() (time.Time, bool) { return l.deadline, !l.deadline.IsZero() }

func (l *limited) Done() <-chan struct{} { return l.context(true).Done() }

func (l *limited) Err() error {
	passed := !l.deadline.IsZero() && l.life.Err() == nil && !time.Now().Before(l.deadline)
	return l.context(passed).Err()
}

func (l *limited) Value(key any) any { return l.context(false).Value(key) }

// context returns what stands behind l, with the deadline if need be.
func (l *limited) context(withDeadline bool) context.Context {
	if l.deadline.IsZero() {
		return l.life
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timed == nil && withDeadline {
		l.timed, l.cancel = context.WithDeadlineCause(l.life, l.deadline, l.cause)
	}
	if l.timed == nil {
		return l.life
	}
	return l.timed
}

// explain adds to a guest's failure why it was interrupted.
func (l *limited) explain(err error) error {
	failure, ok := errors.AsType[*capsulehost.Failure](err)
	if !ok || (failure.Kind != capsulehost.KindTimeout && failure.Kind != capsulehost.KindCancelled) || l.Err() == nil {
		return err
	}
	return errors.Join(failure, context.Cause(l))
}

// release ends l, and frees its timer.
func (l *limited) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel()
	}
}
