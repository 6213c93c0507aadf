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
	"github.com/astrid-actors/astrid-actors/messages"
)

// Promise 6: whoever hears of a crash finds the session of the dead instance
// invalid, and the crash among the events.
func TestADeadSessionIsDeniedAtOnce(t *testing.T) {
	for name, die := range map[string]func(w *tree, h *CapsuleRef){
		"crash":   func(w *tree, _ *CapsuleRef) { w.trigger("c") },
		"kill":    func(_ *tree, h *CapsuleRef) { h.Interrupt(1, ErrKilled); synctest.Wait() },
		"stop":    func(w *tree, h *CapsuleRef) { w.close(h); synctest.Wait() },
		"restart": func(w *tree, _ *CapsuleRef) { w.restart("c") },
	} {
		t.Run(name, func(t *testing.T) {
			inTree(t, func(t *testing.T, w *tree) {
				next := make(chan struct{})
				h := w.start("c", traps, func(c *CapsuleConfig) { c.Version.AllowPromptInjection = true },
					loads(func(_ context.Context, _ capsulehost.HostAPI, n int) error {
						if n > 1 {
							<-next
						}
						return nil
					}))
				synctest.Wait()
				session := h.Announced().Session
				if !w.allowed(session) {
					t.Fatal("a living session is denied")
				}
				w.observe = func(e messages.Event) {
					if _, ok := e.Detail.(messages.CapsuleCrashed); !ok {
						return
					}
					if w.allowed(session) {
						t.Error("the event was out before the session was invalid")
					}
					if name == "crash" && w.router.Open() == 0 {
						t.Error("the call was answered before the session was invalid")
					}
				}
				die(w, h)
				crashes := strings.Count(strings.Join(w.seen(), "\n"), "crashed")
				if name == "restart" {
					synctest.Wait()
				}
				if w.allowed(session) {
					t.Error("the session of a dead instance is allowed")
				}
				if h.Announced() != nil {
					t.Error("a dead instance would be announced again")
				}
				if want := map[string]int{"crash": 1, "kill": 1}[name]; crashes != want {
					t.Errorf("%d crashes are reported, want %d", crashes, want)
				}
				close(next)
				synctest.Wait()
				if name == "stop" {
					if got := w.find("c"); got.State != messages.StateStopped || got.Session != "" {
						t.Errorf("the registry says %v", got)
					}
					return
				}
				if again := h.Announced().Session; again == session || !w.allowed(again) || w.allowed(session) {
					t.Errorf("session %q after %q: allowed %v, the old one %v", again, session, w.allowed(again), w.allowed(session))
				}
			})
		})
	}
}

// The capsule's own limit is the guest's fault; a trigger's deadline is not, but
// costs the instance as well.
func TestLimitsAndDeadlines(t *testing.T) {
	for name, test := range map[string]struct {
		limit, deadline time.Duration
		want            string
		blameless       bool
	}{
		"own limit first": {time.Second, time.Minute,
			"c/1 on-c crashed (timeout in astrid_hook_trigger: out of time: the capsule's limit of 1s passed)", false},
		"deadline first": {time.Minute, time.Second, "c/1 on-c timeout (no answer by the trigger's deadline)", true},
		"no limit":       {0, time.Second, "c/1 on-c timeout (no answer by the trigger's deadline)", true},
	} {
		t.Run(name, func(t *testing.T) {
			inTree(t, func(t *testing.T, w *tree) {
				h := w.start("c", hangs, func(c *CapsuleConfig) { c.Version.CallTimeout = test.limit })
				synctest.Wait()
				began := time.Now()
				legs, err := w.triggerWithin(test.deadline, TriggerRequest{Topic: "c"})
				if err != nil {
					t.Error(err)
				}
				legs[0].Generation = 1 // unknown where the trigger's timer was a monotime.Time earlier than the guest's
				expect(t, "legs", show(legs), test.want)
				if took := time.Since(began); took != time.Second {
					t.Errorf("answered after %v", took)
				}
				synctest.Wait()
				crash := w.crash()
				if (crash.Blameless != "") != test.blameless || crash.Failure.Kind != "timeout" || crash.Uptime != time.Second {
					t.Errorf("crash %+v", crash)
				}
				if h.Generation() != 2 {
					t.Errorf("generation %d after the instance was lost", h.Generation())
				}
			})
		})
	}
}

