package supervisor_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// newer is version 2.0.0 of a worker, which answers with that.
func newer(id string, supervision ...string) supervisor.Capsule {
	const version = "2.0.0"
	c := supervisortest.Func(id, "ask."+id, func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
		return supervisortest.JSON(version)
	})
	c.Manifest = strings.Replace(c.Manifest, `"1.0.0"`, `"`+version+`"`, 1)
	return policed(c, supervision)
}

func upgrade(t *testing.T, s *supervisortest.System, c supervisor.Capsule) {
	t.Helper()
	if _, err := s.Upgrade(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// An upgrade is no death: no strategy touches the others of the group, whether it
// succeeds or not, and the group's budget stays.
func TestAnUpgradeInAGroupTouchesNoOther(t *testing.T) {
	for _, strategy := range []supervisor.Strategy{supervisor.OneForOne, supervisor.OneForAll, supervisor.RestForOne} {
		t.Run(string(strategy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := grouped(t, supervisor.Group{Strategy: strategy})
				upgrade(t, s, newer("a"))
				s.Inject("b", supervisortest.Fault{At: supervisortest.AtLoad})
				if _, err := s.Upgrade(t.Context(), newer("b")); !errors.Is(err, supervisor.ErrUpgradeFailed) {
					t.Errorf("an upgrade that can't load: %v", err)
				}
				if err := s.Restart(t.Context(), "a"); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				untouched(t, s, "c", "x")
				diff(t, []string{"loading 1", "ready 1", "upgrade 1.0.0 -> 2.0.0 failed: trap"}, s.Timeline("b"))
				s.Expect("ask.a", "", `a continue "2.0.0"`)
				s.Expect("ask.b", "", `b continue "b"`)
				if g := s.Snapshot().Supervisors[0]; g.BudgetSpent != 0 {
					t.Errorf("the group has spent %d", g.BudgetSpent)
				}
			})
		})
	}
}

// A rollback is a restart after a death, so the group's strategy applies; it costs neither
// the capsule's nor the group's budget.
func TestARollbackInAGroup(t *testing.T) {
	for strategy, want := range map[supervisor.Strategy]string{
		supervisor.OneForOne:  "b crashed, b ready",
		supervisor.OneForAll:  "b crashed, c stopped, a stopped, a ready, b ready, c ready",
		supervisor.RestForOne: "b crashed, c stopped, b ready, c ready",
	} {
		t.Run(string(strategy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := grouped(t, supervisor.Group{Strategy: strategy, Budget: 1})
				for range 3 { // more than the budget
					upgrade(t, s, newer("b", "rollback = true", "budget = 1"))
					since := s.Snapshot().Sequence
					s.Inject("b", supervisortest.Fault{})
					s.Expect("ask.b", "", "b crashed")
					synctest.Wait()
					if got := strings.Join(order(s, since), ", "); got != want {
						t.Errorf("got %s\nwant %s", got, want)
					}
					s.Expect("ask.b", "", `b continue "b"`)
				}
				if c, g := s.Capsule("b"), s.Snapshot().Supervisors[0]; c.Version != "1.0.0" || c.BudgetSpent != 0 || g.BudgetSpent != 0 {
					t.Errorf("b is %+v, its group has spent %d", c, g.BudgetSpent)
				}
				var causes []string
				for e := range s.Events(t.Context(), 0) {
					if d, ok := e.Detail.(messages.RestartScheduled); ok && e.Child() == "b" {
						causes = append(causes, d.Cause+" "+d.Supervisor)
					}
					if len(causes) == 3 {
						break
					}
				}
				cause := messages.CauseRollback + " capsules/g"
				diff(t, []string{cause, cause, cause}, causes)
			})
		})
	}
}

