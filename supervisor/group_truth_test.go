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

// A capsule that its strategy halts, and that an operator's stop of the group meets in that,
// stops once.
func TestStopMeetsHalt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := supervisor.Config{
			CapsuleDirs: []string{t.TempDir()}, StopTimeout: 2 * time.Second, TriggerTimeout: time.Minute,
			Supervisors: []supervisor.Group{{Name: "g", Strategy: supervisor.OneForAll, Children: []string{"a", "b"}}},
		}
		s := supervisortest.Start(t, cfg, worker("a"), worker("b"))
		s.Inject("b", supervisortest.Fault{Do: supervisortest.Hang})
		s.Begin("ask.b", "")
		synctest.Wait()
		killIn(t, s, "a")
		if err := s.Stop(t.Context(), "g"); err != nil {
			t.Error(err)
		}
		var got []string
		for _, line := range s.Timeline("b") {
			if strings.HasPrefix(line, "stop") {
				got = append(got, line)
			}
		}
		want := []string{"stopping: a crashed, and g is one_for_all", "stopped: an operator stopped its supervisor"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

// A capsule that ends while it is halted, and waits for its group's backoff, can be started
// again.
func TestStartAfterHalt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervisortest.Start(t, supervisor.Config{
			CapsuleDirs: []string{t.TempDir()},
			Supervisors: []supervisor.Group{{Name: "g", Strategy: supervisor.OneForAll, Children: []string{"a", "b"}}},
		}, worker("a"), worker("b"))
		killIn(t, s, "a")
		killIn(t, s, "a") // the second restart waits: b is halted
		wantState(t, s, "b", "stopped")
		for _, do := range []func(context.Context, string) error{s.Stop, s.Start} {
			if err := do(t.Context(), "g"); err != nil {
				t.Error(err)
			}
		}
		wantState(t, s, "a", "ready")
		wantState(t, s, "b", "ready")
	})
}

// An operator's stop of a capsule that its strategy halts keeps the order: those before it
// are halted when it has ended.
func TestStopOfOneMeetsHalt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervisortest.Start(t, supervisor.Config{
			CapsuleDirs: []string{t.TempDir()}, StopTimeout: 2 * time.Second, TriggerTimeout: time.Minute,
			Supervisors: []supervisor.Group{{Name: "g", Strategy: supervisor.OneForAll, Children: []string{"a", "b", "c"}}},
		}, worker("a"), worker("b"), worker("c"))
		s.Inject("c", supervisortest.Fault{Do: supervisortest.Hang})
		s.Begin("ask.c", "")
		synctest.Wait()
		killIn(t, s, "a")
		stopped := make(chan error, 1)
		go func() { stopped <- s.Stop(t.Context(), "c") }()
		synctest.Wait()
		wantState(t, s, "c", "stopping")
		wantState(t, s, "b", "ready")
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		wantState(t, s, "c", "stopped")
		if got := s.Capsule("b"); got.State != messages.StateReady || got.Generation != 2 {
			t.Errorf("b is %s as generation %d", got.State.String(), got.Generation)
		}
	})
}

// closesSlowly is a guest that takes seven seconds to end.
type closesSlowly struct{ supervisor.Guest }

func (g closesSlowly) Close(ctx context.Context) error {
	<-time.After(7 * time.Second)
	return g.Guest.Close(ctx)
}

// An elastic pool whose last instance ends, because it is idle, while its group is stopped
// stays stopped, and serves again when the group is started.
func TestStopMeetsIdleEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pooled(`instances = "0-1"`, `idle_timeout = "10s"`)
		load := w.Load
		w.Load = func(ctx context.Context, api capsulehost.HostAPI) (supervisor.Guest, error) {
			g, err := load(ctx, api)
			return closesSlowly{g}, err
		}
		s := startPool(t, supervisor.Config{Supervisors: []supervisor.Group{{Name: "g", Children: []string{"a", "w"}}}}, worker("a"), w)
		askAll(s, 1)
		pass(15 * time.Second)
		if got := instancesOf(s); got != "1 stopping" {
			t.Error(got)
		}
		if err := s.Stop(t.Context(), "g"); err != nil {
			t.Error(err)
		}
		pass(time.Hour)
		wantState(t, s, "w", "stopped")
		wantDown(t, s, "an operator stopped its supervisor")
		if err := s.Start(t.Context(), "g"); err != nil {
			t.Error(err)
		}
		wantState(t, s, "w", "ready")
		if got := askAll(s, 1); got["continue"] != 1 {
			t.Error(got)
		}
	})
}

