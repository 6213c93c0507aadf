package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// pooled is a worker, w, whose calls take a second, and that says which instance it is: the
// n-th that was loaded.
func pooled(supervision ...string) supervisor.Capsule {
	var mu sync.Mutex
	loads := 0
	c := supervisortest.Func("w", "ask.w", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		if c.Vars["n"] == nil {
			mu.Lock()
			loads++
			c.Vars["n"] = loads
			mu.Unlock()
		}
		if err := supervisortest.Delay(time.Second)(ctx, supervisortest.Visit{}); err != nil {
			return capsulehost.Result{}, err
		}
		return supervisortest.JSON(c.Vars["n"])
	})
	return policed(c, supervision)
}

func startPool(t *testing.T, cfg supervisor.Config, capsules ...supervisor.Capsule) *supervisortest.System {
	t.Helper()
	cfg.CapsuleDirs = []string{t.TempDir()}
	s := supervisortest.Start(t, cfg, capsules...)
	s.Patience = 24 * time.Hour
	return s
}

// instancesOf returns the states of w's instances: "1 ready, 2 loading".
func instancesOf(s *supervisortest.System) string {
	var out []string
	for _, i := range s.Capsule("w").Instances {
		out = append(out, fmt.Sprintf("%d %s", i.Number, i.State.String()))
	}
	return strings.Join(out, ", ")
}

// askAll asks w n times at once, and returns the outcomes, each with how often it came.
func askAll(s *supervisortest.System, n int) map[string]int {
	var answers []func() *supervisor.Reply
	for range n {
		answers = append(answers, s.Begin("ask.w", ""))
	}
	outcomes := map[string]int{}
	for _, answer := range answers {
		outcomes[answer().Legs[0].Outcome.String()]++
	}
	return outcomes
}

// wantDown checks that w does not serve, and why.
func wantDown(t *testing.T, s *supervisortest.System, reason string) {
	t.Helper()
	if leg := s.Ask("ask.w", "").Legs[0]; leg.Outcome != messages.OutcomeUnavailable || leg.Reason != reason {
		t.Errorf("%s: %s, and not unavailable: %s", leg.Outcome.String(), leg.Reason, reason)
	}
}

// An instance with nothing to do takes over what waits at another, so a long call delays
// only itself.
func TestPoolIdleInstanceTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker := policed(supervisortest.Func("w", "ask.w", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
			var seconds int
			_ = json.Unmarshal(c.Payload, &seconds)
			err := supervisortest.Delay(time.Duration(seconds)*time.Second)(ctx, supervisortest.Visit{})
			return capsulehost.Result{}, err
		}), []string{"instances = 2"})
		s := startPool(t, supervisor.Config{}, worker)
		synctest.Wait()
		began := time.Now()
		long := s.Begin("ask.w", "20")
		synctest.Wait()
		var short []func() *supervisor.Reply
		for range 5 { // some wait behind the long one
			short = append(short, s.Begin("ask.w", "1"))
			synctest.Wait()
		}
		for _, answer := range short {
			answer()
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("five calls of a second took %v beside one of 20 s", took)
		}
		long()
	})
}

// The calls of a pool run beside each other, each in an instance with a generation and a
// session of its own.
func TestPoolServesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startPool(t, supervisor.Config{}, pooled("instances = 4"))
		synctest.Wait()
		if got := instancesOf(s); got != "1 ready, 2 ready, 3 ready, 4 ready" {
			t.Fatal(got)
		}
		began := time.Now()
		if got := askAll(s, 8); got["continue"] != 8 {
			t.Error(got)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("8 calls of a second took %v in 4 instances", took)
		}
		generations, sessions := map[uint64]bool{}, map[string]bool{}
		c := s.Capsule("w")
		for _, i := range c.Instances {
			generations[i.Generation], sessions[i.Session] = true, true
			if id, err := s.FindSession(t.Context(), i.Session); err != nil || id != "w" {
				t.Errorf("session of instance %d: %q, %v", i.Number, id, err)
			}
			if i.Calls != 2 {
				t.Errorf("instance %d had %d calls", i.Number, i.Calls)
			}
		}
		if len(generations) != 4 || len(sessions) != 4 || c.Calls != 8 || c.State != messages.StateReady || c.CallDuration.Count() != 8 {
			t.Errorf("%+v", c)
		}
	})
}

