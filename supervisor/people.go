package supervisor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/approvals"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// Approval is something that a capsule may do only if a person approves it.
type Approval = messages.Approval

// Decision is a person's answer to an Approval.
type Decision = approvals.Decision

// The decisions. A capsule is asked about again unless a decision is remembered: it is for
// the same capsule, principal and action, and the same resource or another command line
// that begins with the action.
const (
	ApproveOnce    = approvals.Once    // this request
	ApproveSession = approvals.Session // and those like it until Serve returns
	ApproveAlways  = approvals.Always  // and those like it from now on, also after a restart
	Deny           = approvals.Deny    // this request
)

// ErrNoApproval: no request waits under that id, and no decision is remembered under it.
var ErrNoApproval = approvals.ErrNotFound

// Approvals returns the requests that wait for a person, oldest first. One that waits for a
// minute is denied. The error matches ErrNotServing.
func (s *Supervisor) Approvals() ([]Approval, error) {
	t, err := s.serving()
	if err != nil {
		return nil, fmt.Errorf("show the approvals: %w", err)
	}
	waiting, _ := t.approvals.Waiting()
	return waiting, nil
}

// WatchApprovals yields the requests that wait: at once, and after each change, until ctx
// ends or Serve returns.
func (s *Supervisor) WatchApprovals(ctx context.Context) (iter.Seq[[]Approval], error) {
	t, err := s.serving()
	if err != nil {
		return nil, fmt.Errorf("watch the approvals: %w", err)
	}
	return func(yield func([]Approval) bool) {
		for {
			waiting, changed := t.approvals.Waiting()
			if ctx.Err() != nil || !yield(waiting) {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
			case <-t.ended:
				return
			}
		}
	}, nil
}

// RememberedApprovals returns the decisions that are remembered: ApproveSession and
// ApproveAlways. Deny takes one back.
func (s *Supervisor) RememberedApprovals(ctx context.Context) ([]Approval, error) {
	t, err := s.serving()
	if err != nil {
		return nil, fmt.Errorf("show the approvals: %w", err)
	}
	return t.approvals.Grants(ctx)
}

// Decide answers the request that waits under an id. What the decision says to remember is
// durable when Decide returns. Deny also takes back the decision that is remembered under
// the id. The error matches ErrNoApproval, ErrInvalid or ErrNotServing.
func (s *Supervisor) Decide(ctx context.Context, id string, d Decision) error {
	t, err := s.serving()
	switch {
	case err != nil:
	case !slices.Contains([]Decision{ApproveOnce, ApproveSession, ApproveAlways, Deny}, d):
		err = fmt.Errorf("%w: there is no decision %q", ErrInvalid, d)
	default:
		err = t.approvals.Decide(ctx, id, d)
	}
	if err != nil {
		return fmt.Errorf("decide on %q: %w", id, err)
	}
	return nil
}

// SetSecret keeps a secret for a capsule, which need not be known yet, in place of an
// earlier one: encrypted, with the key in <home>/state/secrets.key. The capsule can find out
// whether there is one, but never what it is. The name has at most 256 bytes, and no `:`.
func (s *Supervisor) SetSecret(ctx context.Context, capsule, name, value string) error {
	return s.withSecrets("keep the secret", capsule, name, func(t *tree) error { return t.secrets.Set(ctx, capsule, name, value) })
}

// HasSecret reports whether a secret is kept for a capsule.
func (s *Supervisor) HasSecret(ctx context.Context, capsule, name string) (exists bool, err error) {
	err = s.withSecrets("look for the secret", capsule, name, func(t *tree) (err error) {
		exists, err = t.secrets.Has(ctx, capsule, name)
		return err
	})
	return exists, err
}

// Secret returns a secret that is kept for a capsule: for the functions of this program
// (Config.HostFunctions), which use it on the capsule's behalf. Its error matches ErrNoKey
// if there is none.
func (s *Supervisor) Secret(ctx context.Context, capsule, name string) (value string, err error) {
	err = s.withSecrets("read the secret", capsule, name, func(t *tree) (err error) {
		value, err = t.secrets.Get(ctx, capsule, name)
		if errors.Is(err, store.ErrNotFound) {
			err = ErrNoKey
		}
		return err
	})
	return value, err
}

// DeleteSecret forgets a secret, and reports whether there was one.
func (s *Supervisor) DeleteSecret(ctx context.Context, capsule, name string) (existed bool, err error) {
	err = s.withSecrets("forget the secret", capsule, name, func(t *tree) (err error) {
		existed, err = t.secrets.Delete(ctx, capsule, name)
		return err
	})
	return existed, err
}

func (s *Supervisor) withSecrets(what, capsule, name string, f func(*tree) error) error {
	t, err := s.serving()
	if err == nil && !home.ValidCapsule(capsule) {
		err = fmt.Errorf("%w: it is not the id of a capsule", ErrInvalid)
	}
	if err == nil {
		err = f(t)
	}
	if err != nil {
		return fmt.Errorf("%s %q of capsule %q: %w", what, name, capsule, err)
	}
	return nil
}
