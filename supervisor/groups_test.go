package supervisor_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// grouped runs three capsules a, b, c in a group g, and x beside it.
func grouped(t *testing.T, g supervisor.Group) *supervisortest.System {
	t.Helper()
	g.Name = "g"
	if g.Children == nil {
		g.Children = []string{"a", "b", "c"}
	}
	cfg := supervisor.Config{CapsuleDirs: []string{t.TempDir()}, Supervisors: []supervisor.Group{g}}
	s := supervisortest.Start(t, cfg, worker("x"), worker("a"), worker("b"), worker("c"))
	s.Patience = 24 * time.Hour
	return s
}

// order returns what happened to the capsules of a system since an event: "a loading".
func order(s *supervisortest.System, since uint64) []string {
	var out []string
	last := s.Snapshot().Sequence
	for e := range s.Events(context.Background(), since) {
		switch e.Detail.(type) {
		case messages.CapsuleReady, messages.CapsuleStopped, messages.CapsuleCrashed, messages.CapsuleFailed,
			messages.SupervisorFailed, messages.SupervisorStopped:
			out = append(out, e.Child()+" "+strings.TrimPrefix(strings.TrimPrefix(e.Name(), "capsule_"), "supervisor_"))
		}
		if e.Sequence >= last {
			break
		}
	}
	return out
}

// killIn kills a capsule, and waits until its whole group serves again.
func killIn(t *testing.T, s *supervisortest.System, id string) []string {
	t.Helper()
	since := s.Snapshot().Sequence
	if err := s.Kill(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return order(s, since)
}

// Each strategy restarts its children in a real system, in order, and their queued
// calls wait.
func TestGroupStrategies(t *testing.T) {
	for strategy, want := range map[supervisor.Strategy]string{
		supervisor.OneForOne:  "b crashed, b ready",
		supervisor.OneForAll:  "b crashed, c stopped, a stopped, a ready, b ready, c ready",
		supervisor.RestForOne: "b crashed, c stopped, b ready, c ready",
	} {
		t.Run(string(strategy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := grouped(t, supervisor.Group{Strategy: strategy})
				if got := strings.Join(killIn(t, s, "b"), ", "); got != want {
					t.Errorf("got %s\nwant %s", got, want)
				}
				for _, id := range []string{"a", "b", "c", "x"} {
					s.Expect("ask."+id, "", id+` continue "`+id+`"`)
				}
			})
		})
	}
}

// The victims' events say who took them down, and the tree shows the group.
func TestGroupsAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := grouped(t, supervisor.Group{Strategy: supervisor.RestForOne})
		since := s.Snapshot().Sequence
		killIn(t, s, "b")
		var got []messages.RestartScheduled
		last := s.Snapshot().Sequence
		for e := range s.Events(t.Context(), since) {
			if d, ok := e.Detail.(messages.RestartScheduled); ok {
				d.Budget, d.BudgetSpent, d.Window, d.Attempt = 0, 0, 0, 0
				got = append(got, d)
			}
			if e.Sequence >= last {
				break
			}
		}
		want := messages.RestartScheduled{Cause: messages.CauseStrategy, Supervisor: "capsules/g", Strategy: "rest_for_one", CausePath: "capsules/g/b"}
		own := want
		own.Cause = messages.CauseCrash
		if diff := cmp.Diff([]messages.RestartScheduled{want, own}, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		tree := s.Snapshot()
		g := tree.Supervisors[0]
		if g.State != messages.SupervisorRunning || g.BudgetSpent != 1 || g.Path != "capsules/g" {
			t.Errorf("%+v", g)
		}
		if path := s.Capsule("a").Path; path != "capsules/g/a" {
			t.Errorf("path %s", path)
		}
	})
}