// The crash of one instance loses one call; what waited for it is served by the others.
func TestPoolCrashLosesOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startPool(t, supervisor.Config{Restart: supervisor.RestartPolicy{InitialBackoff: time.Hour, MaxBackoff: 2 * time.Hour, EagerBackoff: true}},
			pooled("instances = 3"))
		s.Inject("w", supervisortest.Fault{})
		if got := askAll(s, 9); got["crashed"] != 1 || got["continue"] != 8 {
			t.Error(got)
		}
		if got := instancesOf(s); strings.Count(got, "ready") != 2 || strings.Count(got, "crashed") != 1 { // whichever was called first
			t.Error(got)
		}
		if c := s.Capsule("w"); c.State != messages.StateReady || c.BudgetSpent != 1 || c.Restarts != 1 || c.Crashes["trap"] != 1 {
			t.Errorf("%+v", c)
		}
		pass(2 * time.Hour)
		if got := instancesOf(s); got != "1 ready, 2 ready, 3 ready" {
			t.Error(got)
		}
	})
}

// A pool has one budget: when its instances have spent it together, the capsule fails.
func TestPoolHasOneBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startPool(t, supervisor.Config{}, pooled("instances = 3", "budget = 2", `backoff_initial = "1ms"`), worker("x"))
		for _, name := range []string{"w#1", "w#2", "w#3"} {
			if err := s.Kill(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		wantState(t, s, "w", "failed")
		wantDown(t, s, "it has failed: restart budget spent: 2 in 1m0s")
		untouched(t, s, "x")
		if err := s.Start(t.Context(), "w"); err != nil {
			t.Fatal(err)
		}
		if got := instancesOf(s); got != "1 ready, 2 ready, 3 ready" {
			t.Error(got)
		}
		if err := s.Stop(t.Context(), "w"); err != nil {
			t.Fatal(err)
		}
		wantState(t, s, "w", "stopped")
		wantDown(t, s, "stopped by an operator")
		if err := s.Start(t.Context(), "w"); err != nil {
			t.Fatal(err)
		}
		if got := askAll(s, 3); got["continue"] != 3 {
			t.Error(got)
		}
	})
}

// A pool that is elastic starts with the first call, grows while calls wait, and shrinks
// to nothing.
func TestElasticPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startPool(t, supervisor.Config{}, pooled(`instances = "0-3"`, `idle_timeout = "30s"`))
		if c := s.Capsule("w"); c.State != messages.StateReady || len(c.Instances) != 0 || !c.Decided {
			t.Fatalf("%+v", c)
		}
		began := time.Now()
		if got := askAll(s, 6); got["continue"] != 6 {
			t.Error(got)
		}
		if took := time.Since(began); took < 2*time.Second || took > 4*time.Second {
			t.Errorf("6 calls of a second took %v", took)
		}
		if got := instancesOf(s); got != "1 ready, 2 ready, 3 ready" {
			t.Error(got)
		}
		pass(25 * time.Second)
		if got := len(s.Capsule("w").Instances); got != 3 {
			t.Errorf("%d instances before the idle timeout", got)
		}
		pass(time.Minute)
		if c := s.Capsule("w"); len(c.Instances) != 0 || c.State != messages.StateReady || c.Calls != 6 {
			t.Errorf("%+v", c)
		}
		if got := askAll(s, 1); got["continue"] != 1 {
			t.Error(got)
		}
		if err := s.Stop(t.Context(), "w"); err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		wantDown(t, s, "stopped by an operator")
		if err := s.Start(t.Context(), "w"); err != nil {
			t.Fatal(err)
		}
		if got := askAll(s, 1); got["continue"] != 1 {
			t.Error(got)
		}
	})
}

// Calls that agree in what they are ordered by go to the same instance.
func TestPoolKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pooled("instances = 4")
		c.Manifest = strings.Replace(c.Manifest, `action = "act"`, "action = \"act\"\nordered_by = \"/user/0\"", 1)
		s := startPool(t, supervisor.Config{}, c)
		served := map[string]map[uint64]bool{}
		all := map[uint64]bool{}
		for n := range 40 {
			user := fmt.Sprintf("u%d", n%10)
			reply := s.Ask("ask.w", fmt.Sprintf(`{"user":[%q]}`, user))
			if served[user] == nil {
				served[user] = map[uint64]bool{}
			}
			served[user][reply.Legs[0].Generation] = true
			all[reply.Legs[0].Generation] = true
		}
		for user, by := range served {
			if len(by) != 1 {
				t.Errorf("%s was served by %v", user, slices.Sorted(maps.Keys(by)))
			}
		}
		if len(all) < 2 {
			t.Errorf("one instance has served everybody")
		}
	})
}

// Calls that are ordered stay with their instance while it is restarted at once.
func TestPoolKeepsOrderOverACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pooled("instances = 2")
		c.Manifest = strings.Replace(c.Manifest, `action = "act"`, "action = \"act\"\nordered_by = \"/user\"", 1)
		s := startPool(t, supervisor.Config{}, c)
		s.Inject("w", supervisortest.Fault{})
		var answers []func() *supervisor.Reply
		for range 4 {
			answers = append(answers, s.Begin("ask.w", `{"user":"u"}`))
		}
		var got []string
		for _, answer := range answers {
			leg := answer().Legs[0]
			got = append(got, fmt.Sprintf("%s by %d", leg.Outcome.String(), leg.Generation))
		}
		slices.Sort(got) // the calls come at the same time
		if !slices.Equal(got[:3], []string{"continue by 3", "continue by 3", "continue by 3"}) || !strings.HasPrefix(got[3], "crashed by ") {
			t.Errorf("%q, want one crash, and the others by the next instance, generation 3", got)
		}
	})
}

