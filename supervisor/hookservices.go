package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/secrets"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/state"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// Question is what a capsule asks the person who installs it.
type Question = capsulehost.Question

// Answer is the answer to a Question.
type Answer = capsulehost.Answer

// HookStore keeps the state and the secrets of one capsule for its hook.
type HookStore interface {
	capsulehost.State
	SetSecret(ctx context.Context, name, value string) error
	HasSecret(ctx context.Context, name string) (bool, error)
}

// hookServices returns what makes the services of an installation's hook: files and HTTP as
// the manifest grants them, state, and prompts. As in Astrid, a hook has no peers, no event
// bus, no identities, sockets or processes, and every approval is denied.
func (s *Supervisor) hookServices(o InstallOptions) func(*manifest.Manifest) (*capsulehost.Services, func()) {
	return func(m *manifest.Manifest) (*capsulehost.Services, func()) {
		services := &capsulehost.Services{Files: s.filesFor(m)}
		releaseHTTP := s.giveHTTP(services, m)
		own := &ownHookStore{sup: s, capsule: m.ID()}
		var kept HookStore = own
		if o.Store != nil {
			kept = o.Store(m.ID())
		}
		services.State = kept
		services.Prompts = &hookPrompts{capsule: m.ID(), ask: o.Ask, kept: kept}
		return services, func() {
			releaseHTTP()
			own.close()
		}
	}
}

// hookPrompts asks whoever installs the capsule.
type hookPrompts struct {
	capsule string
	ask     func(ctx context.Context, capsule string, q Question) (Answer, error)
	kept    HookStore
}

// Elicit implements capsulehost.Prompts.
func (p *hookPrompts) Elicit(ctx context.Context, q Question) (Answer, error) {
	if p.ask == nil {
		return Answer{}, fmt.Errorf("it asks for %q, and nobody is there to answer", q.Key)
	}
	answer, err := p.ask(ctx, p.capsule, q)
	if err == nil {
		err = q.Check(answer)
	}
	if err != nil || q.Kind != capsulehost.AskSecret {
		return answer, err
	}
	if err := p.kept.SetSecret(ctx, q.Key, answer.Value); err != nil {
		return Answer{}, fmt.Errorf("keep the secret %q: %w", q.Key, err)
	}
	return Answer{}, nil
}

// HasSecret implements capsulehost.Prompts.
func (p *hookPrompts) HasSecret(ctx context.Context, key string) (bool, error) {
	return p.kept.HasSecret(ctx, key)
}

// ownHookStore is the Supervisor's own store: that of the tree that serves, or else one that
// is opened when the hook first needs it.
type ownHookStore struct {
	sup     *Supervisor
	capsule string

	mu     sync.Mutex
	space  *state.Keeper // nil before the first use
	box    *secrets.Box
	opened *store.Bolt // nil unless it was opened for the hook
}

var _ HookStore = (*ownHookStore)(nil)

// open returns what keeps state and secrets.
func (k *ownHookStore) open(ctx context.Context) (*state.Keeper, *secrets.Box, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.space != nil {
		return k.space, k.box, nil
	}
	s := k.sup
	if t, err := s.serving(); err == nil {
		k.space, k.box = t.state, t.secrets
		return k.space, k.box, nil
	}
	kept := s.cfg.Store
	if kept == nil {
		opened, err := store.Open(s.home.StatePath(), store.Options{Durability: store.DurabilityCommit, Log: s.cfg.Log})
		if err != nil {
			return nil, nil, err
		}
		k.opened, kept = opened, opened
	}
	space, err := state.New(ctx, state.Config{Store: kept, Principal: s.cfg.Principal, Quota: s.cfg.StateQuota})
	if err != nil {
		return nil, nil, err
	}
	k.space, k.box = space, secrets.New(kept, s.home.SecretsKey(), s.cfg.Principal)
	return k.space, k.box, nil
}

func (k *ownHookStore) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.opened == nil {
		return
	}
	if err := k.opened.Close(); err != nil {
		k.sup.cfg.Log.Warn("closing the state failed", "err", err)
	}
}

// Get implements capsulehost.State.
func (k *ownHookStore) Get(ctx context.Context, principal, key string) ([]byte, error) {
	kept, _, err := k.open(ctx)
	if err != nil {
		return nil, err
	}
	value, err := kept.Space(k.capsule, principal).Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return value, err
}

// Set implements capsulehost.State.
func (k *ownHookStore) Set(ctx context.Context, principal, key string, value []byte) error {
	kept, _, err := k.open(ctx)
	if err != nil {
		return err
	}
	return kept.Space(k.capsule, principal).Set(ctx, key, value)
}

// Delete implements capsulehost.State.
func (k *ownHookStore) Delete(ctx context.Context, principal, key string) error {
	kept, _, err := k.open(ctx)
	if err != nil {
		return err
	}
	_, err = kept.Space(k.capsule, principal).Delete(ctx, key)
	return err
}

// ListKeys implements capsulehost.State.
func (k *ownHookStore) ListKeys(ctx context.Context, principal, prefix string) ([]string, error) {
	kept, _, err := k.open(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := kept.Space(k.capsule, principal).Entries(ctx, prefix, false)
	keys := make([]string, len(entries))
	for n, e := range entries {
		keys[n] = e.Key
	}
	return keys, err
}

// ClearPrefix implements capsulehost.State.
func (k *ownHookStore) ClearPrefix(ctx context.Context, principal, prefix string) (int, error) {
	kept, _, err := k.open(ctx)
	if err != nil {
		return 0, err
	}
	return kept.Space(k.capsule, principal).Clear(ctx, prefix)
}

// SetSecret implements HookStore.
func (k *ownHookStore) SetSecret(ctx context.Context, name, value string) error {
	_, box, err := k.open(ctx)
	if err != nil {
		return err
	}
	return box.Set(ctx, k.capsule, name, value)
}

// HasSecret implements HookStore.
func (k *ownHookStore) HasSecret(ctx context.Context, name string) (bool, error) {
	_, box, err := k.open(ctx)
	if err != nil {
		return false, err
	}
	return box.Has(ctx, k.capsule, name)
}
