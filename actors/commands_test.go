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

// atOnce is a supervisor's context in which a child's next generation has begun
// before RestartChildren returns.
type atOnce struct {
	actor.Context
	actor.Supervisor
	restart func()
}

func (c atOnce) RestartChildren(...*actor.PID) { c.restart() }
func (c atOnce) Children() []*actor.PID        { return nil }

// An operator's restart interrupts the generation that runs, and never the next one,
// however early that begins: interrupted in its load, it would wait forever for
// a restart that has already happened.
func TestARestartLeavesTheNextGenerationAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(slog.New(slog.DiscardHandler))
		defer sys.Close()
		ref := NewCapsuleRef(CapsuleConfig{ID: "a", System: sys, Observe: func(messages.Event) {}})
		ref.begin()
		ref.announced.Store(&CapsuleUp{Ref: ref, Generation: 1})
		c := &child{
			ChildSpec: ChildSpec{Ref: ref, Reload: func() {}, StopTimeout: time.Second},
			pid:       sys.PID("a"), phase: running,
		}
		s := &supervisor{SupervisorConfig: SupervisorConfig{System: sys, Observe: func(messages.Event) {}}}
		var next *run
		if refusal := s.restartCapsule(atOnce{restart: func() {
			ref.over()
			ref.announced.Store(nil)
			next = ref.begin()
		}}, c); refusal != "" {
			t.Fatal(refusal)
		}
		for _, when := range []string{"at once", "after the stop time-out"} {
			synctest.Wait()
			if next.ctx.Err() != nil {
				t.Fatalf("the load of generation %d was interrupted %s", next.generation, when)
			}
			time.Sleep(c.StopTimeout)
		}
	})
}