// An instance that comes up takes its share of the calls that wait at the others.
func TestPoolNewInstanceTakesItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startPool(t, supervisor.Config{}, pooled(`instances = "1-2"`))
		s.Inject("w", supervisortest.Fault{At: supervisortest.AtLoad, Do: supervisortest.Delay(time.Second / 2)})
		began := time.Now()
		if got := askAll(s, 5); got["continue"] != 5 {
			t.Error(got)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("5 calls of a second by 2 instances, one from the first half second on, took %v", took)
		}
	})
}

// What waits at an instance that the pool does not need any more is served by the others.
func TestPoolShrinksUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startPool(t, supervisor.Config{}, pooled("instances = 4"))
		var answers []func() *supervisor.Reply
		for range 12 {
			answers = append(answers, s.Begin("ask.w", ""))
		}
		synctest.Wait()
		fewer := pooled("instances = 2")
		fewer.Manifest = strings.Replace(fewer.Manifest, "1.0.0", "2.0.0", 1)
		if _, err := s.Add(t.Context(), fewer); err != nil {
			t.Error(err)
		}
		for _, answer := range answers {
			if leg := answer().Legs[0]; leg.Outcome != messages.OutcomeContinue {
				t.Errorf("%s: %s", leg.Outcome.String(), leg.Reason)
			}
		}
		synctest.Wait()
		if got := instancesOf(s); got != "1 ready, 2 ready" {
			t.Error(got)
		}
	})
}

// A restart, and an upgrade, replace one instance after the other: no call fails. If one
// can't be upgraded, all keep the old version.
func TestPoolRolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startPool(t, supervisor.Config{}, pooled("instances = 3"))
		done := make(chan error, 1)
		go func() { done <- s.Restart(t.Context(), "w") }()
		if got := askAll(s, 30); got["continue"] != 30 {
			t.Error(got)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, i := range s.Capsule("w").Instances {
			if i.Generation <= 3 {
				t.Errorf("instance %d is still generation %d", i.Number, i.Generation)
			}
		}
		next := pooled("instances = 5")
		next.Manifest = strings.Replace(next.Manifest, "1.0.0", "2.0.0", 1)
		go func() { _, err := s.Add(t.Context(), next); done <- err }()
		if got := askAll(s, 30); got["continue"] != 30 {
			t.Error(got)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if c := s.Capsule("w"); c.Version != "2.0.0" || instancesOf(s) != "1 ready, 2 ready, 3 ready, 4 ready, 5 ready" {
			t.Errorf("version %s: %s", c.Version, instancesOf(s))
		}
		bad := pooled("instances = 5")
		bad.Manifest = strings.Replace(bad.Manifest, "1.0.0", "3.0.0", 1)
		s.Inject("w", supervisortest.Fault{At: supervisortest.AtLoad, When: func(v supervisortest.Visit) bool { return v.Load >= 14 }})
		_, err := s.Add(t.Context(), bad)
		if !errors.Is(err, supervisor.ErrUpgradeFailed) {
			t.Errorf("a bad upgrade: %v", err)
		}
		if c := s.Capsule("w"); c.Version != "2.0.0" {
			t.Errorf("version %s", c.Version)
		}
		if got := askAll(s, 10); got["continue"] != 10 {
			t.Error(got)
		}
	})
}

// An instance that waits for another capsule does not keep the pool from serving that one:
// only a call that no instance could serve is a deadlock.
func TestPoolDeadlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := func(id, next string, supervision ...string) supervisor.Capsule {
			return policed(supervisortest.Func(id, "ask."+id, func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
				var depth int
				_, _ = fmt.Sscan(string(c.Payload), &depth)
				if depth == 0 {
					return supervisortest.JSON(id)
				}
				return supervisortest.JSON(c.Trigger(ctx, "ask."+next, depth-1))
			}), supervision)
		}
		s := startPool(t, supervisor.Config{}, calls("p", "a", "instances = 2"), calls("a", "p"))
		s.Expect("ask.p", "2", `p continue [["p"]]`)
		s.Expect("ask.p", "4", `p continue [[[]]]`) // p#1 -> a -> p#2 -> a: that is a cycle
	})
}

