package actors

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// MaxRunLoopInterceptors is how many interceptors a run-loop capsule may have.
const MaxRunLoopInterceptors = 64

// errLoopVanished: the loop's goroutine ended without a result.
var errLoopVanished = errors.New("the run loop's goroutine was ended by runtime.Goexit")

// startLoop starts the current instance's run loop; the actor goes on serving its
// mailbox.
func (c *capsule) startLoop(ctx actor.Context) {
	if err := c.current.version.fitsRunLoop(); err != nil {
		c.escalate(c.died("load", err))
		return
	}
	c.up(ctx, messages.StateStarting, messages.CapsuleStarting{Session: c.current.session})
	c.current.startLoop()
}

// fitsRunLoop reports why the version's instances can't be run loops.
func (v *Version) fitsRunLoop() error {
	n := len(v.Interceptors)
	if n <= MaxRunLoopInterceptors {
		return nil
	}
	return &capsulehost.Failure{
		Kind:    capsulehost.KindLink,
		Message: fmt.Sprintf("a run-loop capsule may have at most %d interceptors, its manifest has %d", MaxRunLoopInterceptors, n),
	}
}

// signalled: the guest has called astrid_signal_ready.
func (c *capsule) signalled(ctx actor.Context, m *loopSignalled) {
	if c.current == nil || m.generation != c.current.generation {
		return
	}
	if up := c.Announced(); up == nil || up.State != messages.StateReady { // else it had signalled before it took over
		c.isReady(ctx)
	}
}

// loopEnded: `run` returned, reported an error, or died.
func (c *capsule) loopEnded(m *loopEnded) {
	if c.current == nil || m.generation != c.current.generation {
		return
	}
	c.stats.looped()
	c.escalate(c.died("run", endOfLoop(m.err)))
}

// endOfLoop is why a run loop has ended: that it has returned is a reason, too.
func endOfLoop(err error) error {
	if err != nil {
		return err
	}
	return &capsulehost.Failure{Kind: capsulehost.KindExit, Export: capsulehost.ExportRun, Message: "the run loop ended by itself"}
}

// loopSignalled and loopEnded are messages of the loop's goroutine to its actor.
// They overtake the calls that wait.
type (
	loopSignalled struct{ generation uint64 }
	loopEnded     struct {
		generation uint64
		err        error
	}
)

// Urgent makes it overtake.
func (*loopSignalled) Urgent() {}

// Urgent makes it overtake.
func (*loopEnded) Urgent() {}
