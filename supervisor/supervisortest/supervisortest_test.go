package supervisortest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

func diff(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// everything calls every function of the host.
func everything(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
	c.Log(capsulehost.LevelInfo, "hello")
	c.Config("greeting")
	c.Caller()
	c.SignalReady()
	c.Now()
	c.Trigger(ctx, "nobody.listens", nil)
	c.Services().Peers.CheckCapability(ctx, "", "")
	return supervisortest.JSON(true)
}

// A fault has the same effect in a WebAssembly guest and in one written in Go.
func TestFaultsAtEachPoint(t *testing.T) {
	wasm, err := os.ReadFile(filepath.Join("..", "..", "test", "capsules", "all-seven", "all-seven.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	guests := map[string]supervisor.Capsule{
		"go":   supervisortest.Func("guest", "ask", everything),
		"wasm": supervisortest.Module("guest", "ask", wasm),
	}
	effects := map[string]func(context.Context, supervisortest.Visit) error{
		"crash": supervisortest.Crash, "exit": supervisortest.Exit(3), "fail": supervisortest.Fail("no ink"),
		"hang": supervisortest.Hang, "delay": supervisortest.Delay(time.Second), "long delay": supervisortest.Delay(time.Hour),
	}
	// The result of an effect before a call, after it, and in a system call.
	type result struct{ outcome, reason, kind string }
	atCall := map[string]result{
		"crash": {"crashed", "injected at", "trap"}, "exit": {"crashed", "exited with code 3", "exit"},
		"fail": {"failed", "no ink", ""}, "hang": {"timeout", "no answer by the trigger's deadline", "timeout"},
		"delay": {"continue", "", ""}, "long delay": {"timeout", "no answer by the trigger's deadline", "timeout"},
	}
	inside := maps.Clone(atCall)
	inside["fail"] = result{"crashed", "no ink", "host_call"}

	for _, point := range supervisortest.Points() {
		if point == supervisortest.AtLoad || point == supervisortest.BeforeRun {
			continue
		}
		for effect, do := range effects {
			for guest, capsule := range guests {
				t.Run(strings.Join([]string{string(point), effect, guest}, ", "), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						sys := supervisortest.Start(t, supervisor.Config{TriggerTimeout: time.Minute}, capsule)
						fault := sys.Inject("guest", supervisortest.Fault{At: point, Do: do})
						leg := sys.Ask("ask", `"00000000-0000-0000-0000-000000000000"`).Legs[0]
						want := atCall[effect]
						if point != supervisortest.BeforeCall && point != supervisortest.AfterCall {
							want = inside[effect]
						}
						if fault.Struck() != 1 {
							t.Errorf("it struck %d times", fault.Struck())
						}
						if got := leg.Outcome.String(); got != want.outcome || !strings.Contains(leg.Reason, want.reason) {
							t.Errorf("%s: %q, want %s: %q", got, leg.Reason, want.outcome, want.reason)
						}
						if want.kind != "" {
							diff(t, want.kind, sys.AwaitReady("guest", 2).LastFailure.Kind)
						}
						sys.Ask("ask", "") // the next call succeeds
						if got := len(sys.Timeline("guest")); (want.kind == "") != (got == 2) {
							t.Errorf("%q", sys.Timeline("guest"))
						}
					})
				})
			}
		}
	}
}

func TestFaultsInALoadAndInALoop(t *testing.T) {
	loop := supervisortest.Loop("loop", func(ctx context.Context, c *supervisortest.Call) error {
		c.SignalReady()
		<-ctx.Done()
		return ctx.Err()
	})
	loop.Manifest += "[supervision]\nrestart = \"transient\"\n"
	for point, table := range map[supervisortest.Point]map[string]struct {
		do   func(context.Context, supervisortest.Visit) error
		want string
	}{
		supervisortest.AtLoad: {
			"crash": {supervisortest.Crash, "crashed 1 in load: trap"},
			"fail":  {supervisortest.Fail("not there"), "crashed 1 in load: bad_module"},
			"hang":  {supervisortest.Hang, "crashed 1 in load: timeout"},
		},
		supervisortest.BeforeRun: {
			"crash": {supervisortest.Crash, "crashed 1 in run: trap"},
			"fail":  {supervisortest.Fail("no"), "crashed 1 in run: exit"},
			"exit":  {supervisortest.Exit(0), "stopped: it ended by itself, and restart = \"transient\""},
		},
		supervisortest.AtReady: {
			"crash": {supervisortest.Crash, "crashed 1 in run: trap"},
			"fail":  {supervisortest.Fail("no"), "crashed 1 in run: host_call"},
			"hang":  {supervisortest.Hang, "not ready in time 1"},
		},
	} {
		for effect, test := range table {
			t.Run(fmt.Sprint(point, ", ", effect), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sys := supervisortest.New(t, supervisor.Config{CallTimeout: time.Second, LoadTimeout: time.Second}, loop)
					sys.Inject("loop", supervisortest.Fault{At: point, Do: test.do})
					sys.Launch()
					<-time.After(2 * time.Second)
					if got := sys.Timeline("loop"); !slices.Contains(got, test.want) {
						t.Errorf("no %q in %q", test.want, got)
					}
				})
			})
		}
	}
}

func TestAFaultsCountAndPredicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := supervisortest.Start(t, supervisor.Config{}, supervisortest.Func("a", "ask", everything))
		third := sys.Inject("a", supervisortest.Fault{
			Do: supervisortest.Fail("third"), When: func(v supervisortest.Visit) bool { return v.Number == 3 },
		})
		always := sys.Inject("a", supervisortest.Fault{
			Do: supervisortest.Fail("always"), Times: -1, When: func(v supervisortest.Visit) bool { return string(v.Payload) == "1" },
		})
		twice := sys.Inject("a", supervisortest.Fault{Do: supervisortest.Fail("twice"), Times: 2})
		var got []string
		for n := range 7 {
			got = append(got, sys.Ask("ask", fmt.Sprint(n%2)).Legs[0].Reason)
		}
		diff(t, []string{"twice", "always", "third", "always", "twice", "always", ""}, got)
		always.Withdraw()
		sys.Expect("ask", "1", "a continue true")
		diff(t, []int{1, 3, 2}, []int{third.Struck(), always.Struck(), twice.Struck()})

		topics := sys.Inject("a", supervisortest.Fault{
			At: supervisortest.AtTrigger, When: func(v supervisortest.Visit) bool { return v.Topic == "nobody.listens" && v.Action == "act" },
		})
		sys.Expect("ask", "1", "a crashed")
		diff(t, 1, topics.Struck())
		loads := sys.Inject("a", supervisortest.Fault{When: func(v supervisortest.Visit) bool { return v.Load == 2 }})
		sys.Expect("ask", "1", "a crashed")
		diff(t, 1, loads.Struck())
	})
}

// The error of a guest in Go is a failure or a report, as for a WebAssembly guest.
func TestGuestsInGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := supervisortest.Start(t, supervisor.Config{CallTimeout: time.Minute},
			supervisortest.Func("a", "ask", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
				n, _ := c.Vars["n"].(int)
				c.Vars["n"] = n + 1
				switch string(c.Payload) {
				case `"panic"`:
					panic("no more")
				case `"report"`:
					return capsulehost.Result{}, errors.New("no thanks")
				case `"wait"`:
					<-ctx.Done()
					return capsulehost.Result{}, ctx.Err()
				case `"deny"`:
					return capsulehost.Result{Action: capsulehost.Deny, Data: []byte("never")}, nil
				case `"cycle"`:
					return supervisortest.JSON(c.Trigger(ctx, "back", nil))
				}
				return supervisortest.JSON(n)
			}),
			supervisortest.Func("b", "back", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
				return supervisortest.JSON(c.Trigger(ctx, "ask", nil))
			}))
		for _, test := range []struct{ payload, leg, reason string }{
			{`0`, "a continue 0", ""},
			{`0`, "a continue 1", ""},
			{`"report"`, "a failed", "no thanks"},
			{`"deny"`, "a denied", "never"},
			{`"cycle"`, `a continue [[]]`, ""},
			{`"panic"`, "a crashed", "trap in astrid_hook_trigger: panic: no more"},
			{`0`, "a continue 0", ""}, // its variables are lost
			{`"wait"`, "a timeout", "no answer by the trigger's deadline"},
		} {
			reply := sys.Ask("ask", test.payload)
			diff(t, []string{test.leg}, supervisortest.Legs(reply))
			diff(t, test.reason, reply.Legs[0].Reason)
			synctest.Wait()
			<-time.After(time.Second)
		}
		diff(t, []string{
			"loading 1", "ready 1", "crashed 1 in call: trap", "restart 1/5 after crash",
			"loading 2", "ready 2", "crashed 2 in call: timeout", "restart 1/5 after a trigger's deadline", "loading 3", "ready 3",
		}, sys.Timeline("a"))
	})
}

// Hours of backoff take no time.
func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := supervisortest.Start(t, supervisor.Config{Restart: supervisor.RestartPolicy{InitialBackoff: 10 * time.Hour, MaxBackoff: 20 * time.Hour}},
			supervisortest.Func("a", "ask", everything))
		sys.Patience = 24 * time.Hour
		sys.Inject("a", supervisortest.Fault{At: supervisortest.AtLoad, Times: 1})
		sys.Inject("a", supervisortest.Fault{})
		sys.Ask("ask", "")
		synctest.Wait()
		c := sys.AwaitState("a", messages.StateCrashed)
		if c.RestartAt.IsZero() {
			t.Error("no restart is due")
		}
		began := time.Now()
		sys.AwaitReady("a", 3)
		if took := time.Since(began); took < 8*time.Hour || took > 10*time.Hour {
			t.Errorf("it took %v", took)
		}
		if err := sys.Close(); err != nil {
			t.Error(err)
		}
		diff(t, "stopped", sys.Capsule("a").State.String())
	})
}

