package actors

import (
	"errors"
	"fmt"
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// MaxRunLoopInterceptors is how many interceptors a run-loop capsule may have.
const MaxRunLoopInterceptors = 64

// errLoopVanished: the loop's goroutine ended without a result.
var errLoopVanished = errors.New("the run loop's goroutine was ended by runtime.Goexit")

// startLoop runs a run-loop capsule's `run` on a goroutine of its own, which
// owns the guest until it ends; the actor goes on serving its mailbox.
func (c *capsule) startLoop(ctx actor.Context, began moment) {
	if n := len(c.cfg.Interceptors); n > MaxRunLoopInterceptors {
		c.collapse(c.died("load", &capsulehost.Failure{
			Kind:    capsulehost.KindLink,
			Message: fmt.Sprintf("a run-loop capsule may have at most %d interceptors, its manifest has %d", MaxRunLoopInterceptors, n),
		}))
		return
	}
	c.up(ctx, messages.CapsuleState_CAPSULE_STATE_STARTING, began)
	own, life, guest, done := c.own, c.life, c.guest, make(chan struct{})
	c.loop = done
	if c.world.metered != nil {
		c.world.metered.SetBudget(capsulehost.Budget{Rate: c.cfg.Rate}) // a loop is no call: only its rate is bounded
	}
	c.world.signal = sync.OnceFunc(func() {
		own.PostUserMessage(&loopSignalled{generation: life.generation, began: began})
	})
	go func() {
		err := errLoopVanished
		defer func() {
			own.PostUserMessage(&loopEnded{generation: life.generation, err: err})
			close(done)
		}()
		_, err = guarded(func() (struct{}, error) { return struct{}{}, guest.Run(life.ctx) })
	}()
}

// signalled: the guest has called astrid_signal_ready.
func (c *capsule) signalled(ctx actor.Context, m *loopSignalled) {
	if c.guest != nil && m.generation == c.life.generation {
		c.up(ctx, messages.CapsuleState_CAPSULE_STATE_READY, m.began)
	}
}

// loopEnded: `run` returned, reported an error, or died.
func (c *capsule) loopEnded(m *loopEnded) {
	if c.guest == nil || m.generation != c.life.generation {
		return
	}
	c.activity.looped()
	err := m.err
	if err == nil {
		err = &capsulehost.Failure{Kind: capsulehost.KindExit, Export: capsulehost.ExportRun, Message: "the run loop ended by itself"}
	}
	c.collapse(c.died("run", err))
}

// loopSignalled and loopEnded are the loop's words to its actor. They overtake
// the calls that wait.
type (
	loopSignalled struct {
		generation uint64
		began      moment
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
