package actors

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// Past its queue a capsule hears nothing: the sender is told at once.
func TestAFullQueueAnswersOverloaded(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		hold := make(chan struct{})
		w.start("c", func(context.Context, *script, string) (capsulehost.Result, error) {
			<-hold
			return capsulehost.Result{Data: []byte("1")}, nil
		}, func(c *CapsuleConfig) { c.Version.Queue = 2 })
		synctest.Wait()
		var waiting []<-chan []messages.Leg
		for range 3 { // one runs, two wait
			waiting = append(waiting, w.later("c"))
			synctest.Wait()
		}
		began := time.Now()
		expect(t, "legs", show(w.trigger("c")), "c/1 on-c overloaded (the capsule's queue is full)")
		if took := time.Since(began); took != 0 {
			t.Errorf("told after %v", took)
		}
		close(hold)
		for _, legs := range waiting {
			expect(t, "legs", show(<-legs), "c/1 on-c continue 1")
		}
	})
}

// A stop answers what waits at once; what runs has its time, and is then interrupted.
func TestStopAnswersEveryCall(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		h := w.start("c", hangs)
		synctest.Wait()
		runs := w.later("c")
		synctest.Wait()
		waits := w.later("c")
		synctest.Wait()
		w.close(h)
		expect(t, "what waited", show(<-waits), "c/1 on-c unavailable (the capsule is stopping, or has stopped)")
		expect(t, "what comes", show(w.trigger("c")), "c/1 on-c unavailable (the capsule is stopping, or has stopped)")
		synctest.Wait()
		select {
		case legs := <-runs:
			t.Fatal("the running call was not left its time:", show(legs))
		default:
		}
		if !h.Interrupt(h.Generation(), ErrStopping) {
			t.Error("the interruption of a capsule that stops did nothing")
		}
		expect(t, "what ran", show(<-runs), "c/1 on-c crashed (cancelled in astrid_hook_trigger: stopped before it had answered)")
		synctest.Wait()
		expect(t, "afterwards", show(w.trigger("c")), "c/1 on-c unavailable (the capsule is stopping, or has stopped)")
		expect(t, "events", w.seen(), "c/1 loading", "c/1 ready")
		if len(w.failures()) > 0 {
			t.Error("a stop is no failure")
		}
		w.spawn(h)
		synctest.Wait()
		expect(t, "events of a new start", w.seen(), "c/2 loading", "c/2 ready")
		if h.Interrupt(h.Generation(), ErrStopping) {
			t.Error("a capsule that does not stop was interrupted for it")
		}
		second := w.later("c")
		synctest.Wait()
		h.Interrupt(2, ErrKilled)
		expect(t, "served again", show(<-second), "c/2 on-c crashed (cancelled in astrid_hook_trigger: killed by an operator)")
	})
}

// A restart on request interrupts what runs, and is no crash; what waits is
// served by the next instance.
func TestRestartOnRequest(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		h := w.start("c", func(ctx context.Context, s *script, payload string) (capsulehost.Result, error) {
			if s.generation == 1 {
				return hangs(ctx, s, payload)
			}
			return capsulehost.Result{Data: []byte("2")}, nil
		})
		synctest.Wait()
		runs := w.later("c")
		synctest.Wait()
		waits := w.later("c")
		synctest.Wait()
		w.restart("c")
		synctest.Wait()
		if !h.Interrupt(1, ErrRestarting) {
			t.Error("the interruption did nothing")
		}
		expect(t, "what ran", show(<-runs), "c/1 on-c crashed (cancelled in astrid_hook_trigger: restarted by an operator before it had answered)")
		expect(t, "what waited", show(<-waits), "c/2 on-c continue 2")
		expect(t, "events", w.seen(), "c/1 loading", "c/1 ready", "c/2 loading", "c/2 ready")
	})
}

// What is stopped before it has begun does not begin; what is stopped while it
// loads is never announced.
func TestStopDuringAStart(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		h := w.handle("c", says("1"))
		w.do(func(ctx actor.Context) {
			props := h.Props()
			h.Close()
			if _, err := ctx.SpawnNamed(props, "c"); err != nil {
				t.Error(err)
			}
			ctx.Stop(w.sys.PID("root/" + CapsulePath("c")))
		})
		synctest.Wait()
		if h.Generation() != 0 {
			t.Error("a capsule that was stopped before was loaded")
		}
		loaded := make(chan struct{})
		h = w.start("d", says("1"), loads(func(context.Context, capsulehost.HostAPI, int) error {
			<-loaded
			return nil
		}))
		synctest.Wait()
		w.close(h)
		close(loaded)
		synctest.Wait()
		expect(t, "events", w.seen(), "d/1 loading")
		expect(t, "legs", show(w.trigger("d")))
	})
}
