package actors

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// inTree runs a test in a bubble with a tree.
func inTree(t *testing.T, test func(t *testing.T, w *tree)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newTree(t)
		test(t, w)
		w.stop()
	})
}

func TestOutcomes(t *testing.T) {
	result := func(a capsulehost.Action, data string) action {
		return func(context.Context, *script, string) (capsulehost.Result, error) {
			return capsulehost.Result{Action: a, Data: []byte(data)}, nil
		}
	}
	for name, test := range map[string]struct {
		act  action
		want string
	}{
		"continue":         {says(`{"a":1}`), `c/1 on-c continue {"a":1}`},
		"final":            {result(capsulehost.Final, `[2]`), `c/1 on-c final [2]`},
		"white space":      {says(" {\n\t\"a b\" : 1 }\r\n"), `c/1 on-c continue {"a b":1}`},
		"keys in order":    {says(`{"b":1,"a":2}`), `c/1 on-c continue {"a":2,"b":1}`},
		"white space kept": {says(`"a b"`), `c/1 on-c continue "a b"`},
		"empty":            {result(capsulehost.Continue, ""), `c/1 on-c empty`},
		"empty final":      {result(capsulehost.Final, ""), `c/1 on-c invalid (the answer is not JSON: the text ends where a value should be, at byte 0)`},
		"not JSON":         {says(`{"a"`), `c/1 on-c invalid (the answer is not JSON: the text ends where a colon should be, at byte 4)`},
		"not UTF-8":        {says("\"\xff\""), `c/1 on-c invalid (the answer is not JSON: invalid UTF-8 in the string at byte 2)`},
		"only white space": {says(" "), `c/1 on-c invalid (the answer is not JSON: the text ends where a value should be, at byte 1)`},
		"denied":           {result(capsulehost.Deny, "not you"), `c/1 on-c denied (not you)`},
		"reported an error": {func(context.Context, *script, string) (capsulehost.Result, error) {
			return capsulehost.Result{}, &capsulehost.GuestError{Text: "no luck"}
		}, `c/1 on-c failed (no luck)`},
		"trapped": {traps, `c/1 on-c crashed (trap in astrid_hook_trigger: unreachable)`},
		"exited with 0": {func(context.Context, *script, string) (capsulehost.Result, error) {
			return capsulehost.Result{}, &capsulehost.Failure{Kind: capsulehost.KindExit, Message: "exit 0"}
		}, `c/1 on-c crashed (exit: exit 0)`},
		"panicked": {func(context.Context, *script, string) (capsulehost.Result, error) { panic("in the host") },
			`c/1 on-c crashed (host_call: panic in the host: in the host)`},
		"ended its goroutine": {func(context.Context, *script, string) (capsulehost.Result, error) {
			runtime.Goexit()
			return capsulehost.Result{}, nil
		}, `c/1 on-c crashed (the capsule's actor failed during the call)`},
	} {
		t.Run(name, func(t *testing.T) {
			inTree(t, func(t *testing.T, w *tree) {
				w.start("c", test.act)
				synctest.Wait()
				expect(t, "legs", show(w.trigger("c")), test.want)
				synctest.Wait()
				if got := w.handles["c"].Calls(); got != 1 && name != "ended its goroutine" {
					t.Errorf("%d calls are counted", got)
				}
			})
		})
	}
}

// Promises 1 and 3: the call that killed the guest is answered at once, those
// behind it, in order, by the next instance.
func TestCallsBehindACrashAreServedByTheNextInstance(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		hold := make(chan struct{})
		h := w.start("c", func(_ context.Context, s *script, payload string) (capsulehost.Result, error) {
			if payload == `"first"` {
				<-hold
				return capsulehost.Result{}, trap
			}
			return capsulehost.Result{Data: fmt.Appendf(nil, `[%s,%d]`, payload, s.generation)}, nil
		})
		synctest.Wait()
		began := time.Now()
		var answers []<-chan []string
		for _, payload := range []string{`"first"`, `"second"`, `"third"`} {
			out := make(chan []string, 1)
			answers = append(answers, out)
			go func() {
				legs, err := w.triggerWithin(time.Minute, &messages.RouteTrigger{Topic: "c", Payload: []byte(payload)})
				if err != nil {
					t.Error(err)
				}
				out <- show(legs)
			}()
			synctest.Wait()
		}
		if h.Queue() != 2 {
			t.Errorf("%d calls wait, want 2", h.Queue())
		}
		w.hold("c")
		close(hold)
		expect(t, "the call that crashed", <-answers[0], "c/1 on-c crashed (trap in astrid_hook_trigger: unreachable)")
		synctest.Wait()
		if h.Queue() != 2 {
			t.Errorf("%d calls wait for the next instance, want 2", h.Queue())
		}
		w.release("c")
		expect(t, "the next call", <-answers[1], `c/2 on-c continue ["second",2]`)
		expect(t, "the last call", <-answers[2], `c/2 on-c continue ["third",2]`)
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v of waiting for nothing", took)
		}
		expect(t, "events", w.seen(), "c/1 loading", "c/1 ready", "c/1 crashed call trap", "c/2 loading", "c/2 ready")
	})
}

