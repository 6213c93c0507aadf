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
	"github.com/astrid-actors/astrid-actors/internal/monotime"
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
		}, `c/1 on-c crashed (host_call: the goroutine of the guest was ended by runtime.Goexit)`},
	} {
		t.Run(name, func(t *testing.T) {
			inTree(t, func(t *testing.T, w *tree) {
				w.start("c", test.act)
				synctest.Wait()
				expect(t, "legs", show(w.trigger("c")), test.want)
				synctest.Wait()
				if got := w.handles["c"].Stats().Calls(); got != 1 && name != "ended its goroutine" {
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
				legs, err := w.triggerWithin(time.Minute, TriggerRequest{Topic: "c", Payload: []byte(payload)})
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
			m := TriggerRequest{Topic: "c", Payload: []byte(payload)}
			if principal != "" {
				m.Caller = &capsulehost.Caller{Principal: &principal, SourceID: "id", Timestamp: at}
			}
			legs, err := w.triggerWithin(time.Second, m)
			if err != nil || len(legs) != 1 {
				t.Fatal(legs, err)
			}
			return string(legs[0].Value)
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
		legs, err := w.triggerWithin(4*time.Second, TriggerRequest{Topic: "c", Payload: []byte(`"late"`)})
		if err != nil {
			t.Error(err)
		}
		expect(t, "queued past its deadline", show(legs), "c/0 on-c timeout (no answer by the trigger's deadline)")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err = w.router.Trigger(ctx, TriggerRequest{Topic: "c", Payload: []byte(`"cancelled"`)})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled trigger: %v", err)
		}
		<-first
		if legs := w.trigger("c"); legs[0].Outcome != messages.OutcomeContinue {
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
		late := planned(w.router, "c")
		late.deadline = monotime.Now()
		w.handles["c"].post(&late.calls[0])
		synctest.Wait()
		late.close()
		expect(t, "leg", show(late.legs), "c/0  timeout (the trigger's deadline passed while the call was queued)")
	})
}

// A guest may ask others before its capsule serves: while it loads it is a capsule
// like any other that waits, and nobody waits for it.
func TestATriggerFromALoad(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		w.start("other", asks("c"))
		synctest.Wait()
		var got []string
		w.start("c", traps, loads(func(ctx context.Context, s capsulehost.HostAPI, _ int) error {
			answer, err := (&script{HostAPI: s}).trigger(ctx, "other")
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
			c.Version.Interceptors = append(c.Version.Interceptors, messages.Interceptor{Event: "x", Action: ActionAfterRestart})
		})
		synctest.Wait()
		w.trigger("c")
		synctest.Wait()
		expect(t, "told", told, "2 <nil>", "3 <nil>")
		expect(t, "events", w.seen(), "c/1 loading", "c/1 ready", "c/1 crashed call trap",
			"c/2 loading", "c/2 ready", "c/2 crashed call trap", "c/3 loading", "c/3 ready")
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
