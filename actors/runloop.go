package actors

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// MaxRunLoopInterceptors is how many interceptors a run-loop capsule may have.
const MaxRunLoopInterceptors = 64

// errLoopVanished: the loop's goroutine ended without a result.
var errLoopVanished = errors.New("the run loop's goroutine was ended by runtime.Goexit")

// startLoop runs a run-loop capsule's `run` on a goroutine of its own, which
// owns the guest until it ends; the actor goes on serving its mailbox.
func (c *capsule) startLoop(ctx actor.Context, began monotime.Time) {
	if n := len(c.cfg.Interceptors); n > MaxRunLoopInterceptors {
		c.escalate(c.died("load", &capsulehost.Failure{
			Kind:    capsulehost.KindLink,
			Message: fmt.Sprintf("a run-loop capsule may have at most %d interceptors, its manifest has %d", MaxRunLoopInterceptors, n),
		}))
		return
	}
	c.up(ctx, messages.StateStarting, began)
	own, run, guest, done := c.own, c.run, c.guest, make(chan struct{})
	c.loop = done
	if c.api.metered != nil {
		c.api.metered.SetBudget(capsulehost.Budget{Rate: c.cfg.Rate}) // a loop is no call: only its rate is bounded
	}
	c.api.loopStarted(func() {
		own.PostUserMessage(&loopSignalled{generation: run.generation, began: began})
	})
	go func() {
		err := errLoopVanished
		defer func() {
			own.PostUserMessage(&loopEnded{generation: run.generation, err: err})
			close(done)
		}()
		_, err = guarded(func() (struct{}, error) { return struct{}{}, guest.Run(run.ctx) })
	}()
}

// signalled: the guest has called astrid_signal_ready.
func (c *capsule) signalled(ctx actor.Context, m *loopSignalled) {
	if c.guest != nil && m.generation == c.run.generation {
		c.up(ctx, messages.StateReady, m.began)
	}
}

// loopEnded: `run` returned, reported an error, or died.
func (c *capsule) loopEnded(m *loopEnded) {
	if c.guest == nil || m.generation != c.run.generation {
		return
	}
	c.stats.looped()
	err := m.err
	if err == nil {
		err = &capsulehost.Failure{Kind: capsulehost.KindExit, Export: capsulehost.ExportRun, Message: "the run loop ended by itself"}
	}
	c.escalate(c.died("run", err))
}

// loopSignalled and loopEnded are messages of the loop's goroutine to its actor.
// They overtake the calls that wait.
type (
	loopSignalled struct {
		generation uint64
		began      monotime.Time
	}
	loopEnded struct {
		generation uint64
		err        error
	}
)

// Urgent makes it overtake.
func (*loopSignalled) Urgent() {}

// Urgent makes it overtake.
func (*loopEnded) Urgent() {}