// A group over its budget fails, and the supervisor around it restarts it; in the end
// it stays failed, and the others go on.
func TestGroupEscalation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := grouped(t, supervisor.Group{Strategy: supervisor.OneForOne, Budget: 1})
		killIn(t, s, "b")
		want := "a crashed, g failed, c stopped, b stopped, a ready, b ready, c ready"
		if got := strings.Join(killIn(t, s, "a"), ", "); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		for s.Snapshot().Supervisors[0].State != messages.SupervisorHasFailed {
			s.AwaitState("a", messages.StateReady)
			killIn(t, s, "a")
		}
		if n := s.Snapshot().Supervisors[0].Restarts; n != 5 {
			t.Errorf("the group was restarted %d times, want 5", n)
		}
		wantState(t, s, "a", "failed")
		wantState(t, s, "b", "stopped")
		wantState(t, s, "x", "ready")
		if err := s.Restart(t.Context(), "g"); err != nil {
			t.Error(err)
		}
		wantState(t, s, "a", "ready")
		wantState(t, s, "c", "ready")
	})
}

// With Exit, a failure at the top ends Serve.
func TestEscalationEndsServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervisortest.Start(t, supervisor.Config{
			CapsuleDirs: []string{t.TempDir()}, OnFailure: supervisor.Exit, Restart: supervisor.RestartPolicy{Budget: -1},
			Supervisors: []supervisor.Group{
				{Name: "outer", Children: []string{"inner"}, Budget: -1},
				{Name: "inner", Children: []string{"a"}, Budget: -1},
			},
		}, worker("a"), worker("x"))
		if err := s.Kill(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		s.Await("the end of Serve", func(e supervisor.Event) bool { return e.Name() == "system_stopped" })
		err := s.Close()
		if !errors.Is(err, supervisor.ErrEscalated) {
			t.Fatalf("Serve returned %v", err)
		}
		for _, part := range []string{"capsule outer/inner/a", "supervisor outer/inner failed", "supervisor outer failed"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%v: lacks %q", err, part)
			}
		}
	})
}

// An operator's commands name a group as they name a capsule.
func TestGroupCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := grouped(t, supervisor.Group{Strategy: supervisor.RestForOne})
		since := s.Snapshot().Sequence
		for _, do := range []func(context.Context, string) error{s.Restart, s.Stop, s.Start} {
			if err := do(t.Context(), "g"); err != nil {
				t.Error(err)
			}
		}
		want := []string{
			"c stopped", "b stopped", "a stopped", "a ready", "b ready", "c ready",
			"g stopped", "c stopped", "b stopped", "a stopped",
			"a ready", "b ready", "c ready",
		}
		if diff := cmp.Diff(want, order(s, since)); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		wantError(t, "start of a group that runs", s.Start(t.Context(), "g"), nil)
		wantError(t, "kill of a group", s.Kill(t.Context(), "g"), supervisor.ErrRefused)
	})
}