// A group that is made anew shows a full budget.
func TestRenewedBudgetIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervisortest.Start(t, supervisor.Config{
			CapsuleDirs: []string{t.TempDir()},
			Supervisors: []supervisor.Group{
				{Name: "outer", Strategy: supervisor.OneForAll, Children: []string{"a", "inner"}}, {Name: "inner", Children: []string{"b"}},
			},
		}, worker("a"), worker("b"))
		spent := func(name string) uint32 {
			all := s.Snapshot().Supervisors
			return all[slices.IndexFunc(all, func(g *messages.Supervisor) bool { return g.Name == name })].BudgetSpent
		}
		killIn(t, s, "b")
		if got := spent("inner"); got != 1 {
			t.Errorf("after a death in it: %d", got)
		}
		killIn(t, s, "a")
		if inner, outer := spent("inner"), spent("outer"); inner != 0 || outer != 1 {
			t.Errorf("after the group around it has restarted all: %d of inner, %d of outer", inner, outer)
		}
	})
}

// A fault in the system itself while a pool grows costs neither the new instance nor the
// call that waits for it.
func TestFaultWhilePoolGrows(t *testing.T) {
	for _, path := range []string{"registry", "hook-router", "capsules"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := pooled(`instances = "0-2"`)
				load := w.Load
				w.Load = func(ctx context.Context, api capsulehost.HostAPI) (supervisor.Guest, error) {
					<-time.After(time.Second)
					return load(ctx, api)
				}
				s := startPool(t, supervisor.Config{}, w)
				answer := s.Begin("ask.w", "")
				synctest.Wait()
				if got := instancesOf(s); got != "1 loading" {
					t.Error(got)
				}
				s.FailActor(path)
				if leg := answer().Legs[0]; leg.Outcome != messages.OutcomeContinue {
					t.Errorf("%s: %s", leg.Outcome.String(), leg.Reason)
				}
			})
		})
	}
}

// An elastic pool whose group is started while an instance still stops has all its instances
// afterwards.
func TestStartMeetsStopOfPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startPool(t, supervisor.Config{StopTimeout: time.Minute, Supervisors: []supervisor.Group{{Name: "g", Children: []string{"w"}}}},
			pooled(`instances = "2-3"`))
		s.Begin("ask.w", "")
		synctest.Wait()
		go func() { _ = s.Stop(t.Context(), "g") }()
		synctest.Wait()
		if got := instancesOf(s); got != "1 stopping, 2 stopped" {
			t.Error(got)
		}
		if err := s.Start(t.Context(), "g"); err != nil {
			t.Error(err)
		}
		if got := instancesOf(s); got != "1 ready, 2 ready" {
			t.Error(got)
		}
	})
}

// An operator's stop of a capsule keeps the order of a group that stops meanwhile: those
// before it are halted when it has ended.
func TestStopOfGroupMeetsStopOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervisortest.Start(t, supervisor.Config{
			CapsuleDirs: []string{t.TempDir()}, StopTimeout: 2 * time.Second, TriggerTimeout: time.Minute,
			Supervisors: []supervisor.Group{{Name: "g", Children: []string{"a", "b"}}},
		}, worker("a"), worker("b"))
		s.Inject("b", supervisortest.Fault{Do: supervisortest.Hang})
		s.Begin("ask.b", "")
		synctest.Wait()
		for _, name := range []string{"b", "g"} {
			go func() { _ = s.Stop(t.Context(), name) }()
			synctest.Wait()
		}
		wantState(t, s, "b", "stopping")
		wantState(t, s, "a", "ready")
		pass(2 * time.Second)
		wantState(t, s, "b", "stopped")
		wantState(t, s, "a", "stopped")
	})
}

// A temporary capsule that its strategy ends is not reported as one that is restarted; and
// those after it start when its actor has ended.
func TestStrategyEndsTemporary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervisortest.Start(t, supervisor.Config{
			CapsuleDirs: []string{t.TempDir()},
			Supervisors: []supervisor.Group{{Name: "g", Strategy: supervisor.OneForAll, Children: []string{"a", "b"}}},
		}, worker("a"), worker("b", temporary))
		killIn(t, s, "a")
		want := []string{"loading 1", "ready 1", "stopping: a crashed, and g is one_for_all", "stopped: a crashed, and g is one_for_all"}
		if diff := cmp.Diff(want, s.Timeline("b")); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

// An elastic pool does not grow while its group stops: nothing of it runs afterwards.
func TestPoolDoesNotGrowWhileItsGroupStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startPool(t, supervisor.Config{
			StopTimeout: 2 * time.Second, Supervisors: []supervisor.Group{{Name: "g", Children: []string{"w", "a"}}},
		}, pooled(`instances = "1-3"`), worker("a"))
		s.Inject("a", supervisortest.Fault{Do: supervisortest.Hang})
		s.Begin("ask.a", "")
		synctest.Wait()
		go func() { _ = s.Stop(t.Context(), "g") }()
		synctest.Wait()
		if got := askAll(s, 2); got["continue"] != 2 { // it is not its turn yet
			t.Error(got)
		}
		pass(time.Minute)
		if got := instancesOf(s); got != "1 stopped" {
			t.Error(got)
		}
	})
}

