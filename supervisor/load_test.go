package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// hangingLoad is a capsule whose load ends only when it is interrupted.
func hangingLoad(id string) supervisor.Capsule {
	return supervisor.Capsule{
		Manifest: manifestOf(id, ""),
		Load: func(ctx context.Context, _ capsulehost.HostAPI) (supervisor.Guest, error) {
			<-ctx.Done()
			kind := capsulehost.KindCancelled
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				kind = capsulehost.KindTimeout
			}
			return nil, &capsulehost.Failure{Kind: kind, Message: context.Cause(ctx).Error()}
		},
	}
}

// serveIn serves in a synctest bubble.
func serveIn(t *testing.T, cfg supervisor.Config) (*supervisor.Supervisor, func() error) {
	t.Helper()
	cfg.Home = t.TempDir()
	sup, err := supervisor.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sup.Serve(ctx) }()
	return sup, func() error { cancel(); return <-done }
}

// TestHangingLoadsHoldUpNoOther checks that a capsule is ready within a second beside
// twenty hanging loads, and that no command waits for them, nor does the end of the
// system.
func TestHangingLoadsHoldUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var capsules []supervisor.Capsule
		for n := range 20 {
			capsules = append(capsules, hangingLoad(fmt.Sprintf("hangs-%02d", n)))
		}
		capsules = append(capsules, goCapsule("works"))
		sup, stop := serveIn(t, supervisor.Config{Capsules: capsules})
		began := time.Now()
		for e := range sup.Events(t.Context(), 0) {
			if _, ready := e.Detail.(messages.CapsuleReady); ready {
				if took := time.Since(began); e.Path != "capsules/works" || took > time.Second {
					t.Errorf("%s is ready after %v", e.Path, took)
				}
				break
			}
		}
		at := time.Now()
		if err := sup.Stop(t.Context(), "hangs-03"); err != nil {
			t.Error(err)
		}
		if err := sup.Kill(t.Context(), "hangs-04"); err != nil {
			t.Error(err)
		}
		if took := time.Since(at); took > 0 {
			t.Errorf("the commands took %v", took)
		}
		at = time.Now()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(at); took > 0 {
			t.Errorf("the end took %v", took)
		}
	})
}

// TestALoadHasALimit checks that a load has a limit of its own, not that of calls, and
// that the manifest overrides it.
func TestALoadHasALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := hangingLoad("own")
		own.Manifest += "[supervision]\nload_timeout = \"3s\"\nrestart = \"temporary\"\n"
		other := hangingLoad("other")
		other.Manifest += "[supervision]\nrestart = \"temporary\"\n"
		sup, stop := serveIn(t, supervisor.Config{
			Capsules: []supervisor.Capsule{own, other}, LoadTimeout: 30 * time.Second, CallTimeout: time.Second,
		})
		began, failed := time.Now(), map[string]time.Duration{}
		for e := range sup.Events(t.Context(), 0) {
			if d, ok := e.Detail.(messages.CapsuleFailed); ok {
				failed[strings.TrimPrefix(e.Path, "capsules/")] = time.Since(began)
				if d.Failure.Kind != "timeout" || !strings.Contains(d.Failure.Message, "limit") {
					t.Errorf("%s: %s: %s", e.Path, d.Failure.Kind, d.Failure.Message)
				}
				if len(failed) == 2 {
					break
				}
			}
		}
		if failed["own"] != 3*time.Second || failed["other"] != 30*time.Second {
			t.Errorf("the loads failed after %v", failed)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestALoadThatCantHeal checks that an invalid module fails at once, without a restart,
// and that an operator's start tries it again.
func TestALoadThatCantHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		capsule := hangingLoad("bad")
		capsule.Load = func(context.Context, capsulehost.HostAPI) (supervisor.Guest, error) {
			loads++
			return nil, &capsulehost.Failure{Kind: capsulehost.KindBadModule, Message: "not a WebAssembly module"}
		}
		sup, stop := serveIn(t, supervisor.Config{Capsules: []supervisor.Capsule{capsule}})
		if err := sup.AwaitStarted(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		c := sup.Snapshot().Capsules[0]
		if c.State != messages.StateFailed || c.BudgetSpent != 0 || c.Restarts != 0 || loads != 1 {
			t.Errorf("%s after %d loads, with %d restarts, %d of the budget spent", c.State, loads, c.Restarts, c.BudgetSpent)
		}
		if !strings.Contains(c.Reason, "files change") {
			t.Errorf("the reason is %q", c.Reason)
		}
		if err := sup.Start(t.Context(), "bad"); !errors.Is(err, supervisor.ErrNotUp) || loads != 2 {
			t.Errorf("a start: %v, after %d loads", err, loads)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// goCapsule is a capsule that returns 1.
func goCapsule(id string) supervisor.Capsule {
	return supervisor.Capsule{
		Manifest: manifestOf(id, fmt.Sprintf("[[interceptor]]\nevent = %q\naction = \"a\"\n", id)),
		Load: func(context.Context, capsulehost.HostAPI) (supervisor.Guest, error) {
			return answersOne{}, nil
		},
	}
}

// answersOne is a guest that returns 1.
type answersOne struct{}

func (answersOne) Invoke(context.Context, string, []byte) (capsulehost.Result, error) {
	return capsulehost.Result{Data: []byte("1")}, nil
}
func (answersOne) Run(context.Context) error   { return nil }
func (answersOne) RunLoop() bool               { return false }
func (answersOne) MemoryBytes() uint64         { return 0 }
func (answersOne) Close(context.Context) error { return nil }