// Everything that is wrong with the groups is an error at once.
func TestGroupProblems(t *testing.T) {
	group := func(name string, children ...string) supervisor.Group {
		return supervisor.Group{Name: name, Children: children, Source: "f.toml:" + name}
	}
	late := worker("late")
	late.Manifest += "[exports.astrid]\nledger = \"1.0.0\"\n"
	early := worker("early")
	early.Manifest += "[imports.astrid]\nledger = \"^1.0.0\"\n"
	for name, test := range map[string]struct {
		groups []supervisor.Group
		want   []string
	}{
		"children": {
			[]supervisor.Group{group("g", "a", "nobody", "a"), group("h", "a", "late")},
			[]string{
				`f.toml:g: supervisor "g": child "nobody": there is no capsule and no supervisor of this name`,
				`f.toml:g: supervisor "g": child "a" is listed twice`,
				`f.toml:h: supervisor "h": child "a" is in supervisor "g" already`,
			},
		},
		"cycle": {
			[]supervisor.Group{group("g", "h"), group("h", "g")},
			[]string{`f.toml:g: supervisor "g": it is below itself: g > h > g`, `f.toml:h: supervisor "h": it is below itself: h > g > h`},
		},
		"names": {
			[]supervisor.Group{group("a", "late"), group("B", "early"), group("g"), group("g", "a")},
			[]string{
				`f.toml:a: supervisor "a": a capsule has the same name`,
				`f.toml:B: supervisor "B": the name must be one or more of a-z 0-9 -`,
				`f.toml:g: supervisor "g": it has no children`,
				`f.toml:g: supervisor "g": there is another supervisor of this name`,
			},
		},
		"order": {
			[]supervisor.Group{group("g", "early", "late")},
			[]string{`f.toml:g: supervisor "g": children start early before late, and early waits for late: it imports from it, or late is an uplink`},
		},
		"order of two groups": {
			[]supervisor.Group{group("g", "early", "a"), group("h", "after-a", "late")},
			[]string{`f.toml:g: supervisor "g": the order of children and the imports of capsules contradict each other: a after early after late after after-a after a`},
		},
		"significant": {
			[]supervisor.Group{{Name: "g", Children: []string{"a"}, Significant: []string{"a", "late"}, AutoShutdown: "some", Strategy: "all"}},
			[]string{
				`config: supervisor "g": strategy is "all": it is one of one_for_one, one_for_all, rest_for_one`,
				`config: supervisor "g": auto_shutdown is "some": it is one of never, any, all`,
				`config: supervisor "g": significant child "late" is not one of its children`,
				`config: supervisor "g": significant child "a" has restart = "permanent": it never ends by itself; make it transient or temporary`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := worker("a")
			a.Manifest += "[exports.astrid]\na = \"1.0.0\"\n"
			afterA := worker("after-a")
			afterA.Manifest += "[imports.astrid]\na = \"^1.0.0\"\n"
			_, err := supervisor.New(supervisor.Config{
				Home: t.TempDir(), CapsuleDirs: []string{t.TempDir()}, Supervisors: test.groups,
				Capsules: []supervisor.Capsule{a, early, late, afterA},
			})
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.Split(err.Error(), "\n")
			if diff := cmp.Diff(slices.Clone(test.want), got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// Calls that wait at a capsule survive the restart of its group; the running one gets
// the stop time-out, and is then cut off.
func TestGroupRestartKeepsQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := supervisor.Config{
			CapsuleDirs: []string{t.TempDir()}, StopTimeout: 2 * time.Second, TriggerTimeout: time.Minute,
			Supervisors: []supervisor.Group{{Name: "g", Strategy: supervisor.OneForAll, Children: []string{"a", "b", "c"}}},
		}
		s := supervisortest.Start(t, cfg, worker("a"), worker("b"), worker("c"))
		s.Patience = 24 * time.Hour
		s.Inject("a", supervisortest.Fault{Do: supervisortest.Hang})
		s.Inject("c", supervisortest.Fault{Do: supervisortest.Delay(time.Second)})
		hangs, slow := s.Begin("ask.a", ""), s.Begin("ask.c", "")
		synctest.Wait()
		queued := []func() *supervisor.Reply{s.Begin("ask.a", ""), s.Begin("ask.c", "")}
		synctest.Wait()
		began := time.Now()
		killIn(t, s, "b")
		during := s.Begin("ask.b", "")
		for i, answer := range append(queued, during) {
			if legs := supervisortest.Legs(answer()); !strings.Contains(legs[0], " continue ") {
				t.Errorf("queued call %d: %v", i, legs)
			}
		}
		if legs := supervisortest.Legs(slow()); !strings.Contains(legs[0], " continue ") {
			t.Errorf("the call that ends within the stop time-out: %v", legs)
		}
		if legs := supervisortest.Legs(hangs()); strings.Contains(legs[0], " continue ") {
			t.Errorf("the call that hangs: %v", legs)
		}
		// c is halted after 1 s, then a after another 2 s.
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("the restart took %v, want 3s", took)
		}
	})
}

// A group that starts waits for each child; one that dies in its load is restarted, and
// those after it wait.
func TestGroupStartsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := supervisor.Config{
			CapsuleDirs: []string{t.TempDir()},
			Supervisors: []supervisor.Group{{Name: "g", Strategy: supervisor.RestForOne, Children: []string{"c", "b", "a"}}},
		}
		s := supervisortest.New(t, cfg, worker("a"), worker("b"), worker("c"), worker("x"))
		s.Inject("b", supervisortest.Fault{At: supervisortest.AtLoad, Times: 3, Do: supervisortest.Fail("not yet")})
		s.Launch()
		if err := s.AwaitStarted(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := []string{"b crashed", "b crashed", "b crashed", "b ready", "a ready"}
		got := slices.DeleteFunc(order(s, 0), func(what string) bool { return what == "c ready" || what == "x ready" })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

// Whatever happens at the same time, a group comes back whole: deaths of several
// children, commands, and faults of the supervisor itself.
func TestGroupUnderFire(t *testing.T) {
	for _, strategy := range []supervisor.Strategy{supervisor.OneForOne, supervisor.OneForAll, supervisor.RestForOne} {
		t.Run(string(strategy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := grouped(t, supervisor.Group{Strategy: strategy, Budget: 1000})
				for round := range 20 {
					for _, id := range []string{"a", "b", "c"} {
						go func() { _ = s.Kill(t.Context(), id) }()
						if round%3 == 0 {
							go func() { _ = s.Restart(t.Context(), id) }()
						}
						if round%5 == 0 {
							s.FailActorNext("capsules")
						}
					}
					if round%4 == 0 {
						go func() { _ = s.Restart(t.Context(), "g") }()
					}
					pass(time.Minute)
				}
				synctest.Wait()
				if err := s.Start(t.Context(), "g"); err != nil {
					t.Error(err)
				}
				for _, id := range []string{"a", "b", "c"} {
					s.Expect("ask."+id, "", id+` continue "`+id+`"`)
				}
			})
		})
	}
}

