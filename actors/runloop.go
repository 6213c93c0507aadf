package actors

import (
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// startLoop runs a run-loop capsule's `run` on a goroutine of its own, which
// owns the guest until it ends; the actor goes on serving its mailbox.
func (c *capsule) startLoop(ctx actor.Context, began time.Time) {
	if n := len(c.cfg.Interceptors); n > MaxRunLoopInterceptors {
		c.crash("load", &capsulehost.Failure{
			Kind:    capsulehost.KindLink,
			Message: fmt.Sprintf("a run-loop capsule may have at most %d interceptors, its manifest has %d", MaxRunLoopInterceptors, n),
		}, false)
		return
	}
	c.up(ctx, messages.CapsuleState_CAPSULE_STATE_STARTING, began)
	c.world.signal = func() { c.own.PostUserMessage(&loopSignalled{generation: c.life.generation, began: began}) }
	c.loop = make(chan struct{})
	life, guest, done := c.life, c.guest, c.loop
	go func() {
		err := guest.Run(life.ctx)
		c.own.PostUserMessage(&loopEnded{generation: life.generation, err: err})
		close(done)
	}()
}

// signalled: the guest has called astrid_signal_ready.
func (c *capsule) signalled(ctx actor.Context, m *loopSignalled) {
	if c.guest == nil || m.generation != c.life.generation || !c.ready.IsZero() {
		return
	}
	c.up(ctx, messages.CapsuleState_CAPSULE_STATE_READY, m.began)
}

// loopEnded: `run` returned, reported an error, or died.
func (c *capsule) loopEnded(m *loopEnded) {
	if c.guest == nil || m.generation != c.life.generation {
		return
	}
	c.calls.Add(1)
	var failure *capsulehost.Failure
	switch {
	case m.err == nil:
		c.crash("run", &capsulehost.Failure{Kind: capsulehost.KindExit, Export: "run", Message: "the run loop ended by itself"}, true)
	case errors.As(m.err, &failure):
		c.die("run", m.err)
	default:
		c.crash("run", m.err, false)
	}
}

// loopSignalled and loopEnded are the loop's words to its actor. They overtake
// the calls that wait.
type (
	loopSignalled struct {
		generation uint64
		began      time.Time
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