// Pools can be added and removed while the system runs.
func TestPoolComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startPool(t, supervisor.Config{}, worker("x"))
		for range 2 {
			if _, err := s.Add(t.Context(), pooled("instances = 2")); err != nil {
				t.Fatal(err)
			}
			if got := askAll(s, 4); got["continue"] != 4 {
				t.Error(got)
			}
			if err := s.Remove(t.Context(), "w"); err != nil {
				t.Fatal(err)
			}
			if legs := s.Ask("ask.w", "").Legs; len(legs) != 0 {
				t.Error(legs)
			}
		}
		untouched(t, s, "x")
	})
}

// Whatever comes at the same time, every call has one answer, and the pool comes back.
func TestPoolUnderFire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startPool(t, supervisor.Config{}, pooled(`instances = "1-4"`, "budget = 10000", `idle_timeout = "5s"`, `backoff_initial = "10ms"`))
		var commands sync.WaitGroup
		for round := range 30 {
			for n := range 4 {
				commands.Go(func() { _ = s.Kill(t.Context(), fmt.Sprintf("w#%d", n+1)) })
			}
			if round%3 == 0 {
				commands.Go(func() { _ = s.Restart(t.Context(), "w") })
			}
			if round%5 == 0 {
				s.FailActorNext("capsules")
			}
			if round%7 == 0 {
				commands.Go(func() { _ = s.Stop(t.Context(), "w"); _ = s.Start(t.Context(), "w") })
			}
			askAll(s, 10)
			pass(3 * time.Second)
		}
		commands.Wait()
		pass(time.Hour)
		if err := s.Start(t.Context(), "w"); err != nil {
			t.Error(err)
		}
		if got := askAll(s, 6); got["continue"] != 6 {
			t.Errorf("%v; %s", got, instancesOf(s))
		}
	})
}

// A capsule does not change between one instance and several by an upgrade: that is refused,
// with what to do, and the capsule goes on.
func TestOneInstanceAndSeveral(t *testing.T) {
	const reason = "a change between one instance and several needs `remove w --keep-files`, and then `reload`"
	for _, c := range []struct{ from, to string }{{"instances = 1", "instances = 2"}, {"instances = 2", "instances = 1"}} {
		synctest.Test(t, func(t *testing.T) {
			s := startPool(t, supervisor.Config{}, pooled(c.from))
			change, err := s.Upgrade(t.Context(), pooled(c.to))
			if !errors.Is(err, supervisor.ErrUpgradeFailed) || change.Change != messages.ChangeRejected || change.Reason != reason {
				t.Errorf("%s: %+v, %v", c.to, change, err)
			}
			if got := askAll(s, 2); got["continue"] != 2 {
				t.Error(got)
			}
			if err := s.Remove(t.Context(), "w"); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Add(t.Context(), pooled(c.to)); err != nil {
				t.Error(err)
			}
		})
	}
}

// The calls of an instance that waits for its backoff go to the others at once; if all wait,
// calls are refused.
func TestPoolInBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startPool(t, supervisor.Config{}, pooled("instances = 2", "budget = 10", `backoff_initial = "1h"`, `backoff_max = "1h"`))
		killIn(t, s, "w#1") // it restarts at once
		began := time.Now()
		var answers []func() *supervisor.Reply
		for range 4 {
			answers = append(answers, s.Begin("ask.w", ""))
		}
		synctest.Wait()
		killIn(t, s, "w#1")
		outcomes := map[string]int{}
		for _, answer := range answers {
			outcomes[answer().Legs[0].Outcome.String()]++
		}
		if took := time.Since(began); outcomes["continue"] != 3 || took > time.Minute {
			t.Errorf("%v in %v", outcomes, took)
		}
		killIn(t, s, "w#2")
		killIn(t, s, "w#2")
		if leg := s.Ask("ask.w", "").Legs[0]; leg.Outcome != messages.OutcomeUnavailable {
			t.Errorf("%s: %s", leg.Outcome.String(), leg.Reason)
		}
	})
}

// The instances of a pool read and compile their module beside each other, and share it.
func TestPoolOfAModule(t *testing.T) {
	wasm, err := os.ReadFile(filepath.Join(fixture("echo"), "echo.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	echo := supervisor.Capsule{Module: wasm, Manifest: "[package]\nname = \"echo\"\nversion = \"1.0.0\"\n[[component]]\nid = \"echo\"\nfile = \"echo.wasm\"\n" +
		"[[interceptor]]\nevent = \"test.echo\"\naction = \"ask\"\n[supervision]\ninstances = 8\n"}
	s := supervisortest.Start(t, supervisor.Config{}, echo)
	s.Expect("test.echo", `"a"`, `echo continue "a"`)
	for _, i := range s.Capsule("echo").Instances {
		if i.State != messages.StateReady {
			t.Errorf("instance %d is %s", i.Number, i.State.String())
		}
	}
}
