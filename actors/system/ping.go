package system

import (
	"context"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
)

// ping asks a mailbox whether its actor still takes messages. It overtakes those
// that wait, and the actor never sees it.
type ping struct{ answer chan error }

// Urgent makes it overtake.
func (*ping) Urgent() {}

// take answers it; the first answer counts.
func (p *ping) take(err error) {
	select {
	case p.answer <- err:
	default:
	}
}

// Ping waits until an actor is between two messages, or ctx ends. Its error says
// which actor did not answer, and why: one that is not there, or hangs.
func (s *System) Ping(ctx context.Context, pid *actor.PID) error {
	p := &ping{answer: make(chan error, 1)}
	s.Send(pid, p)
	var err error
	select {
	case err = <-p.answer:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("ping %s: %w", pid.Id, err)
	}
	return nil
}