// A wait that fails reports the actual state.
func TestWhatFailsSaysWhy(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(*supervisortest.System)
		want string
	}{
		"await": {func(s *supervisortest.System) {
			s.Await("it sings", func(e supervisor.Event) bool { return e.Name() == "events_lost" })
		}, `^no event "it sings" after 1m0s; what happened instead:\n\tcapsules/a loading 1\n\tcapsules/a ready 1\n\tstarted$`},
		"await, and Serve ends": {func(s *supervisortest.System) {
			time.AfterFunc(time.Second, func() { s.Close() })
			s.Await("it sings", func(e supervisor.Event) bool { return e.Name() == "events_lost" })
		}, `(?s)^no event "it sings" when Serve returned; .*\tstopped$`},
		"state": {func(s *supervisortest.System) {
			s.AwaitState("a", messages.StateFailed)
		}, `^capsule "a" is ready in generation 1, and not failed after 1m0s; what happened to it:\n\tloading 1\n\tready 1$`},
		"ready": {func(s *supervisortest.System) {
			if err := s.Stop(context.Background(), "a"); err != nil {
				t.Error(err)
			}
			s.AwaitReady("a", 2)
		}, `(?s)^capsule "a" is stopped in generation 1 \(stopped by an operator\), and not ready in generation 2 after .*\tstopped: stopped by an operator$`},
		"legs": {func(s *supervisortest.System) { s.Expect("ask", "", "a denied") },
			`(?s)^the legs of trigger "ask" differ \(-want \+got\):.*a denied.*a continue true`},
		"bad trigger":   {func(s *supervisortest.System) { s.Ask("..", "") }, `^invalid request: topic ".." has an empty segment$`},
		"no such point": {func(s *supervisortest.System) { s.Inject("a", supervisortest.Fault{At: "lunch"}) }, `^Inject: there is no point "lunch", but \["load" "before a call"`},
		"inject nobody": {func(s *supervisortest.System) { s.Inject("b", supervisortest.Fault{}) }, `^Inject: there is no capsule "b"$`},
		"await nobody":  {func(s *supervisortest.System) { s.AwaitReady("b", 1) }, `^await ready in generation 1: there is no capsule "b"$`},
		"no answer": {func(s *supervisortest.System) {
			s.Patience = -time.Minute // less than the trigger's own
			s.Inject("a", stuck(2*time.Hour))
			s.Ask("ask", "")
		}, `^trigger "ask" is not answered after 59m0s; the capsules are\n\ta ready in generation 1$`},
		"lost": {func(s *supervisortest.System) {
			s.Patience = -time.Minute // less than the trigger's own
			s.Inject("a", stuck(2*time.Hour))
			s.Begin("ask", "")
			synctest.Wait()
			s.NoTriggerLost()
		}, `^1 triggers are open after 59m0s; the capsules are\n\ta ready in generation 1$`},
		"no strike":     {func(s *supervisortest.System) { s.Inject("a", supervisortest.Fault{}).Await(1) }, `(?s)^the fault "before a call" of capsule "a" has struck 0 times after 1m0s, not 1; what happened to it:.*ready 1$`},
		"started twice": {func(s *supervisortest.System) { s.Launch() }, `^a System is launched once$`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRecorder(t)
				sys := supervisortest.Start(r, supervisor.Config{TriggerTimeout: time.Hour, CallTimeout: time.Hour, StopTimeout: 2 * time.Hour}, supervisortest.Func("a", "ask", everything))
				r.run(func() { test.do(sys) })
				if got := strings.Join(r.said, "\n"); !regexp.MustCompile(test.want).MatchString(got) {
					t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
				}
			})
		})
	}
}

func TestASystemThatDoesNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(t)
		r.run(func() {
			sys := supervisortest.New(r, supervisor.Config{CallTimeout: time.Hour, StopTimeout: time.Hour}, supervisortest.Func("slow", "x", everything))
			fault := stuck(90 * time.Second)
			fault.At = supervisortest.AtLoad
			sys.Inject("slow", fault)
			sys.Launch()
			sys.AwaitReady("slow", 1)
		})
		diff(t, []string{`capsule "slow" is loading in generation 1, and not ready in generation 1 after 1m0s; what happened to it:` + "\n\tloading 1"}, r.said)
	})
}

// stuck is a fault that can't be interrupted.
func stuck(d time.Duration) supervisortest.Fault {
	return supervisortest.Fault{Do: func(context.Context, supervisortest.Visit) error { <-time.After(d); return nil }}
}

// recorder records failures, instead of a test.
type recorder struct {
	*testing.T
	mu   sync.Mutex
	said []string
}

func newRecorder(t *testing.T) *recorder { return &recorder{T: t} }

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// run runs f as if it were a test, and returns when it has ended.
func (r *recorder) run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}