// Promise 6: whoever hears of a crash finds the session of the dead instance
// invalid, and the crash among the events.
func TestADeadSessionIsDeniedAtOnce(t *testing.T) {
	for name, die := range map[string]func(w *tree, h *Handle){
		"crash":   func(w *tree, _ *Handle) { w.trigger("c") },
		"kill":    func(_ *tree, h *Handle) { h.Interrupt(1, ErrKilled); synctest.Wait() },
		"stop":    func(w *tree, h *Handle) { w.close(h); synctest.Wait() },
		"restart": func(w *tree, _ *Handle) { w.restart("c") },
	} {
		t.Run(name, func(t *testing.T) {
			inTree(t, func(t *testing.T, w *tree) {
				next := make(chan struct{})
				h := w.start("c", traps, func(c *CapsuleConfig) { c.AllowPromptInjection = true },
					loads(func(_ context.Context, _ capsulehost.Surroundings, n int) error {
						if n > 1 {
							<-next
						}
						return nil
					}))
				synctest.Wait()
				session := h.Announced().GetSession()
				if !w.allowed(session) {
					t.Fatal("a living session is denied")
				}
				w.observe = func(e *messages.Event) {
					if e.GetCapsuleCrashed() == nil {
						return
					}
					if w.allowed(session) {
						t.Error("the event was out before the session was invalid")
					}
					if c := w.triggers.find(1); name == "crash" && (c == nil || c.over) {
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
					if got := w.find("c"); got.GetState() != messages.CapsuleState_CAPSULE_STATE_STOPPED || got.GetSession() != "" {
						t.Errorf("the registry says %v", got)
					}
					return
				}
				if again := h.Announced().GetSession(); again == session || !w.allowed(again) || w.allowed(session) {
					t.Errorf("session %q after %q: allowed %v, the old one %v", again, session, w.allowed(again), w.allowed(session))
				}
			})
		})
	}
}

// The caller of a call is seen during it, and by nobody else, whatever becomes
// of the call.
func TestTheCallerNeverLeaks(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		who := func(s *script) string {
			if c := s.Caller(); c != nil {
				return *c.Principal + " " + c.SourceID + " " + c.Timestamp.UTC().Format(time.DateOnly)
			}
			return "nobody"
		}
		w.start("inner", func(_ context.Context, s *script, _ string) (capsulehost.Result, error) {
			return capsulehost.Result{Data: fmt.Appendf(nil, "%q", who(s))}, nil
		})
		var last *script
		w.start("c", func(ctx context.Context, s *script, payload string) (capsulehost.Result, error) {
			last = s
			s.Log(capsulehost.LevelInfo, payload)
			switch payload {
			case `"trap"`:
				return capsulehost.Result{}, trap
			case `"panic"`:
				panic("in the host")
			case `"nested"`:
				answer, err := s.trigger(ctx, "inner")
				return capsulehost.Result{Data: fmt.Appendf(nil, `[%q,%s]`, who(s), answer)}, err
			}
			return capsulehost.Result{Data: fmt.Appendf(nil, "%q", who(s))}, nil
		})
		synctest.Wait()
		at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		ask := func(principal, payload string) string {
			m := &messages.RouteTrigger{Topic: "c", Payload: []byte(payload)}
			if principal != "" {
				m.Caller = &messages.Caller{Principal: &principal, SourceId: "id", Timestamp: timestamppb.New(at)}
			}
			legs, err := w.triggerWithin(time.Second, m)
			if err != nil || len(legs) != 1 {
				t.Fatal(legs, err)
			}
			return string(legs[0].GetValue())
		}
		for _, step := range []struct{ principal, payload, want string }{
			{"ann", `"x"`, `"ann id 2026-03-01"`},
			{"", `"x"`, `"nobody"`},
			{"bob", `"trap"`, ""},
			{"", `"x"`, `"nobody"`},
			{"bob", `"panic"`, ""},
			{"", `"x"`, `"nobody"`},
			{"ann", `"nested"`, `["ann id 2026-03-01",["nobody"]]`},
		} {
			if got := ask(step.principal, step.payload); got != step.want {
				t.Errorf("%s asked by %q saw %s, want %s", step.payload, step.principal, got, step.want)
			}
			synctest.Wait()
			if got := who(last); got != "nobody" {
				t.Errorf("after %s asked by %q there is a caller: %s", step.payload, step.principal, got)
			}
		}
		expect(t, "log", w.log(), `ann: "x"`, `: "x"`, `bob: "trap"`, `: "x"`, `bob: "panic"`, `: "x"`, `ann: "nested"`)
	})
}

