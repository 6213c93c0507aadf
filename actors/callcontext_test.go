package actors

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
)

type keyOf string

// A limited context is a context like any other, whether its timer runs or not.
func TestLimited(t *testing.T) {
	killed := errors.New("killed")
	limit := limitPassed(2 * time.Second)
	for name, test := range map[string]struct {
		limit, deadline, kill time.Duration
		err, cause            error
	}{
		"its limit":                {limit: 2 * time.Second, err: context.DeadlineExceeded, cause: limit},
		"its limit, then deadline": {limit: 2 * time.Second, deadline: 3 * time.Second, err: context.DeadlineExceeded, cause: limit},
		"both":                     {limit: 2 * time.Second, deadline: 2 * time.Second, err: context.DeadlineExceeded, cause: limit},
		"its deadline":             {limit: 3 * time.Second, deadline: 2 * time.Second, err: context.DeadlineExceeded, cause: errDeadline},
		"only a deadline":          {deadline: 2 * time.Second, err: context.DeadlineExceeded, cause: errDeadline},
		"the end of its life":      {limit: 3 * time.Second, kill: 2 * time.Second, err: context.Canceled, cause: killed},
		"nothing but its life":     {kill: 2 * time.Second, err: context.Canceled, cause: killed},
	} {
		for _, how := range []string{"asked", "waited for"} {
			t.Run(name+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					life, end := context.WithCancelCause(context.WithValue(t.Context(), keyOf("k"), "v"))
					defer end(nil)
					began, deadline := time.Now(), monotime.Time(0)
					if test.deadline > 0 {
						deadline = monotime.Now().Add(test.deadline)
					}
					l := newCallContext(life, monotime.Now(), test.limit, deadline)
					defer l.release()
					if test.kill > 0 {
						time.AfterFunc(test.kill, func() { end(killed) })
					}
					if at, ok := l.Deadline(); ok != (test.limit+test.deadline > 0) || (test.kill == 0 && !at.Equal(began.Add(2*time.Second))) {
						t.Errorf("Deadline() = %v, %v", at, ok)
					}
					if how == "waited for" {
						<-l.Done()
						if took := time.Since(began); took != 2*time.Second {
							t.Errorf("Done after %v", took)
						}
					} else {
						time.Sleep(2*time.Second - 1)
						if err := l.Err(); err != nil || l.timed.Load() != nil {
							t.Errorf("a monotime.Time before: %v, with a timer: %v", err, l.timed.Load() != nil)
						}
						time.Sleep(time.Nanosecond)
						synctest.Wait()
					}
					if err, cause := l.Err(), context.Cause(l); !errors.Is(err, test.err) || !errors.Is(cause, test.cause) {
						t.Errorf("Err() = %v, its cause %v", err, cause)
					}
					if l.Value(keyOf("k")) != "v" {
						t.Error("it hides its parent's values")
					}
					select {
					case <-l.Done():
					default:
						t.Error("Err says that it is over, Done does not")
					}
				})
			})
		}
	}
}

// A timer that is late, as on a busy machine, changes nothing of what is said.
func TestLimitedGoesByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newCallContext(t.Context(), monotime.Now(), 0, monotime.Now().Add(time.Second))
		l.timed.Store(&timed{t.Context(), func() {}}) // it will never fire
		if err := l.Err(); err != nil {
			t.Errorf("before: %v", err)
		}
		time.Sleep(time.Second)
		if err := l.Err(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after: %v", err)
		}
		err := l.explain(&capsulehost.Failure{Kind: capsulehost.KindTimeout})
		if !errors.Is(err, errDeadline) || blameless(err) == "" {
			t.Errorf("explained as %v", err)
		}
	})
}

// Whoever waits, from any goroutine, waits for the same.
func TestLimitedIsForManyGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newCallContext(t.Context(), monotime.Now(), time.Second, 0)
		defer l.release()
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				<-l.Done()
				if !errors.Is(context.Cause(l), limitPassed(time.Second)) {
					t.Errorf("over because of %v", context.Cause(l))
				}
			})
		}
		all.Wait()
	})
}

func TestWhyAGuestWasInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newCallContext(t.Context(), monotime.Now(), 0, monotime.Now().Add(time.Second))
		defer l.release()
		failure := func(kind capsulehost.Kind) error { return &capsulehost.Failure{Kind: kind} }
		if err := l.explain(failure(capsulehost.KindTimeout)); errors.Is(err, errDeadline) {
			t.Error("a time-out of the guest's own is laid on the deadline")
		}
		time.Sleep(time.Second)
		for _, test := range []struct {
			err  error
			late bool
		}{
			{failure(capsulehost.KindTimeout), true},
			{failure(capsulehost.KindCancelled), true},
			{failure(capsulehost.KindTrap), false},
			{&capsulehost.GuestError{}, false},
			{nil, false},
		} {
			if got := l.explain(test.err); errors.Is(got, errDeadline) != test.late || lost(got) != lost(test.err) {
				t.Errorf("%v is explained as %v", test.err, got)
			}
		}
	})
}

// newCallContext returns a context that has begun.
func newCallContext(run context.Context, now monotime.Time, limit time.Duration, deadline monotime.Time) *callContext {
	c := &callContext{}
	c.begin(run, now, limit, deadline)
	return c
}
