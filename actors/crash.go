package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// Crash is the reason that a capsule's supervisor gets for its failure. The calls
// that it broke have been answered.
type Crash struct {
	Generation uint64
	Failure    messages.Failure
	// During is the phase that it died in: "load", "call", "run", "killed".
	During string
	// Clean: the guest ended by itself without an error.
	Clean bool
	// Blameless: the deadline or the budget of a trigger ended the call, or its
	// caller's patience, but not the capsule's own limit. The instance is lost all
	// the same, but no restart is counted. It says why; "" for other deaths.
	Blameless string
	// Permanent: the same will happen at each restart, until the capsule's files
	// change.
	Permanent bool
	// Uptime is how long the instance had been Ready.
	Uptime time.Duration

	exited bool // the goroutine is about to end
	halted bool // no death: it has given up its instance, as it was told
}

// Answered implements system.Answered: the call that it broke has been answered.
func (*Crash) Answered() {}

// Exited implements system.Exited: the guest called runtime.Goexit.
func (c *Crash) Exited() bool { return c.exited }

// died reports the end of the current instance after a failed load, call or
// loop: its session is invalid, and the event is out, before anybody hears of it
// otherwise. It returns nil if the capsule was to stop or to restart on request:
// that is under way.
func (c *capsule) died(during string, err error) *Crash {
	c.over()
	switch cause := context.Cause(c.current.ctx); {
	case errors.Is(cause, ErrStopping), errors.Is(cause, ErrRestarting):
		return nil
	case errors.Is(cause, ErrKilled):
		during = "killed"
	}
	crash := &Crash{
		Generation: c.current.generation, Failure: failureOf(during, err), During: during,
		Clean: endedCleanly(err), Blameless: blameless(err), Permanent: during == "load" && permanent(err), Uptime: c.Uptime(),
	}
	c.Revoke(messages.StateCrashed, crash.Failure.Message)
	c.observe(messages.CapsuleCrashed{Failure: crash.Failure, During: during})
	return crash
}

// escalate ends the instance and hands its crash to the supervisor, unless nil:
// then it does not return.
func (c *capsule) escalate(crash *Crash) {
	c.discard(messages.StateLoading)
	if crash != nil {
		panic(crash)
	}
}

// errExited: a guest written in Go, or something around one, ended its goroutine.
var errExited = &capsulehost.Failure{
	Kind: capsulehost.KindHostCall, Message: "the goroutine of the guest was ended by runtime.Goexit",
}

// exited makes a crash of a guest's runtime.Goexit, which nothing stops, and
// answers the call that it broke, if it was one. It does not return.
func (c *capsule) exited(during string, m *invocation) {
	generation := c.current.generation
	crash := c.died(during, errExited)
	if m != nil && m.trigger != nil {
		m.trigger.answer(m.leg, &messages.Leg{
			Outcome: messages.OutcomeCrashed, Reason: errExited.Error(), Generation: generation,
		}, nil)
	}
	c.discard(messages.StateLoading)
	if crash == nil { // its replacement is under way, which the generation tells the supervisor
		crash = &Crash{Generation: generation}
	}
	crash.exited = true
	panic(crash)
}

// interrupted handles an interruption that found the capsule idle.
func (c *capsule) interrupted(m *interrupted) {
	if c.current != nil && m.generation == c.current.generation && errors.Is(m.cause, ErrKilled) {
		c.escalate(c.died("killed", &capsulehost.Failure{Kind: capsulehost.KindCancelled, Message: m.cause.Error()}))
	}
}

// discard closes the instance, if there is one; the capsule is in that state then.
func (c *capsule) discard(state messages.CapsuleState) {
	i := c.current
	if i == nil {
		return
	}
	c.over()
	c.likely.Store(0)
	if c.announced.Load() != nil {
		c.Revoke(state, "the instance was ended")
	}
	if i.guest != nil {
		c.stats.died()
	}
	i.close(c.cfg.Log)
	c.current = nil
}

// guarded turns a panic below f, which is no guest's, into a failure: it costs
// the instance like any other, and leaves the actor to answer for it.
func guarded[T any](f func() (T, error)) (result T, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = &capsulehost.Failure{Kind: capsulehost.KindHostCall, Message: fmt.Sprintf("panic in the host: %v", reason)}
		}
	}()
	return f()
}

// failureOf turns the error that ended an instance into its record.
func failureOf(during string, err error) messages.Failure {
	out := messages.Failure{Kind: string(capsulehost.KindExit), Message: err.Error(), At: time.Now()}
	if failure, ok := errors.AsType[*capsulehost.Failure](err); ok {
		out.Kind, out.Message, out.WasmStack = string(failure.Kind), failure.Error(), shortStack(failure.Stack)
		out.Stderr = failure.Stderr
	} else if during == "load" {
		out.Kind = string(capsulehost.KindBadModule)
	}
	out.Message = shortened(out.Message, reasonKept)
	return out
}

// blameless returns why the end of a call is not the capsule's fault; "" if it is.
func blameless(err error) string {
	_, budget := errors.AsType[triggerBudgetSpent](err)
	switch {
	case budget:
		return messages.CauseBudget
	case errors.Is(err, errDeadline):
		return messages.CauseDeadline
	case errors.Is(err, errAbandoned):
		return messages.CauseAbandoned
	default:
		return ""
	}
}

// permanent reports whether a load fails for a reason that a restart can't heal.
func permanent(err error) bool {
	failure, ok := errors.AsType[*capsulehost.Failure](err)
	return ok && (failure.Kind == capsulehost.KindBadModule || failure.Kind == capsulehost.KindLink)
}

// endedCleanly reports whether the guest ended by itself without an error.
func endedCleanly(err error) bool {
	failure, ok := errors.AsType[*capsulehost.Failure](err)
	return ok && failure.Kind == capsulehost.KindExit && failure.ExitCode == 0
}

// interrupted is a self-message: the instance was cancelled from outside. It
// overtakes the calls that wait.
type interrupted struct {
	generation uint64
	cause      error
}

// Urgent makes it overtake.
func (*interrupted) Urgent() {}