// A call whose trigger's deadline has passed while it was queued is not run; nor
// is one whose trigger was given up.
func TestCallsThatNobodyWaitsForAreNotRun(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		var ran []string
		w.start("c", func(_ context.Context, _ *script, payload string) (capsulehost.Result, error) {
			ran = append(ran, payload)
			time.Sleep(8 * time.Second)
			return capsulehost.Result{Data: []byte("1")}, nil
		})
		synctest.Wait()
		first := w.later("c")
		synctest.Wait()
		legs, err := w.triggerWithin(4*time.Second, &messages.RouteTrigger{Topic: "c", Payload: []byte(`"late"`)})
		if err != nil {
			t.Error(err)
		}
		expect(t, "queued past its deadline", show(legs), "c/0 on-c timeout (no answer by the trigger's deadline)")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err = w.triggers.Route(ctx, &messages.RouteTrigger{Topic: "c", Payload: []byte(`"cancelled"`)})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled trigger: %v", err)
		}
		<-first
		if legs := w.trigger("c"); legs[0].GetOutcome() != messages.Outcome_OUTCOME_CONTINUE {
			t.Errorf("the capsule does not serve any more: %v", show(legs))
		}
		expect(t, "calls that ran", ran, "null", "null")
		if failures := w.failures(); len(failures) > 0 {
			t.Errorf("these have failed: %v", failures)
		}
	})
}

// A capsule that gets a call too late says so itself: it may not rely on anybody
// else's clock.
func TestALateCallIsAnsweredTimeout(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		w.start("c", says("1"))
		synctest.Wait()
		c := w.triggers.begin(time.Now(), &messages.RouteTrigger{})
		c.plan([]*messages.Leg{{Capsule: "c"}})
		w.sys.Request(capsulePID(w.sys, "c"), &messages.InvokeInterceptor{
			Trigger: w.triggers.last, Deadline: time.Now().UnixNano(),
		}, w.triggers.self)
		<-c.answered
		legs := w.triggers.end(w.triggers.last, c)
		expect(t, "leg", show(legs), "c/0  timeout (the trigger's deadline passed while the call was queued)")
	})
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
			"c/1 on-c crashed (timeout in astrid_hook_trigger: the capsule's limit of 1s passed)", false},
		"deadline first": {time.Minute, time.Second, "c/1 on-c timeout (no answer by the trigger's deadline)", true},
		"no limit":       {0, time.Second, "c/1 on-c timeout (no answer by the trigger's deadline)", true},
	} {
		t.Run(name, func(t *testing.T) {
			inTree(t, func(t *testing.T, w *tree) {
				h := w.start("c", hangs, func(c *CapsuleConfig) { c.CallTimeout = test.limit })
				synctest.Wait()
				began := time.Now()
				legs, err := w.triggerWithin(test.deadline, &messages.RouteTrigger{Topic: "c"})
				if err != nil {
					t.Error(err)
				}
				legs[0].Generation = 1 // unknown where the trigger's timer was a moment earlier than the guest's
				expect(t, "legs", show(legs), test.want)
				if took := time.Since(began); took != time.Second {
					t.Errorf("answered after %v", took)
				}
				synctest.Wait()
				crash := w.crash()
				if crash.Blameless != test.blameless || crash.Failure.GetKind() != "timeout" || crash.Up != time.Second {
					t.Errorf("crash %+v", crash)
				}
				if h.Generation() != 2 {
					t.Errorf("generation %d after the instance was lost", h.Generation())
				}
			})
		})
	}
}

