package supervisor_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// Which capsules are restarted after a death, and which are affected by it.
func restartCases() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"one_for_one": func(t *testing.T) {
			s := startAll(t, worker("a"), worker("b"))
			s.Inject("a", supervisortest.Fault{})
			s.Expect("ask.a", "", "a crashed")
			s.AwaitReady("a", 2)
			untouched(t, s, "b")
		},
		// In OTP the supervisor gives up as well; here only the capsule fails.
		"one_for_one_escalation": func(t *testing.T) {
			s := startAll(t, worker("a", "budget = 1"), worker("b"))
			s.Inject("a", supervisortest.Fault{Times: -1})
			s.Expect("ask.a", "", "a crashed")
			s.AwaitReady("a", 2)
			s.Expect("ask.a", "", "a crashed")
			synctest.Wait()
			wantState(t, s, "a", "failed")
			s.Expect("ask.a", "", "a unavailable")
			untouched(t, s, "b")
			s.Expect("ask.b", "", `b continue "b"`)
		},
		"temporary_bystander": func(t *testing.T) {
			s := startAll(t, worker("a"), worker("b", temporary), looper("c", temporary))
			for generation := range uint64(5) {
				wantError(t, "kill", s.Kill(t.Context(), "a"), nil)
				s.AwaitReady("a", generation+2)
			}
			untouched(t, s, "b", "c")
		},
		// Many capsules die at once, and one dies again and again.
		"multiple_restarts": func(t *testing.T) {
			var capsules []supervisor.Capsule
			for i := range 50 {
				capsules = append(capsules, worker(fmt.Sprintf("c%d", i), "budget = 20"))
			}
			s := startAll(t, capsules...)
			killed := make(chan error)
			for i := range capsules {
				go func() { killed <- s.Kill(context.Background(), fmt.Sprintf("c%d", i)) }()
			}
			for range capsules {
				wantError(t, "kill", <-killed, nil)
			}
			synctest.Wait()
			diff(t, map[string]int{"ready": 50}, states(s))
			for generation := uint64(3); generation <= 10; generation++ {
				wantError(t, "kill", s.Kill(t.Context(), "c7"), nil)
				s.AwaitReady("c7", generation)
			}
			diff(t, uint32(9), s.Capsule("c7").BudgetSpent)
			// Concurrent commands are carried out one after the other.
			s.Inject("c8", supervisortest.Fault{Do: supervisortest.Delay(time.Second)})
			answer := s.Begin("ask.c8", "")
			synctest.Wait()
			restarted := make(chan error)
			for range 3 {
				go func() { restarted <- s.Restart(context.Background(), "c8") }()
			}
			for range 3 {
				wantError(t, "restart", <-restarted, nil)
			}
			diff(t, []string{`c8 continue "c8"`}, supervisortest.Legs(answer()))
			diff(t, uint64(5), s.Capsule("c8").Generation)
		},
		// A capsule whose restart fails is tried again, within its budget.
		"hanging_restart_loop": func(t *testing.T) {
			s := startAll(t, worker("loops", "budget = 10000", `backoff_initial = "1ms"`, `backoff_max = "1ms"`), worker("other"))
			failing := s.Inject("loops", supervisortest.Fault{At: supervisortest.AtLoad, Do: supervisortest.Fail("not now"), Times: -1})
			s.Inject("loops", supervisortest.Fault{})
			s.Expect("ask.loops", "", "loops crashed")
			for _, n := range []int{10, 20, 30} { // between the attempts all other capsules are served
				failing.Await(n)
				s.Expect("ask.other", "", `other continue "other"`)
				wantError(t, "restart", s.Restart(t.Context(), "other"), nil)
			}
			s.Expect("ask.loops", "", "loops unavailable")
			failing.Withdraw()
			s.AwaitState("loops", messages.StateReady)
			s.Expect("ask.loops", "", `loops continue "loops"`)

			// A restart that hangs affects only its capsule, until it reaches its limit.
			hanging := s.Inject("loops", supervisortest.Fault{At: supervisortest.AtLoad, Do: supervisortest.Hang})
			wantError(t, "kill", s.Kill(t.Context(), "loops"), nil)
			hanging.Await(1)
			wantState(t, s, "loops", "loading")
			began := time.Now()
			wantError(t, "restart", s.Restart(t.Context(), "other"), nil)
			s.Expect("ask.other", "", `other continue "other"`)
			diff(t, time.Duration(0), time.Since(began))
			wantError(t, "stop", s.Stop(t.Context(), "loops"), nil)
			diff(t, time.Duration(0), time.Since(began)) // a load is interrupted at once
		},
		"nonsignificant_temporary": func(t *testing.T) { endsAlone(t, temporary) },
		"nonsignificant_transient": func(t *testing.T) { endsAlone(t, transient) },
	}
}

