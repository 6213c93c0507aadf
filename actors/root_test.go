package actors

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/messages"
)

// A supervisor that fails over each reconcile does nothing else, but not all the time.
func TestReconcileThatFailsIsRepeatedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(slog.New(slog.DiscardHandler))
		var reconciled, observed atomic.Int64
		idle := func() *actor.Props {
			return sys.Props(func() actor.Actor { return actor.ReceiveFunc(func(actor.Context) {}) }, system.NewMailbox(0, nil))
		}
		fails := actor.ReceiveFunc(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case string:
				panic("a message")
			case *reconcile:
				if reconciled.Add(1) <= 100 {
					panic("each reconcile")
				}
			}
		})
		root, err := sys.Spawn(RootPath, RootProps(RootConfig{
			System: sys, Log: slog.New(slog.DiscardHandler), Observe: func(messages.Event) { observed.Add(1) },
			Registry: idle(), HookRouter: idle(),
			Supervisor: sys.Props(func() actor.Actor { return fails }, system.NewMailbox(0, nil)),
		}))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		sys.Send(sys.PID(SupervisorPath), "fail")
		synctest.Wait()
		if reconciled.Load() != 1 || observed.Load() != 2 {
			t.Errorf("reconciled %d times at once, %d failures observed; want 1 and 2", reconciled.Load(), observed.Load())
		}
		time.Sleep(10*time.Second + 1)
		synctest.Wait()
		if got := reconciled.Load(); got != 11 {
			t.Errorf("reconciled %d times in 10 s, want 11", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := reconciled.Load(); got != 101 {
			t.Errorf("reconciled %d times, want 101: the last one succeeded", got)
		}
		sys.Stop(root)
		synctest.Wait()
		sys.Close()
	})
}