// Past its queue a capsule hears nothing: the sender is told at once.
func TestAFullQueueAnswersOverloaded(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		hold := make(chan struct{})
		w.start("c", func(context.Context, *script, string) (capsulehost.Result, error) {
			<-hold
			return capsulehost.Result{Data: []byte("1")}, nil
		}, func(c *CapsuleConfig) { c.Queue = 2 })
		synctest.Wait()
		var waiting []<-chan []*messages.Leg
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
		expect(t, "afterwards", show(w.trigger("c")), "c/0 on-c unavailable (the capsule has stopped)")
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
				h := w.start("c", hangs, loads(func(ctx context.Context, _ capsulehost.Surroundings, n int) error {
					if test.loading && n == 1 {
						<-ctx.Done()
						return interruption(ctx)
					}
					return nil
				}))
				synctest.Wait()
				var call <-chan []*messages.Leg
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
		var legs <-chan []*messages.Leg
		if generation%4 == 0 {
			legs = w.later("c")
		}
		for !h.Interrupt(generation, ErrKilled) {
			runtime.Gosched()
		}
		if legs != nil {
			if got := (<-legs)[0].GetOutcome(); got != messages.Outcome_OUTCOME_CONTINUE {
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
		w.observe = func(e *messages.Event) {
			if e.GetCapsuleCrashed() != nil {
				panic("a bug")
			}
		}
		began := time.Now()
		expect(t, "legs", show(w.trigger("c")), "c/1 on-c crashed (the capsule's actor failed during the call)")
		if took := time.Since(began); took != 0 {
			t.Errorf("answered after %v", took)
		}
		synctest.Wait()
		w.observe = func(*messages.Event) {}
		expect(t, "legs", show(w.trigger("c")), "c/2 on-c crashed (trap in astrid_hook_trigger: unreachable)")
		if failures := w.failures(); failures[0] != "a bug" {
			t.Errorf("the supervisor heard of %v", failures)
		}
	})
}

// A load that fails is a crash like any other, of whatever kind the error says.
func TestLoadsThatFail(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		h := w.start("c", says("1"), func(c *CapsuleConfig) { c.LoadTimeout = time.Second },
			loads(func(ctx context.Context, _ capsulehost.Surroundings, n int) error {
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
			if crash := reason.(*Crash); crash.Generation != uint64(i+1) || crash.Up != 0 || crash.Clean || crash.Blameless {
				t.Errorf("crash %+v", crash)
			}
		}
		if h.MemoryBytes() == 0 {
			t.Error("an instance takes no memory")
		}
	})
}

// A guest may ask others before its capsule serves: while it loads it is a capsule
// like any other that waits, and nobody waits for it.
func TestATriggerFromALoad(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		w.start("other", asks("c"))
		synctest.Wait()
		var got []string
		w.start("c", traps, loads(func(ctx context.Context, s capsulehost.Surroundings, _ int) error {
			answer, err := (&script{Surroundings: s}).trigger(ctx, "other")
			got = append(got, answer)
			return err
		}))
		synctest.Wait()
		w.trigger("c")
		synctest.Wait()
		// In the first load the router does not know c; in the second, other's leg to it is a deadlock.
		expect(t, "answers", got, "[[]]", "[[]]")
	})
}

// After a restart, not after a start, a capsule that wants to know is told.
// What it answers is ignored, but it may die of it.
func TestAfterARestart(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		var told []string
		act := func(_ context.Context, s *script, payload string) (capsulehost.Result, error) {
			if payload != "" {
				return capsulehost.Result{}, trap
			}
			told = append(told, fmt.Sprint(s.generation, s.Caller()))
			if s.generation == 2 {
				return capsulehost.Result{}, trap
			}
			return capsulehost.Result{}, &capsulehost.GuestError{Text: "no luck"}
		}
		w.start("c", act, func(c *CapsuleConfig) {
			c.Interceptors = append(c.Interceptors, &messages.Interceptor{Event: "x", Action: ActionAfterRestart})
		})
		synctest.Wait()
		w.trigger("c")
		synctest.Wait()
		expect(t, "told", told, "2 <nil>", "3 <nil>")
		expect(t, "events", w.seen(), "c/1 loading", "c/1 ready", "c/1 crashed call trap",
			"c/2 loading", "c/2 ready", "c/2 crashed call trap", "c/3 loading", "c/3 ready")
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
			ctx.Stop(capsulePID(w.sys, "c"))
		})
		synctest.Wait()
		if h.Generation() != 0 {
			t.Error("a capsule that was stopped before was loaded")
		}
		loaded := make(chan struct{})
		h = w.start("d", says("1"), loads(func(context.Context, capsulehost.Surroundings, int) error {
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

// An interceptor's configuration and clock come through.
func TestConfigAndClock(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		w.start("c", func(_ context.Context, s *script, _ string) (capsulehost.Result, error) {
			s.SignalReady() // does nothing here
			return capsulehost.Result{Data: fmt.Appendf(nil, `[%q,%v]`, s.Config("k"), s.Now().Equal(time.Now()))}, nil
		})
		synctest.Wait()
		expect(t, "legs", show(w.trigger("c")), `c/1 on-c continue ["value of k",true]`)
	})
}
