package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// Crash is the reason that a capsule's supervisor gets for its failure. The
// calls that it broke have been answered.
type Crash struct {
	Generation uint64
	Failure    *messages.CapsuleFailure
	// During is what died: "load", "call", "run", "killed".
	During string
	// Clean: the guest ended by itself without an error.
	Clean bool
	// Blameless: the deadline or the budget of a trigger ended the call, not the
	// capsule's own limit. The instance is lost all the same, but no restart is
	// counted.
	Blameless bool
	// Up is how long the instance had been Ready.
	Up time.Duration
}

// Answered says that the call that it broke has been answered: see system.Answered.
func (*Crash) Answered() {}

// died reports the end of the present instance after a failed load, call or
// loop: its session is invalid, and the event is out, before anybody hears of it
// otherwise. It returns nil where the capsule was to stop or to restart on
// request: then what comes next is on its way.
func (c *capsule) died(during string, err error) *Crash {
	c.over()
	switch cause := context.Cause(c.life.ctx); {
	case errors.Is(cause, ErrStopping), errors.Is(cause, ErrRestarting):
		return nil
	case errors.Is(cause, ErrKilled):
		during = "killed"
	}
	crash := &Crash{
		Generation: c.life.generation, Failure: failureOf(during, err), During: during,
		Clean: endedCleanly(err), Blameless: blameless(err), Up: c.Up(),
	}
	c.Revoke(messages.CapsuleState_CAPSULE_STATE_CRASHED, crash.Failure.GetMessage())
	c.observe(&messages.Event{What: &messages.Event_CapsuleCrashed{
		CapsuleCrashed: &messages.CapsuleCrashed{Failure: crash.Failure, During: during},
	}})
	return crash
}

// collapse ends what died, and hands the crash to the supervisor, if it is one:
// then it does not return.
func (c *capsule) collapse(crash *Crash) {
	c.discard(messages.CapsuleState_CAPSULE_STATE_LOADING)
	if crash != nil {
		panic(crash)
	}
}

// interrupted handles an interruption that found the capsule idle.
func (c *capsule) interrupted(m *interrupted) {
	if c.guest != nil && m.generation == c.life.generation && errors.Is(m.cause, ErrKilled) {
		c.collapse(c.died("killed", &capsulehost.Failure{Kind: capsulehost.KindCancelled, Message: m.cause.Error()}))
	}
}

// discard closes the instance, if there is one: state is what it is in then. A
// run loop is interrupted and waited for. It never panics: the library could not
// stop an actor that does.
func (c *capsule) discard(state messages.CapsuleState) {
	if c.life == nil {
		return
	}
	c.over()
	c.life.end(ErrStopping)
	if c.announced.Load() != nil {
		c.Revoke(state, "the instance was ended")
	}
	if c.loop != nil {
		<-c.loop
		c.loop = nil
	}
	if guest := c.guest; guest != nil {
		c.guest = nil
		c.activity.died()
		_, err := guarded(func() (struct{}, error) { return struct{}{}, guest.Close(context.Background()) })
		if err != nil {
			c.cfg.Log.Warn().Str("capsule", c.cfg.ID).Err(err).Msg("closing the instance failed")
		}
	}
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

// failureOf turns what ended an instance into its record.
func failureOf(during string, err error) *messages.CapsuleFailure {
	out := &messages.CapsuleFailure{Kind: string(capsulehost.KindExit), Message: err.Error(), At: timestamppb.Now()}
	if failure, ok := errors.AsType[*capsulehost.Failure](err); ok {
		out.Kind, out.Message, out.WasmStack = string(failure.Kind), failure.Error(), shortStack(failure.Stack)
		out.Stderr = failure.Stderr
	} else if during == "load" {
		out.Kind = string(capsulehost.KindBadModule)
	}
	out.Message = shortened(out.Message, reasonKept)
	return out
}

// blameless says whether what ended a call was its trigger's.
func blameless(err error) bool {
	_, budget := errors.AsType[triggerBudgetSpent](err)
	return budget || errors.Is(err, errDeadline)
}

// endedCleanly says whether the guest ended by itself without an error.
func endedCleanly(err error) bool {
	failure, ok := errors.AsType[*capsulehost.Failure](err)
	return ok && failure.Kind == capsulehost.KindExit && failure.ExitCode == 0
}

// interrupted is a capsule's word to itself that its present life was ended
// from outside. It overtakes the calls that wait.
type interrupted struct {
	generation uint64
	cause      error
}

// Urgent makes it overtake.
func (*interrupted) Urgent() {}