// endsAlone makes a capsule end cleanly, and checks that no other capsule is affected.
func endsAlone(t *testing.T, mode string) {
	t.Helper()
	s := startAll(t, looper("a", mode), worker("b"))
	s.Inject("a", supervisortest.Fault{At: supervisortest.BeforeRun, Do: supervisortest.Exit(0)})
	wantError(t, "stop", s.Stop(t.Context(), "a"), nil)
	wantError(t, "start", s.Start(t.Context(), "a"), supervisor.ErrNotUp)
	synctest.Wait()
	wantState(t, s, "a", "stopped")
	untouched(t, s, "b")
	s.Expect("ask.b", "", `b continue "b"`)
}

// Queries about capsules, and commands to them.
func otherCases() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"child_adm": func(t *testing.T) {
			s := startAll(t, worker("a"))
			ctx := t.Context()
			for _, step := range []struct {
				verb string
				do   func(context.Context, string) error
				id   string
				want error
			}{
				{"start", s.Start, "a", nil}, {"restart", s.Restart, "a", nil}, {"kill", s.Kill, "a", nil},
				{"stop", s.Stop, "a", nil}, {"stop", s.Stop, "a", nil}, {"kill", s.Kill, "a", supervisor.ErrRefused},
				{"start", s.Start, "a", nil}, {"stop", s.Stop, "a", nil}, {"restart", s.Restart, "a", nil},
				{"start", s.Start, "b", supervisor.ErrNotFound}, {"stop", s.Stop, "b", supervisor.ErrNotFound},
				{"restart", s.Restart, "b", supervisor.ErrNotFound}, {"kill", s.Kill, "b", supervisor.ErrNotFound},
			} {
				wantError(t, step.verb+" "+step.id, step.do(ctx, step.id), step.want)
				synctest.Wait()
			}
			diff(t, uint64(5), s.AwaitReady("a", 5).Generation)
		},
		"which_children": func(t *testing.T) {
			s := startAll(t, worker("z"), looper("y"), worker("x"))
			var shown []string
			for _, c := range s.Snapshot().Capsules {
				shown = append(shown, fmt.Sprintf("%s %v %s", c.Path, c.RunLoop, c.State.String()))
			}
			diff(t, []string{"capsules/z false ready", "capsules/y true ready", "capsules/x false ready"}, shown)
		},
		"count_children": func(t *testing.T) {
			s := startAll(t, worker("a"), worker("b", temporary), worker("c"), looper("d"))
			diff(t, map[string]int{"ready": 4}, states(s))
			wantError(t, "stop", s.Stop(t.Context(), "a"), nil)
			wantError(t, "kill", s.Kill(t.Context(), "b"), nil)
			synctest.Wait()
			diff(t, map[string]int{"ready": 2, "stopped": 1, "failed": 1}, states(s))
			wantError(t, "start", s.Start(t.Context(), "a"), nil)
			diff(t, map[string]int{"ready": 3, "failed": 1}, states(s))
		},
		"count_restarting_children": func(t *testing.T) {
			s := startAll(t, worker("a", `backoff_initial = "1h"`, `backoff_max = "1h"`), worker("b"), worker("c"))
			s.Inject("a", supervisortest.Fault{At: supervisortest.AtLoad})
			wantError(t, "kill", s.Kill(t.Context(), "a"), nil)
			synctest.Wait()
			diff(t, map[string]int{"ready": 2, "crashed": 1}, states(s))
			if due := time.Until(s.Capsule("a").RestartAt); due < 48*time.Minute || due > time.Hour {
				t.Errorf("the restart is due in %v", due)
			}
			wantError(t, "kill", s.Kill(t.Context(), "b"), nil)
			s.AwaitReady("b", 2)
			diff(t, map[string]int{"ready": 2, "crashed": 1}, states(s))
			s.AwaitReady("a", 3)
			diff(t, map[string]int{"ready": 3}, states(s))
		},
		// The system's own supervisors: if the capsules supervisor fails, no capsule
		// dies.
		"tree": func(t *testing.T) {
			s := startAll(t, worker("a"), looper("b"))
			for _, path := range []string{"capsules", "registry", "hook-router"} {
				s.FailActor(path)
				synctest.Wait()
				s.Expect("ask.a", "", `a continue "a"`)
			}
			untouched(t, s, "a", "b")
			diff(t, map[string]uint64{"capsules": 1, "registry": 1, "hook-router": 1}, s.Snapshot().SystemRestarts)
			wantError(t, "kill", s.Kill(t.Context(), "a"), nil) // and they continue
			s.AwaitReady("a", 2)
		},
	}
}

// stuck is a fault: for d the guest can't be interrupted.
func stuck(d time.Duration) supervisortest.Fault {
	return supervisortest.Fault{Do: func(context.Context, supervisortest.Visit) error { <-time.After(d); return nil }}
}
