package actors

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/messages"
)

// An operator's restart interrupts the generation that runs, and never the next one,
// however early that begins.
func TestARestartLeavesTheNextGenerationAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(slog.New(slog.DiscardHandler))
		defer sys.Close()
		ref := NewCapsuleRef(CapsuleConfig{ID: "a", Version: &Version{}, System: sys, Observe: func(messages.Event) {}})
		ref.begin()
		ref.announced.Store(&CapsuleUp{Ref: ref, Generation: 1})
		c := newChild(ChildSpec{Ref: ref, StopTimeout: time.Second})
		c.pid, c.phase, c.over = sys.PID("a"), running, 0
		s := &supervisor{SupervisorConfig: SupervisorConfig{System: sys, Observe: func(messages.Event) {}, Preparations: &Preparations{}}}
		next := ref.newInstance(&Version{}, ref.reserve())
		u := &upgrade{UpgradeCapsule: UpgradeCapsule{How: Restart}, next: next}
		s.handOver(nil, c, u)
		ref.accept() // at once
		for _, when := range []string{"at once", "after the stop time-out"} {
			synctest.Wait()
			if next.ctx.Err() != nil {
				t.Fatalf("generation %d was interrupted %s", next.generation, when)
			}
			time.Sleep(c.StopTimeout)
		}
	})
}