// A capsule that is to be halted with its group, and crashes in a new version before it is
// its turn, keeps its turn: it is rolled back, and starts in order.
func TestARollbackWhileItsGroupRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := grouped(t, supervisor.Group{Strategy: supervisor.OneForAll})
		upgrade(t, s, newer("a", "rollback = true"))
		s.Inject("a", supervisortest.Fault{Do: func(ctx context.Context, v supervisortest.Visit) error {
			if err := supervisortest.Delay(time.Second)(ctx, v); err != nil {
				return err
			}
			return supervisortest.Crash(ctx, v)
		}})
		s.Inject("c", supervisortest.Fault{Do: supervisortest.Delay(2 * time.Second)})
		crashes, slow := s.Begin("ask.a", ""), s.Begin("ask.c", "")
		synctest.Wait()
		since := s.Snapshot().Sequence
		killIn(t, s, "b") // c is halted when its call has ended, after a has crashed
		s.AwaitReady("c", 2)
		synctest.Wait()
		want := "b crashed, a crashed, c stopped, a ready, b ready, c ready"
		if got := strings.Join(order(s, since), ", "); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		diff(t, []string{"a crashed"}, supervisortest.Legs(crashes()))
		diff(t, []string{`c continue "c"`}, supervisortest.Legs(slow()))
		s.Expect("ask.a", "", `a continue "a"`)
		if c := s.Capsule("a"); c.Version != "1.0.0" {
			t.Errorf("a is %s", c.Version)
		}
	})
}

// The old version crashes when its successor is ready and waits for the running call: the
// successor takes its place, in the group's strategy, and no budget is spent.
func TestACrashBeforeTheExchangeInAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := grouped(t, supervisor.Group{Strategy: supervisor.RestForOne, Budget: 1})
		s.Inject("b", supervisortest.Fault{Do: func(ctx context.Context, v supervisortest.Visit) error {
			if err := supervisortest.Delay(time.Second)(ctx, v); err != nil {
				return err
			}
			return supervisortest.Crash(ctx, v)
		}})
		crashes := s.Begin("ask.b", "")
		synctest.Wait()
		since := s.Snapshot().Sequence
		upgrade(t, s, newer("b"))
		diff(t, []string{"b crashed"}, supervisortest.Legs(crashes()))
		s.AwaitReady("c", 2)
		want := "b crashed, c stopped, c ready"
		if got := strings.Join(order(s, since), ", "); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		s.Expect("ask.b", "", `b continue "2.0.0"`)
		untouched(t, s, "a", "x")
		if g := s.Snapshot().Supervisors[0]; g.BudgetSpent != 0 {
			t.Errorf("the group has spent %d", g.BudgetSpent)
		}
	})
}

// A group that is stopped ends the upgrades of its capsules, before and after the new
// instance is ready: who asked is told, and nothing starts again.
func TestAGroupThatStopsEndsUpgrades(t *testing.T) {
	for name, prepare := range map[string]func(s *supervisortest.System){
		"while it is prepared": func(s *supervisortest.System) {
			s.Inject("b", supervisortest.Fault{At: supervisortest.AtLoad, Do: supervisortest.Hang})
		},
		"while it is handed over": func(s *supervisortest.System) {
			s.Inject("b", supervisortest.Fault{Do: supervisortest.Delay(time.Second)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := grouped(t, supervisor.Group{Strategy: supervisor.OneForAll})
				prepare(s)
				answer := func() *supervisor.Reply { return nil }
				if strings.Contains(name, "handed") {
					answer = s.Begin("ask.b", "")
				}
				synctest.Wait()
				done := make(chan error, 1)
				go func() {
					_, err := s.Upgrade(t.Context(), newer("b"))
					done <- err
				}()
				synctest.Wait()
				if err := s.Stop(t.Context(), "g"); err != nil {
					t.Error(err)
				}
				if err := <-done; !errors.Is(err, supervisor.ErrNotUp) {
					t.Errorf("the upgrade: %v", err)
				}
				answer()
				pass(time.Minute)
				for _, id := range []string{"a", "b", "c"} {
					wantState(t, s, id, "stopped")
				}
				if err := s.Start(t.Context(), "g"); err != nil {
					t.Error(err)
				}
				s.Expect("ask.b", "", `b continue "b"`)
			})
		})
	}
}
