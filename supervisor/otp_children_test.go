package supervisor_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// OTP's functions on the children of a running supervisor, under their names: Add is
// start_child, Stop terminate_child, Remove delete_child, and Start restart_child.
func childCases() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"start_child": func(t *testing.T) {
			s := startAll(t, worker("other"))
			add(t, s, worker("a"), messages.ChangeAdded, nil)
			s.Expect("ask.a", "", `a continue "a"`)
			diff(t, []string{"other", "a"}, ids(s)) // in the order of their start
			// OTP refuses an id that is there. Here that is an upgrade.
			add(t, s, newer("a"), messages.ChangeUpgraded, nil)
			s.Expect("ask.a", "", `a continue "2.0.0"`)
			// OTP forgets a child that does not start. Here it is kept, so that it can be seen
			// and started.
			add(t, s, failing("bad", errors.New("not there"), "budget = 0"), messages.ChangeRejected, supervisor.ErrNotUp)
			synctest.Wait()
			wantState(t, s, "bad", "failed")
			s.Expect("ask.bad", "", "bad unavailable")
			_, err := s.Add(t.Context(), supervisor.Capsule{Manifest: "no manifest"})
			wantWords(t, err, "not valid TOML", "needs either a Module or a Load")
			diff(t, []string{"other", "a", "bad"}, ids(s))
			untouched(t, s, "other")
		},
		"terminate_child": func(t *testing.T) {
			s := startAll(t, worker("other"), worker("a"))
			wantError(t, "terminate", s.Stop(t.Context(), "a"), nil)
			wantState(t, s, "a", "stopped")
			s.Expect("ask.a", "", "a unavailable") // it is kept
			wantError(t, "terminate", s.Stop(t.Context(), "a"), nil)
			wantError(t, "terminate a stranger", s.Stop(t.Context(), "stranger"), supervisor.ErrNotFound)
			untouched(t, s, "other")
		},
		"delete_child": func(t *testing.T) {
			s := startAll(t, worker("other"), worker("a"), worker("b"))
			wantError(t, "stop", s.Stop(t.Context(), "a"), nil)
			wantError(t, "delete", s.Remove(t.Context(), "a"), nil)
			// OTP refuses to delete a child that runs. Here it is stopped first: its calls are
			// answered.
			s.Inject("b", supervisortest.Fault{Do: supervisortest.Delay(time.Second)})
			running := s.Begin("ask.b", "")
			synctest.Wait()
			waiting := s.Begin("ask.b", "")
			synctest.Wait()
			wantError(t, "delete", s.Remove(t.Context(), "b"), nil)
			diff(t, []string{`b continue "b"`}, supervisortest.Legs(running()))
			diff(t, []string{"b unavailable"}, supervisortest.Legs(waiting()))
			for _, id := range []string{"a", "b", "stranger"} {
				wantError(t, "delete "+id, s.Remove(t.Context(), id), supervisor.ErrNotFound)
				s.Expect("ask."+id, "")
			}
			diff(t, []string{"other"}, ids(s))
			untouched(t, s, "other")
		},
		"restart_child": func(t *testing.T) {
			s := startAll(t, worker("other"), worker("a"))
			wantError(t, "restart one that runs", s.Start(t.Context(), "a"), nil) // it runs, as asked
			untouched(t, s, "a")
			wantError(t, "terminate", s.Stop(t.Context(), "a"), nil)
			wantError(t, "restart", s.Start(t.Context(), "a"), nil)
			s.Expect("ask.a", "", `a continue "a"`)
			diff(t, uint64(2), s.Capsule("a").Generation)
			wantError(t, "delete", s.Remove(t.Context(), "a"), nil)
			wantError(t, "restart one that was deleted", s.Start(t.Context(), "a"), supervisor.ErrNotFound)
			add(t, s, worker("a"), messages.ChangeAdded, nil)
			diff(t, uint64(3), s.Capsule("a").Generation)
			untouched(t, s, "other")
		},
		"sup_start_ignore_temporary_child_start_child": func(t *testing.T) {
			s := startAll(t, worker("other"))
			leaves := &capsulehost.Failure{Kind: capsulehost.KindExit, Message: "it leaves"}
			add(t, s, failing("ignores", leaves, temporary), messages.ChangeRejected, supervisor.ErrNotUp)
			wantState(t, s, "ignores", "stopped")
			diff(t, `it ended by itself, and restart = "temporary"`, s.Ask("ask.ignores", "").Legs[0].Reason)
			untouched(t, s, "other")
		},
		// The child specification changes while the child runs.
		"code_change": func(t *testing.T) {
			s := startAll(t, worker("other"), worker("a", "budget = 5"))
			upgrade(t, s, newer("a", temporary, `stop_timeout = "1ns"`))
			diff(t, "temporary", s.Capsule("a").Restart)
			s.Inject("a", supervisortest.Fault{Do: supervisortest.Delay(time.Minute / 4)})
			slow := s.Begin("ask.a", "")
			synctest.Wait()
			wantError(t, "stop", s.Stop(t.Context(), "a"), nil)
			diff(t, []string{"a crashed"}, supervisortest.Legs(slow())) // the new stop time-out
			wantError(t, "start", s.Start(t.Context(), "a"), nil)
			s.Inject("a", supervisortest.Fault{})
			s.Expect("ask.a", "", "a crashed")
			synctest.Wait()
			wantState(t, s, "a", "failed") // the new restart mode
			untouched(t, s, "other")
		},
	}
}

// addingCases are the tests of suture that add services.
func addingCases() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"AddingToRunningSupervisor": func(t *testing.T) {
			s := startAll(t)
			add(t, s, looper("a"), messages.ChangeAdded, nil)
			wantState(t, s, "a", "ready")
			wantError(t, "close", s.Close(), nil)
			wantState(t, s, "a", "stopped")
			_, err := s.Add(t.Context(), worker("late"))
			wantError(t, "add after the end", err, supervisor.ErrNotServing)
			diff(t, []string{"a"}, ids(s))
		},
	}
}

// add adds a capsule, and checks what became of that.
func add(t *testing.T, s *supervisortest.System, c supervisor.Capsule, kind messages.ChangeKind, want error) {
	t.Helper()
	change, err := s.Add(t.Context(), c)
	wantError(t, "add", err, want)
	if change.Change != kind || (change.Reason == "") != (want == nil) {
		t.Errorf("the change is %+v", change)
	}
}

// failing is a capsule that does not load.
func failing(id string, err error, supervision ...string) supervisor.Capsule {
	return policed(supervisor.Capsule{
		Manifest: supervisortest.Manifest(id, "ask."+id),
		Load:     func(context.Context, capsulehost.HostAPI) (supervisor.Guest, error) { return nil, err },
	}, supervision)
}
