package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// The tests of suture, under their names without `Test`.
func sutureCases() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"TheHappyCase": func(t *testing.T) {
			s := startAll(t, looper("a"))
			s.Inject("a", supervisortest.Fault{At: supervisortest.BeforeRun, Do: supervisortest.Exit(0)})
			wantError(t, "kill", s.Kill(t.Context(), "a"), nil)
			s.AwaitReady("a", 3)
			wantError(t, "close", s.Close(), nil)
			wantState(t, s, "a", "stopped")
		},
		// Deaths are counted, and forgotten after a time; a capsule that waits for its
		// restart delays no other.
		"Failures": func(t *testing.T) {
			s := startAll(t, worker("a", "budget = 2", `window = "10s"`, `backoff_initial = "1s"`), worker("b"))
			die := func() time.Duration {
				wantError(t, "kill", s.Kill(t.Context(), "a"), nil)
				synctest.Wait()
				if s.Capsule("a").RestartAt.IsZero() {
					return 0
				}
				return time.Until(s.Capsule("a").RestartAt).Round(time.Second)
			}
			diff(t, time.Duration(0), die())
			diff(t, time.Second, die())
			s.Expect("ask.a", "", "a unavailable")
			s.Expect("ask.b", "", `b continue "b"`)
			s.AwaitReady("a", 3)
			pass(10 * time.Second) // all failures are forgotten
			diff(t, time.Duration(0), die())
			diff(t, uint32(1), s.Capsule("a").BudgetSpent)
			untouched(t, s, "b")
		},
		"RunningAlreadyRunning": func(t *testing.T) {
			s := startAll(t, worker("a"))
			wantWords(t, s.Serve(t.Context()), "serving already")
			s.Expect("ask.a", "", `a continue "a"`)
		},
		// A Supervisor can run below another supervisor: Serve may be called again.
		"NestedSupervisors": func(t *testing.T) {
			s := startAll(t, worker("a"))
			wantError(t, "close", s.Close(), nil)
			for n := range uint64(3) {
				ctx, cancel := context.WithCancel(t.Context())
				served := make(chan error)
				go func() { served <- s.Serve(ctx) }()
				synctest.Wait()
				diff(t, n+2, s.Ask("ask.a", "").Legs[0].Generation)
				diff(t, n+2, s.Capsule("a").Generation)
				cancel()
				wantError(t, "serve", <-served, nil)
			}
		},
		"StoppingSupervisorStopsServices": func(t *testing.T) {
			s := startAll(t, worker("a"), looper("b"))
			wantError(t, "close", s.Close(), nil)
			diff(t, map[string]int{"stopped": 2}, states(s))
			_, err := s.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "ask.a"})
			wantError(t, "trigger", err, supervisor.ErrNotServing)
		},
		"StoppingStillWorksWithHungServices": func(t *testing.T) { reportsWhatHangs(t) },
		"ServiceReport":                      func(t *testing.T) { reportsWhatHangs(t) },
		"RemovingHungService": func(t *testing.T) {
			s := startAll(t, worker("hangs", `stop_timeout = "1s"`), worker("other"))
			s.Inject("hangs", stuck(time.Hour))
			answer := s.Begin("ask.hangs", "")
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			wantError(t, "stop", s.Stop(ctx, "hangs"), context.DeadlineExceeded)
			wantState(t, s, "hangs", "stopping")
			s.Expect("ask.hangs", "", "hangs unavailable")
			s.Expect("ask.other", "", `other continue "other"`)
			wantError(t, "stop", s.Stop(t.Context(), "hangs"), nil) // the end of the same stop
			wantState(t, s, "hangs", "stopped")
			diff(t, []string{"hangs timeout"}, supervisortest.Legs(answer()))
		},
		"RemoveService": func(t *testing.T) {
			s := startAll(t, worker("a"), looper("b"))
			wantError(t, "stop", s.Stop(t.Context(), "b"), nil)
			wantState(t, s, "b", "stopped")
			wantError(t, "stop", s.Stop(t.Context(), "nobody"), supervisor.ErrNotFound)
			untouched(t, s, "a")
		},
		"RemoveAndWait": func(t *testing.T) {
			s := startAll(t, worker("a"), worker("b", `stop_timeout = "1h"`))
			wantError(t, "stop", s.Stop(t.Context(), "a"), nil)
			wantError(t, "again", s.Stop(t.Context(), "a"), nil)
			s.Inject("b", supervisortest.Fault{Do: supervisortest.Delay(20 * time.Second)})
			s.Begin("ask.b", "")
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			wantError(t, "stop", s.Stop(ctx, "b"), context.DeadlineExceeded)
			stopped := make(chan error)
			go func() { stopped <- s.Stop(context.Background(), "b") }()
			synctest.Wait()
			go func() { wantError(t, "close", s.Close(), nil) }() // in the middle of it
			wantError(t, "stop", <-stopped, nil)
			synctest.Wait()
		},
		// The capsules supervisor fails, and a capsule dies at the same time.
		"FailingSupervisors": func(t *testing.T) {
			s := startAll(t, worker("a", `backoff_initial = "1s"`), looper("b"))
			wantError(t, "kill", s.Kill(t.Context(), "a"), nil)
			s.AwaitReady("a", 2)
			wantError(t, "kill", s.Kill(t.Context(), "a"), nil)
			synctest.Wait()
			s.FailActorNext("capsules") // while the restart is due
			s.AwaitReady("a", 3)
			diff(t, uint64(1), s.Snapshot().SystemRestarts["capsules"])
			untouched(t, s, "b")
		},
		"Issue11": func(t *testing.T) { // its commands race
			s := startAll(t, worker("a", "budget = 10000"), looper("b", "budget = 10000"))
			var all sync.WaitGroup
			for _, do := range []func(context.Context, string) error{s.Start, s.Stop, s.Restart, s.Kill} {
				for range 5 {
					for _, id := range []string{"a", "b"} {
						all.Go(func() {
							err := do(context.Background(), id)
							if err != nil && !errors.Is(err, supervisor.ErrRefused) && !errors.Is(err, supervisor.ErrNotUp) {
								t.Error(err)
							}
						})
					}
				}
			}
			all.Wait()
			pass(time.Hour)
			for _, id := range []string{"a", "b"} {
				if c := s.Capsule(id); c.State != messages.StateReady {
					wantError(t, "start", s.Start(t.Context(), id), nil)
				}
			}
		},
		"SupervisorManagementIssue35": func(t *testing.T) { // the end comes before the start is over
			var capsules []supervisor.Capsule
			for i := range 100 {
				capsules = append(capsules, worker(fmt.Sprintf("c%d", i)))
			}
			s := supervisortest.New(t, supervisor.Config{}, capsules...)
			s.Launch()
			wantError(t, "close", s.Close(), nil)
			diff(t, map[string]int{"stopped": 100}, states(s))
		},
		"StopAfterRemoveAndWait": func(t *testing.T) {
			s := startAll(t, looper("a"), looper("b"))
			wantError(t, "stop", s.Stop(t.Context(), "a"), nil)
			began := time.Now()
			wantError(t, "close", s.Close(), nil)
			diff(t, time.Duration(0), time.Since(began))
		},
		// A capsule can end itself for good, without effect on any other.
		"ServiceAndTreeTermination": func(t *testing.T) {
			s := startAll(t, worker("a", transient), worker("b"))
			for code := range uint32(4) {
				s.Inject("b", supervisortest.Fault{Do: supervisortest.Exit(code)})
				s.Expect("ask.b", "", "b crashed")
				s.AwaitReady("b", uint64(code)+2)
			}
			s.Inject("a", supervisortest.Fault{Do: supervisortest.Exit(0)})
			s.Expect("ask.a", "", "a crashed")
			pass(24 * time.Hour)
			wantState(t, s, "a", "stopped")
			s.Expect("ask.b", "", `b continue "b"`)
		},
		"DoNotPropagate": func(t *testing.T) {
			s := startAll(t, worker("a", "budget = 0"), worker("b"))
			wantError(t, "kill", s.Kill(t.Context(), "a"), nil)
			pass(24 * time.Hour)
			wantState(t, s, "a", "failed")
			untouched(t, s, "b")
		},
		// Two instances of one capsule at once would fail every test that supervisortest
		// runs.
		"EverMultistarted": func(t *testing.T) {
			s := startAll(t, looper("a", "budget = 10000", `backoff_initial = "1ms"`, `backoff_max = "1ms"`))
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() { _ = s.Restart(context.Background(), "a") })
				all.Go(func() { _ = s.Kill(context.Background(), "a") })
			}
			all.Wait()
			s.AwaitState("a", messages.StateReady)
		},
		"AddAfterStopping": func(t *testing.T) {
			s := startAll(t, worker("a"))
			wantError(t, "close", s.Close(), nil)
			for _, do := range []func(context.Context, string) error{s.Start, s.Stop, s.Restart, s.Kill} {
				wantError(t, "a command", do(t.Context(), "a"), supervisor.ErrNotServing)
			}
		},
		// A context error that is not from the call's own context is an ordinary error.
		"Issue77": func(t *testing.T) {
			ends := make(chan error)
			s := startAll(t, supervisortest.Loop("a", func(ctx context.Context, c *supervisortest.Call) error {
				c.SignalReady()
				select {
				case err := <-ends:
					return err
				case <-ctx.Done():
					return ctx.Err()
				}
			}))
			for n, err := range []error{context.Canceled, context.DeadlineExceeded} {
				ends <- err
				c := s.AwaitReady("a", uint64(n)+2)
				if !strings.Contains(c.LastFailure.Message, err.Error()) {
					t.Errorf("last failure %q, want %q", c.LastFailure.Message, err)
				}
			}
		},
	}
}

// reportsWhatHangs stops a system in which a guest can't be interrupted: Serve still
// returns, and its error names the capsule.
func reportsWhatHangs(t *testing.T) {
	t.Helper()
	s := supervisortest.Start(t, supervisor.Config{StopTimeout: time.Second, TriggerTimeout: 2 * time.Second}, worker("hangs"), worker("other"))
	s.Inject("hangs", stuck(time.Minute))
	answer := s.Begin("ask.hangs", "")
	synctest.Wait()
	began := time.Now()
	wantWords(t, s.Close(), "would not stop", "capsules/hangs")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	wantState(t, s, "hangs", "stopping")
	wantState(t, s, "other", "stopped")
	answer()
	pass(time.Minute) // the guest ends
}
