package actors

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// A run loop is Starting until it signals, and Ready from then on; triggers do
// not reach it, but it may ask others.
func TestARunLoopSignalsAndAsks(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		w.start("other", says("1"))
		synctest.Wait() // two loads are in no order
		var answers []string
		h := w.start("c", nil, runs(func(ctx context.Context, s *script) error {
			time.Sleep(time.Second)
			for range 1000 { // only the first counts
				s.SignalReady()
			}
			answer, err := s.trigger(ctx, "other")
			answers = append(answers, answer, fmt.Sprint(err, s.Services().Peers.CheckCapability(ctx, "no such session", CapabilityPromptInjection)))
			<-ctx.Done()
			return interruption(ctx)
		}), func(c *CapsuleConfig) { c.Version.AllowPromptInjection = true })
		synctest.Wait()
		session := h.Announced().Session
		if state := w.find("c").State; state != messages.StateStarting || !w.allowed(session) {
			t.Errorf("before the signal: %v, its session allowed: %v", state, w.allowed(session))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if state := w.find("c").State; state != messages.StateReady || !w.allowed(session) {
			t.Errorf("after the signal: %v, its session allowed: %v", state, w.allowed(session))
		}
		expect(t, "answers", answers, "[1]", "<nil> false")
		expect(t, "legs", show(w.trigger("c")), "c/0 on-c unavailable (it is a run loop, which triggers do not reach)")
		expect(t, "events", w.seen(), "other/1 loading", "other/1 ready", "c/1 loading", "c/1 starting", "c/1 ready")
	})
}

// However a loop ends, it is a crash; only an end without an error is a clean one.
func TestTheEndOfARunLoopIsACrash(t *testing.T) {
	for name, test := range map[string]struct {
		loop  func(ctx context.Context, s *script) error
		event string
		clean bool
	}{
		"returns":      {func(context.Context, *script) error { return nil }, "c/1 crashed run exit", true},
		"exits with 0": {func(context.Context, *script) error { return &capsulehost.Failure{Kind: capsulehost.KindExit} }, "c/1 crashed run exit", true},
		"exits with 3": {func(context.Context, *script) error {
			return &capsulehost.Failure{Kind: capsulehost.KindExit, ExitCode: 3}
		}, "c/1 crashed run exit", false},
		"reports an error": {func(context.Context, *script) error { return &capsulehost.GuestError{Code: 1} }, "c/1 crashed run exit", false},
		"traps":            {func(context.Context, *script) error { return trap }, "c/1 crashed run trap", false},
		"panics":           {func(context.Context, *script) error { panic("in the host") }, "c/1 crashed run host_call", false},
		"vanishes": {func(context.Context, *script) error {
			runtime.Goexit()
			return nil
		}, "c/1 crashed run exit", false},
	} {
		t.Run(name, func(t *testing.T) {
			inTree(t, func(t *testing.T, w *tree) {
				w.hold("c")
				h := w.start("c", nil, runs(func(ctx context.Context, s *script) error {
					if s.generation > 1 {
						<-ctx.Done()
						return interruption(ctx)
					}
					s.SignalReady()
					time.Sleep(time.Second)
					return test.loop(ctx, s)
				}))
				time.Sleep(2 * time.Second)
				expect(t, "events", w.seen(), "c/1 loading", "c/1 starting", "c/1 ready", test.event)
				crash := w.crash()
				if crash.Clean != test.clean || crash.Uptime != time.Second || crash.Blameless != "" {
					t.Errorf("crash %+v", crash)
				}
				w.release("c")
				synctest.Wait()
				expect(t, "events", w.seen(), "c/2 loading", "c/2 starting")
				if h.Announced().Generation != 2 {
					t.Errorf("announced: %v", h.Announced())
				}
			})
		})
	}
}

// A loop that is killed, restarted or stopped is interrupted, and waited for: a
// new instance never meets the old one (the tree checks that).
func TestARunLoopIsInterruptedAndWaitedFor(t *testing.T) {
	stubborn := runs(func(ctx context.Context, s *script) error {
		s.SignalReady()
		<-ctx.Done()
		time.Sleep(time.Second)
		return interruption(ctx)
	})
	for name, test := range map[string]struct {
		do   func(w *tree, h *CapsuleRef)
		want []string
	}{
		"kill":    {func(_ *tree, h *CapsuleRef) { h.Interrupt(1, ErrKilled) }, []string{"c/1 crashed killed cancelled", "c/2 loading", "c/2 starting", "c/2 ready"}},
		"restart": {func(w *tree, _ *CapsuleRef) { w.restart("c") }, []string{"c/2 loading", "c/2 starting", "c/2 ready"}},
		"stop":    {func(w *tree, h *CapsuleRef) { w.close(h) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inTree(t, func(t *testing.T, w *tree) {
				h := w.start("c", nil, stubborn)
				synctest.Wait()
				w.seen()
				test.do(w, h)
				synctest.Wait()
				if w.living("c") != 1 {
					t.Error("the loop was not waited for")
				}
				time.Sleep(2 * time.Second)
				expect(t, "events", w.seen(), test.want...)
				if name == "stop" && w.living("c") != 0 {
					t.Error("it is not stopped")
				}
			})
		})
	}
}

// The reference has the same limit.
func TestTooManyInterceptorsForARunLoop(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		many := func(n int) func(*CapsuleConfig) {
			return func(c *CapsuleConfig) {
				for len(c.Version.Interceptors) < n {
					c.Version.Interceptors = append(c.Version.Interceptors, messages.Interceptor{Event: "x", Action: "y"})
				}
			}
		}
		loop := runs(func(ctx context.Context, s *script) error {
			<-ctx.Done()
			return interruption(ctx)
		})
		w.hold("over")
		w.start("over", nil, many(MaxRunLoopInterceptors+1), loop)
		synctest.Wait()
		w.start("at", nil, many(MaxRunLoopInterceptors), loop)
		synctest.Wait()
		expect(t, "events", w.seen(), "over/1 loading", "over/1 crashed load link", "at/1 loading", "at/1 starting")
		w.start("plain", says("1"), many(MaxRunLoopInterceptors+1))
		synctest.Wait()
		expect(t, "events", w.seen(), "plain/1 loading", "plain/1 ready")
	})
}

// A loop that waits for an answer of ours is woken by its interruption.
func TestARunLoopIsInterruptedInATrigger(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		w.start("other", hangs)
		synctest.Wait()
		failed := make(chan error, 1)
		h := w.start("c", nil, runs(func(ctx context.Context, s *script) error {
			_, err := s.trigger(ctx, "other")
			failed <- err
			<-ctx.Done()
			return interruption(ctx)
		}), func(c *CapsuleConfig) { c.TriggerTimeout = time.Hour })
		synctest.Wait()
		if n := w.router.Awaited(); n != 1 {
			t.Errorf("%d legs are awaited, want 1", n)
		}
		w.hold("c")
		h.Interrupt(1, ErrKilled)
		if err := <-failed; !errors.Is(err, ErrKilled) {
			t.Errorf("the trigger ended with %v", err)
		}
		synctest.Wait()
		if n := w.router.Awaited(); n != 0 {
			t.Errorf("%d legs are awaited after that, want 0", n)
		}
	})
}
