package supervisor

import (
	"context"
	"errors"
	"fmt"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/messages"
)

// This file is what callers ask of a tree while it runs: triggers, commands, sessions and
// queues.

// trigger sends one trigger from outside.
func (t *tree) trigger(ctx context.Context, q actors.TriggerRequest) (*Reply, error) {
	if err := t.enter(); err != nil {
		return nil, fmt.Errorf("trigger %q: %w", q.Topic, err)
	}
	defer t.leave()
	if q.Reductions == 0 {
		q.Reductions = t.cfg.TriggerReductions
	}
	q.Timeout = t.cfg.TriggerTimeout
	reply, err := t.router.Trigger(ctx, q)
	switch {
	case errors.Is(err, actors.ErrNoRoutes): // Serve has only just been called
		return nil, fmt.Errorf("trigger %q: %w", q.Topic, ErrNotServing)
	case err != nil:
		return nil, err
	}
	t.router.WarnOfLegs(t.cfg.Log, "", q.Topic, reply.Legs)
	return reply, nil
}

// enter and leave bracket a trigger from outside.
func (t *tree) enter() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopping.Load() {
		return ErrStopping
	}
	if t.journal.OpenTrigger(int64(t.cfg.OpenTriggers)) {
		return ErrOverloaded
	}
	t.open.Add(1)
	return nil
}

func (t *tree) leave() {
	t.journal.CloseTrigger()
	t.open.Done()
}

// command sends a command to the capsules supervisor and waits until it is done.
func (t *tree) command(ctx context.Context, m any) error {
	if t.isStopping() {
		return ErrStopping
	}
	answer, err := t.sys.Ask(ctx, t.sys.PID(actors.SupervisorPath), m)
	if err != nil {
		switch {
		case errors.Is(err, system.ErrNoActor) && t.isStopping():
			return ErrStopping
		case errors.Is(err, system.ErrNoActor):
			return ErrNotServing // Serve has only just been called
		}
		return err
	}
	done, ok := answer.(*messages.CommandDone)
	if !ok {
		return fmt.Errorf("%w: it was answered by %T", ErrRefused, answer)
	}
	switch done.Result {
	case messages.CommandSucceeded:
		return nil
	case messages.CommandNotFound:
		return ErrNotFound
	case messages.CommandFailed:
		return fmt.Errorf("%w: %s", ErrNotUp, done.Reason)
	case messages.CommandKept:
		return fmt.Errorf("%w: %s", ErrUpgradeFailed, done.Reason)
	default:
		return fmt.Errorf("%w: %s", ErrRefused, done.Reason)
	}
}

// findSession asks the registry which capsule holds a session.
func (t *tree) findSession(ctx context.Context, session string) (string, error) {
	if session == "" {
		return "", ErrNotFound
	}
	answer, err := t.sys.Ask(ctx, t.sys.PID(actors.RegistryPath), &messages.FindCapsule{Session: session})
	switch found, _ := answer.(*messages.CapsuleFound); {
	case errors.Is(err, system.ErrNoActor):
		return "", ErrNotServing
	case err != nil:
		return "", err
	case found == nil || !found.Found:
		return "", ErrNotFound
	default:
		return found.ID, nil
	}
}

func (t *tree) isStopping() bool { return t.stopping.Load() }

// Queue returns the number of calls that wait at a capsule.
func (t *tree) Queue(id string) int {
	t.mu.Lock()
	c := t.capsules[id]
	t.mu.Unlock()
	switch {
	case c == nil:
		return 0
	case c.pool != nil:
		return c.pool.Queue()
	default:
		return c.ref.Queue()
	}
}

// InstanceQueue returns the number of calls that wait at one instance of a pool.
func (t *tree) InstanceQueue(id string, number int) int {
	t.mu.Lock()
	c := t.capsules[id]
	t.mu.Unlock()
	if c == nil || c.pool == nil {
		return 0
	}
	return c.pool.QueueOf(number)
}

// Awaited returns the number of legs that capsules wait for.
func (t *tree) Awaited() int { return t.router.Awaited() }
