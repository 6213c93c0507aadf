package actors

import (
	"log/slog"
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
		reconciled, observed := 0, 0
		idle := func() *actor.Props {
			return sys.Props(func() actor.Actor { return actor.ReceiveFunc(func(actor.Context) {}) }, system.NewMailbox(0, nil))
		}
		fails := actor.ReceiveFunc(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case string:
				panic("a message")
			case *reconcile:
				if reconciled++; reconciled <= 100 {
					panic("each reconcile")
				}
			}
		})
		root, err := sys.Spawn(RootPath, RootProps(RootConfig{
			System: sys, Log: slog.New(slog.DiscardHandler), Observe: func(messages.Event) { observed++ },
			Registry: idle(), HookRouter: idle(),
			Supervisor: sys.Props(func() actor.Actor { return fails }, system.NewMailbox(0, nil)),
		}))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		sys.Send(sys.PID(SupervisorPath), "fail")
		synctest.Wait()
		if reconciled != 1 || observed != 2 {
			t.Errorf("reconciled %d times at once, %d failures observed; want 1 and 2", reconciled, observed)
		}
		time.Sleep(10*time.Second + 1)
		synctest.Wait()
		if reconciled != 11 {
			t.Errorf("reconciled %d times in 10 s, want 11", reconciled)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if reconciled != 101 {
			t.Errorf("reconciled %d times, want 101: the last one succeeded", reconciled)
		}
		sys.Stop(root)
		synctest.Wait()
		sys.Close()
	})
}
