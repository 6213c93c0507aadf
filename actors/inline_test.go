package actors

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// goroutine names the calling goroutine.
func goroutine() string {
	var buffer [64]byte
	name, _, _ := strings.Cut(string(buffer[:runtime.Stack(buffer[:], false)]), " [")
	return name
}

// where answers with the goroutine that the call runs on.
func where(context.Context, *script, string) (capsulehost.Result, error) {
	return capsulehost.Result{Data: []byte(`"` + goroutine() + `"`)}, nil
}

// An idle capsule whose last call was short runs on the goroutine that asks, if its
// guest allows it; no other does.
func TestWhoRunsACall(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		slow := func(ctx context.Context, s *script, payload string) (capsulehost.Result, error) {
			time.Sleep(time.Millisecond)
			return where(ctx, s, payload)
		}
		w.start("fast", where, inline)
		w.start("slow", slow, inline)
		w.start("any", where)
		synctest.Wait()
		own := `"` + goroutine() + `"`
		for range 3 {
			for id, here := range map[string]bool{"fast": true, "slow": false, "any": false} {
				w.trigger(id) // the first call of each is not known to be short
				synctest.Wait()
				if got := string(w.trigger(id)[0].Value); (got == own) != here {
					t.Errorf("%s runs on %s, the caller on %s", id, got, own)
				}
			}
		}

		// One long call says little, two say enough.
		calls := 0
		w.start("paused", func(ctx context.Context, s *script, payload string) (capsulehost.Result, error) {
			if calls++; calls == 3 || calls >= 5 {
				return slow(ctx, s, payload)
			}
			return where(ctx, s, payload)
		}, inline)
		synctest.Wait()
		for n, here := range []bool{false, true, true, true, true, true, false} {
			if got := string(w.trigger("paused")[0].Value); (got == own) != here {
				t.Errorf("call %d of paused runs on %s, the caller on %s", n+1, got, own)
			}
			synctest.Wait()
		}

		// A busy one is queued for, and order is kept.
		hold, order := make(chan struct{}), ""
		w.start("busy", func(_ context.Context, _ *script, payload string) (capsulehost.Result, error) {
			if payload == "0" {
				<-hold
			}
			order += payload
			return capsulehost.Result{Data: []byte("1")}, nil
		}, inline)
		synctest.Wait()
		w.trigger("busy")
		synctest.Wait()
		order = ""
		ask := func(payload string) <-chan error {
			done := make(chan error, 1)
			go func() {
				_, err := w.triggerWithin(time.Minute, TriggerRequest{Topic: "busy", Payload: []byte(payload)})
				done <- err
			}()
			synctest.Wait()
			return done
		}
		first, second, third := ask("0"), ask("1"), ask("2")
		close(hold)
		for _, done := range []<-chan error{first, second, third} {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if order != "012" {
			t.Errorf("the calls ran in the order %s", order)
		}
	})
}

// A call that turns out long keeps no other leg waiting: those behind it go to other
// goroutines.
func TestALongCallHandsOver(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		long := false
		w.start("a", func(ctx context.Context, s *script, payload string) (capsulehost.Result, error) {
			if long {
				return hangs(ctx, s, payload)
			}
			return capsulehost.Result{Data: []byte("1")}, nil
		}, inline, wanting(wants("t")...))
		w.start("b", says("2"), inline, wanting(wants("t")...))
		w.start("c", says("3"), inline, wanting(wants("t")...))
		synctest.Wait()
		w.trigger("t")
		synctest.Wait()
		expect(t, "all short", show(w.trigger("t")), "a/1 on-t continue 1", "b/1 on-t continue 2", "c/1 on-t continue 3")
		long = true
		legs, err := w.triggerWithin(5*time.Second, TriggerRequest{Topic: "t"})
		if err != nil {
			t.Error(err)
		}
		legs[0].Generation = 0
		expect(t, "one is long", show(legs), "a/0 on-t timeout (no answer by the trigger's deadline)",
			"b/1 on-t continue 2", "c/1 on-t continue 3")
	})
}