// A kill is a crash, wherever it finds the capsule; one of a generation that is
// over does nothing.
func TestKill(t *testing.T) {
	for name, test := range map[string]struct {
		busy, loading bool
		want          string
	}{
		"idle":    {want: "c/1 crashed killed cancelled"},
		"busy":    {busy: true, want: "c/1 crashed killed cancelled"},
		"loading": {loading: true, want: "c/1 crashed killed cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			inTree(t, func(t *testing.T, w *tree) {
				h := w.start("c", hangs, loads(func(ctx context.Context, _ capsulehost.HostAPI, n int) error {
					if test.loading && n == 1 {
						<-ctx.Done()
						return interruption(ctx)
					}
					return nil
				}))
				synctest.Wait()
				var call <-chan []messages.Leg
				if test.busy {
					call = w.later("c")
					synctest.Wait()
				}
				if h.Interrupt(0, ErrKilled) || h.Interrupt(2, ErrKilled) {
					t.Error("a kill of another generation hit")
				}
				w.hold("c")
				if !h.Interrupt(1, ErrKilled) {
					t.Error("the kill missed")
				}
				if call != nil {
					expect(t, "the call", show(<-call), "c/1 on-c crashed (cancelled in astrid_hook_trigger: killed by an operator)")
				}
				synctest.Wait()
				if events := w.seen(); events[len(events)-1] != test.want {
					t.Errorf("events %q", events)
				}
				if h.Interrupt(1, ErrKilled) {
					t.Error("the dead can be killed")
				}
				w.release("c")
				synctest.Wait()
				expect(t, "events", w.seen(), "c/2 loading", "c/2 ready")
				if crash := w.crash(); crash.During != "killed" || crash.Generation != 1 {
					t.Errorf("crash %+v", crash)
				}
			})
		})
	}
}

// No kill of an idle capsule is lost, nor does it cost a call that comes at the
// same time its answer. It is a race on purpose, so not in a bubble.
func TestKillMeetsCalls(t *testing.T) {
	w := newTree(t)
	h := w.start("c", says("1"))
	w.awaitReady("c", 1)
	for generation := uint64(1); generation < 2000; generation++ {
		var legs <-chan []messages.Leg
		if generation%4 == 0 {
			legs = w.later("c")
		}
		for !h.Interrupt(generation, ErrKilled) {
			runtime.Gosched()
		}
		if legs != nil {
			if got := (<-legs)[0].Outcome; got != messages.OutcomeContinue {
				t.Fatalf("a call to an instance that was killed between calls: %v", got)
			}
		}
		w.awaitReady("c", generation+1)
	}
	w.stop()
}

// A bug of ours in the middle of a call is answered for, and costs the actor, not the system.
func TestAPanicOfTheActorIsAnswered(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		w.start("c", traps)
		synctest.Wait()
		w.observe = func(e messages.Event) {
			if _, ok := e.Detail.(messages.CapsuleCrashed); ok {
				panic("a bug")
			}
		}
		began := time.Now()
		expect(t, "legs", show(w.trigger("c")), "c/1 on-c crashed (the capsule's actor failed during the call)")
		if took := time.Since(began); took != 0 {
			t.Errorf("answered after %v", took)
		}
		synctest.Wait()
		w.observe = func(messages.Event) {}
		expect(t, "legs", show(w.trigger("c")), "c/2 on-c crashed (trap in astrid_hook_trigger: unreachable)")
		if failures := w.failures(); failures[0] != "a bug" {
			t.Errorf("the supervisor heard of %v", failures)
		}
	})
}

// A load that fails is a crash like any other, of whatever kind the error says.
func TestLoadsThatFail(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		h := w.start("c", says("1"), func(c *CapsuleConfig) { c.Version.LoadTimeout = time.Second },
			loads(func(ctx context.Context, _ capsulehost.HostAPI, n int) error {
				switch n {
				case 1:
					return errors.New("read module: no such file")
				case 2:
					return &capsulehost.Failure{Kind: capsulehost.KindLink, Message: "no such import"}
				case 3:
					<-ctx.Done()
					return interruption(ctx)
				case 4:
					panic("a bug")
				}
				return nil
			}))
		time.Sleep(2 * time.Second)
		expect(t, "events", w.seen(),
			"c/1 loading", "c/1 crashed load bad_module",
			"c/2 loading", "c/2 crashed load link",
			"c/3 loading", "c/3 crashed load timeout",
			"c/4 loading", "c/4 crashed load host_call",
			"c/5 loading", "c/5 ready")
		for i, reason := range w.failures() {
			if crash := reason.(*Crash); crash.Generation != uint64(i+1) || crash.Uptime != 0 || crash.Clean || crash.Blameless != "" {
				t.Errorf("crash %+v", crash)
			}
		}
		if h.Stats().MemoryBytes() == 0 {
			t.Error("an instance takes no memory")
		}
	})
}