// The end of Serve stops the capsules of a group in reverse order, each within its stop
// time-out.
func TestShutdownStopsGroupsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervisortest.Start(t, supervisor.Config{
			CapsuleDirs: []string{t.TempDir()}, StopTimeout: 2 * time.Second, TriggerTimeout: time.Minute,
			Supervisors: []supervisor.Group{
				{Name: "outer", Children: []string{"a", "inner", "d"}}, {Name: "inner", Children: []string{"b", "c"}},
			},
		}, worker("a"), worker("b"), worker("c"), worker("d"))
		for _, id := range []string{"b", "d"} {
			s.Inject(id, supervisortest.Fault{Do: supervisortest.Hang})
			s.Begin("ask."+id, "")
		}
		synctest.Wait()
		since, began := s.Snapshot().Sequence, time.Now()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		want := "outer stopped, d stopped, c stopped, b stopped, a stopped"
		if got := strings.Join(order(s, since), ", "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A capsule that may subscribe to the events of capsules' lives hears of each: a monitor,
// in Erlang's words.
func TestCapsulesMonitorEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := make(chan string, 100)
		monitor := supervisortest.Func("monitor", "astrid.v1.capsule.*", func(_ context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
			heard <- string(c.Payload)
			return capsulehost.Result{}, nil
		})
		monitor.Manifest += "[exports.astrid]\nmonitor = \"1.0.0\"\n"
		w := worker("w", "budget = 1")
		w.Manifest += "[imports.astrid]\nmonitor = \"^1.0.0\"\n" // it starts after the monitor, which misses nothing
		s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{t.TempDir()}}, monitor, w)
		synctest.Wait()
		for range 2 {
			if err := s.Kill(t.Context(), "w"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if err := s.Start(t.Context(), "w"); err != nil {
			t.Fatal(err)
		}
		if err := s.Stop(t.Context(), "w"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		close(heard)
		var got []string
		for payload := range heard {
			if strings.Contains(payload, `"capsule":"w"`) {
				got = append(got, payload)
			}
		}
		want := []string{
			`{"capsule":"w","generation":1}`,
			`{"capsule":"w","generation":1,"reason":"cancelled: killed by an operator"}`,
			`{"capsule":"w","generation":2}`,
			`{"capsule":"w","generation":2,"reason":"cancelled: killed by an operator"}`,
			`{"capsule":"w","generation":2,"reason":"restart budget spent: 1 in 1m0s"}`,
			`{"capsule":"w","generation":3}`,
			`{"capsule":"w","generation":3,"reason":"stopped by an operator"}`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}
