package web

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

func answerOne(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
	return supervisortest.JSON(1)
}

// watching runs a watch in a bubble.
func watching(t *testing.T, cfg supervisor.Config, test func(t *testing.T, sys *supervisortest.System, w *watch)) {
	synctest.Test(t, func(t *testing.T) {
		sys := supervisortest.Start(t, cfg, supervisortest.Func("a", "test.*", answerOne))
		w := newWatch(sys.Supervisor)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.run(ctx)
		}()
		test(t, sys, w)
		cancel()
		<-done
	})
}

// TestNotOfACapsule checks that a rejected directory, and a failure of one of our own
// actors, need attention too; the latter for a while.
func TestNotOfACapsule(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Capsule.toml"), []byte("[package"), 0o600); err != nil {
		t.Fatal(err)
	}
	watching(t, supervisor.Config{CapsuleDirs: []string{dir}}, func(t *testing.T, sys *supervisortest.System, w *watch) {
		said := func() (said []string) {
			<-time.After(stepEvery + lookEvery)
			for _, a := range w.frame().attention {
				said = append(said, a.Trouble+" "+a.Path)
			}
			return said
		}
		if diff := cmp.Diff([]string{"rejected " + dir}, said()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		sys.FailActor("registry")
		if diff := cmp.Diff([]string{"rejected " + dir, "actor failed registry"}, said()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		<-time.After(ourFaultShown)
		if diff := cmp.Diff([]string{"rejected " + dir}, said()); diff != "" {
			t.Errorf("after a while (-want +got):\n%s", diff)
		}
	})
}

// TestRates checks triggers and calls a second, restarts an hour, and a curve's steps.
func TestRates(t *testing.T) {
	watching(t, supervisor.Config{}, func(t *testing.T, sys *supervisortest.System, w *watch) {
		w.enter()
		defer w.leave()
		for range 300 { // for a minute
			if _, err := sys.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "test.x"}); err != nil {
				t.Fatal(err)
			}
			<-time.After(200 * time.Millisecond)
		}
		f := w.look()
		if f.triggers < 4.5 || f.triggers > 5.5 || f.calls["a"] != f.triggers {
			t.Errorf("%v triggers and %v calls a second, want 5", f.triggers, f.calls)
		}
		curve := w.curve("a")
		if len(curve) < 10 || len(curve) > 12 {
			t.Errorf("%d points in a minute", len(curve))
		}
		for _, p := range curve {
			if p.calls < 20 || p.calls > 30 {
				t.Errorf("%d calls in a step", p.calls)
			}
		}
		for range 2 {
			sys.Inject("a", supervisortest.Fault{})
			sys.Ask("test.x", "")
			<-time.After(10 * time.Minute)
		}
		if f := w.look(); f.restarts != 2 {
			t.Errorf("%d restarts in the hour, want 2", f.restarts)
		}
		<-time.After(2 * time.Hour)
		if f := w.look(); f.restarts != 0 || f.triggers != 0 || len(f.calls) != 0 {
			t.Errorf("hours later: %d restarts, %v triggers, %v calls", f.restarts, f.triggers, f.calls)
		}
		if n := len(w.curve("a")); n != steps {
			t.Errorf("the curve has %d points, want %d", n, steps)
		}
	})
}

// TestClockSetBack checks that the page continues when the wall clock is set back by an
// hour, and soon has rates again.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := supervisortest.Start(t, supervisor.Config{}, supervisortest.Func("a", "test.*", answerOne))
		w := newWatch(sys.Supervisor)
		setBack := func(by time.Duration) *frame {
			taken := monotime.Now()
			tree := sys.Snapshot()
			tree.At = time.Now().Add(-by)
			return w.show(tree, taken)
		}
		setBack(0)
		for n := range 8 {
			sys.Ask("test.x", "")
			<-time.After(stepEvery)
			f := setBack(time.Hour)
			if w.frame() != f || w.fresh() != f {
				t.Fatalf("look %d: the page shows a frame from before", n)
			}
			if n > 1 && (f.triggers < 0.1 || f.triggers > 0.5) {
				t.Errorf("look %d: %v triggers a second, want 0.2", n, f.triggers)
			}
		}
	})
}

// TestLooksArePaced checks that events wake the watch, but at most four times a second.
func TestLooksArePaced(t *testing.T) {
	watching(t, supervisor.Config{}, func(t *testing.T, sys *supervisortest.System, w *watch) {
		w.enter()
		defer w.leave()
		looks := 0
		for last, began := w.frame(), time.Now(); time.Since(began) < 5*time.Second; {
			if err := sys.Restart(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			<-time.After(5 * time.Millisecond)
			if f := w.frame(); f != last {
				looks, last = looks+1, f
			}
		}
		if looks < 15 || looks > 21 {
			t.Errorf("%d looks in 5 s, want 4 a second", looks)
		}
	})
}