// Who gives up need not wait for a call that runs on its goroutine: the call is
// interrupted soon, which costs the instance and no budget. A call that ends by
// itself until then costs nothing.
func TestGivingUpOnAnInlineCall(t *testing.T) {
	why := errors.New("the client went away")
	for name, test := range map[string]struct {
		how  action
		took time.Duration
		lost bool
	}{
		"waiting": {hangs, time.Second + abandonedAfter, true},
		"spinning": {func(ctx context.Context, _ *script, _ string) (capsulehost.Result, error) {
			for ctx.Err() == nil {
				time.Sleep(time.Millisecond) // as a guest that is looked at now and then
			}
			return capsulehost.Result{}, interruption(ctx)
		}, time.Second + abandonedAfter, true},
		"about to end": {func(context.Context, *script, string) (capsulehost.Result, error) {
			time.Sleep(time.Second + abandonedAfter/2)
			return capsulehost.Result{Data: []byte("1")}, nil
		}, time.Second + abandonedAfter/2, false},
	} {
		t.Run(name, func(t *testing.T) {
			inTree(t, func(t *testing.T, w *tree) {
				long := false
				h := w.start("c", func(ctx context.Context, s *script, payload string) (capsulehost.Result, error) {
					if long {
						return test.how(ctx, s, payload)
					}
					return capsulehost.Result{Data: []byte("1")}, nil
				}, inline)
				synctest.Wait()
				w.trigger("c")
				synctest.Wait() // it is idle
				long = true
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(why) })
				began := time.Now()
				_, err := w.router.Trigger(ctx, TriggerRequest{Topic: "c"})
				if took := time.Since(began); took < test.took || took > test.took+5*time.Millisecond {
					t.Errorf("it took %v, not %v", took, test.took)
				}
				if lost := err != nil; lost != test.lost || lost && !errors.Is(err, why) {
					t.Errorf("error: %v", err)
				}
				synctest.Wait()
				if failures := w.failures(); test.lost {
					if crash := w.crash(); crash.Blameless == "" || h.Generation() != 2 {
						t.Errorf("generation %d after %+v", h.Generation(), crash)
					}
				} else if len(failures) > 0 {
					t.Errorf("these have failed: %v", failures)
				}
			})
		})
	}
}

// A call that runs on the goroutine that asks is interrupted as any other.
func TestInterruptingAnInlineCall(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		long := false
		act := func(ctx context.Context, s *script, payload string) (capsulehost.Result, error) {
			if long {
				return hangs(ctx, s, payload)
			}
			return capsulehost.Result{Data: []byte("1")}, nil
		}
		h := w.start("c", act, inline)
		outer := w.start("outer", asks("c"), inline)
		synctest.Wait()
		w.trigger("c")
		w.trigger("outer")
		synctest.Wait()
		long = true

		got := w.later("c")
		synctest.Wait()
		h.Interrupt(h.Generation(), ErrKilled)
		expect(t, "killed", show(<-got), "c/1 on-c crashed (cancelled in astrid_hook_trigger: killed by an operator)")
		synctest.Wait()

		// One that waits for such a call ends as soon as it must, and the call with it.
		long = false
		w.trigger("c")
		long = true
		got = w.later("outer")
		synctest.Wait()
		began := time.Now()
		outer.Interrupt(outer.Generation(), ErrKilled)
		expect(t, "the asker killed", show(<-got), "outer/1 on-outer crashed (cancelled in astrid_hook_trigger: killed by an operator)")
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// A chain of calls on one goroutine gives up as one.
func TestGivingUpOnAChainOfCalls(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		long := false
		w.start("last", func(ctx context.Context, s *script, payload string) (capsulehost.Result, error) {
			if long {
				return hangs(ctx, s, payload)
			}
			return capsulehost.Result{Data: []byte("1")}, nil
		}, inline)
		w.start("d", asks("last"), inline)
		w.start("c", asks("d"), inline)
		w.start("b", asks("c"), inline)
		w.start("a", asks("b"), inline)
		synctest.Wait()
		for range 6 {
			w.trigger("a")
			synctest.Wait()
		}
		long = true
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		// The last call is ended, and the others end by themselves: they have an answer.
		if _, err := w.router.Trigger(ctx, TriggerRequest{Topic: "a"}); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("error: %v", err)
		}
		if took := time.Since(began); took > time.Second+abandonedAfter+10*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		synctest.Wait()
		if crash := w.crash(); crash.Blameless == "" {
			t.Errorf("the crash is %+v", crash)
		}
	})
}