// A start of a group starts a pool of it that has no instance, and that an operator has
// stopped.
func TestGroupStartsEmptyPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startPool(t, supervisor.Config{Supervisors: []supervisor.Group{{Name: "g", Children: []string{"w", "a"}}}},
			pooled(`instances = "0-3"`), worker("a"))
		for _, step := range []error{s.Stop(t.Context(), "w"), s.Start(t.Context(), "g")} {
			if step != nil {
				t.Error(step)
			}
		}
		if got := askAll(s, 1); got["continue"] != 1 {
			t.Error(got)
		}
	})
}

// An operator's stop of a capsule that its group is about to start keeps it stopped, and
// the group starts without it, and its next restarts leave it out.
func TestStopMeetsStartOfGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := worker("a")
		load := a.Load
		a.Load = func(ctx context.Context, api capsulehost.HostAPI) (supervisor.Guest, error) {
			<-time.After(10 * time.Second)
			return load(ctx, api)
		}
		s := supervisortest.Start(t, supervisor.Config{
			CapsuleDirs: []string{t.TempDir()}, StopTimeout: 2 * time.Second,
			Supervisors: []supervisor.Group{{Name: "g", Strategy: supervisor.OneForAll, Children: []string{"a", "b"}}},
		}, a, worker("b"))
		if err := s.Stop(t.Context(), "g"); err != nil {
			t.Error(err)
		}
		started := make(chan error, 1)
		go func() { started <- s.Start(t.Context(), "g") }()
		synctest.Wait()
		if err := s.Stop(t.Context(), "b"); err != nil {
			t.Error(err)
		}
		if err := <-started; !errors.Is(err, supervisor.ErrNotUp) || err.Error() != `start group "g": it did not come up: not up: b` {
			t.Errorf("the start of the group: %v", err)
		}
		wantState(t, s, "a", "ready")
		wantState(t, s, "b", "stopped")
		killIn(t, s, "a")
		pass(time.Minute)
		wantState(t, s, "a", "ready")
		wantState(t, s, "b", "stopped")
		if err := s.Start(t.Context(), "b"); err != nil {
			t.Error(err)
		}
		wantState(t, s, "b", "ready")
	})
}

// An operator's stop of a capsule that still stops keeps it stopped, though its group is to
// start it at its end.
func TestStopMeetsStopBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		called := make(chan struct{}, 1)
		slow := supervisortest.Func("slow", "ask.slow", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
			called <- struct{}{}
			<-time.After(10 * time.Second) // whoever stops it waits
			return supervisortest.JSON("done")
		})
		s := supervisortest.Start(t, supervisor.Config{
			CapsuleDirs: []string{t.TempDir()}, StopTimeout: time.Minute,
			Supervisors: []supervisor.Group{{Name: "g", Strategy: supervisor.OneForAll, Children: []string{"slow", "b"}}},
		}, slow, worker("b"))
		ended := make(chan error, 4)
		go func() {
			_, err := s.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "ask.slow"})
			ended <- err
		}()
		<-called
		for _, command := range []func(context.Context, string) error{s.Stop, s.Start} {
			go func() { ended <- command(t.Context(), "g") }()
			synctest.Wait()
		}
		go func() { ended <- s.Stop(t.Context(), "slow") }()
		for range 4 {
			if err := <-ended; err != nil && !errors.Is(err, supervisor.ErrNotUp) { // the group starts without it
				t.Error(err)
			}
		}
		pass(time.Minute)
		wantState(t, s, "slow", "stopped")
		wantState(t, s, "b", "ready")
	})
}

// After a group was restarted its capsules keep no order among themselves: those that
// restart later do not wait for the stop of one before them.
func TestOrderEndsWithTheRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervisortest.Start(t, supervisor.Config{
			CapsuleDirs: []string{t.TempDir()}, StopTimeout: time.Minute,
			Supervisors: []supervisor.Group{{Name: "g", Strategy: supervisor.RestForOne, Children: []string{"a", "b", "c"}}},
		}, worker("a"), worker("b"), worker("c"))
		if err := s.Restart(t.Context(), "g"); err != nil {
			t.Fatal(err)
		}
		s.Inject("a", supervisortest.Fault{Do: supervisortest.Hang})
		answer := s.Begin("ask.a", "")
		synctest.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- s.Stop(t.Context(), "a") }()
		synctest.Wait()
		killIn(t, s, "b")
		wantState(t, s, "b", "ready")
		wantState(t, s, "c", "ready")
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		answer()
	})
}
