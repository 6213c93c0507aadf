package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/approvals"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/identity"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/secrets"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/state"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/topiclog"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// openState opens the store, unless the configuration brought one.
func (t *tree) openState(ctx context.Context, path string) error {
	s := t.cfg.Store
	if s == nil {
		opened, err := store.Open(path, store.Options{
			Durability: t.cfg.StateDurability, Committed: t.commits.add, Log: t.cfg.Log,
		})
		if err != nil {
			return err
		}
		t.opened, s = opened, opened
	}
	kept, err := state.New(ctx, state.Config{Store: s, Principal: t.cfg.Principal, Quota: t.cfg.StateQuota})
	t.state, t.identities = kept, identity.New(s)
	if err == nil {
		t.topics, err = topiclog.New(ctx, topiclog.Config{Store: s, Log: t.cfg.Log})
	}
	t.approvals = approvals.New(approvals.Config{Store: s, Principal: t.cfg.Principal, Observe: t.observe, Announce: t.announceApproval})
	t.secrets = secrets.New(s, t.owner.home.SecretsKey(), t.cfg.Principal)
	return err
}

func (t *tree) closeState() {
	if t.topics != nil {
		t.topics.Close()
	}
	if t.opened == nil {
		return
	}
	if err := t.opened.Close(); err != nil {
		t.cfg.Log.Warn("closing the state failed", "err", err)
	}
}

// ShowState adds how much durable state a capsule keeps.
func (t *tree) ShowState(c *messages.Capsule) {
	c.StateBytes, c.StateQuota = t.state.Used(c.ID), t.state.Quota(c.ID)
}

// ShowStore adds the store that the tree has opened, if it has.
func (t *tree) ShowStore(shown *messages.Tree) {
	if t.opened != nil {
		shown.StoreBytes = uint64(t.opened.Size()) //nolint:gosec // not negative
		t.commits.show(shown)
	}
}

// commits counts those of the store. It is safe for concurrent use.
type commits struct {
	mu           sync.Mutex
	took         messages.Counts
	transactions uint64
}

func (c *commits) add(took time.Duration, transactions int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took.Add(took)
	c.transactions += uint64(transactions) //nolint:gosec // not negative
}

func (c *commits) show(t *messages.Tree) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.StoreCommits, t.StoreTransactions = c.took.Histogram(), c.transactions
}

// storedValue returns what a capsule keeps under the name of a setting, nil if nothing.
func (t *tree) storedValue(ctx context.Context, capsule, name string) ([]byte, error) {
	value, err := t.state.Space(capsule, "").Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return value, err
}

// Backup writes the state of all capsules as of one moment to w: a file for Restore, while
// Serve runs, or for store.RestoreFile. Capsules go on meanwhile.
func (s *Supervisor) Backup(_ context.Context, w io.Writer) error {
	t, err := s.serving()
	if err == nil && t.opened == nil {
		err = errOwnStore
	}
	if err == nil {
		err = t.opened.Backup(w)
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// Restore replaces the state of all capsules by a backup, at one moment, and restarts the
// capsules that have used theirs, so that they read what is there now. A backup that is
// damaged changes nothing. It returns the ids of those that were restarted.
func (s *Supervisor) Restore(ctx context.Context, r io.Reader) (restarted []string, err error) {
	t, err := s.serving()
	if err == nil && t.opened == nil {
		err = errOwnStore
	}
	if err == nil {
		err = t.opened.Restore(r)
	}
	if err == nil {
		err = errors.Join(t.state.Refresh(ctx), t.topics.Refresh(ctx))
	}
	var ids []string
	if err == nil {
		ids, err = t.state.InUse(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	for _, id := range ids {
		switch err := s.Restart(ctx, id); {
		case err == nil:
			restarted = append(restarted, id)
		case errors.Is(err, ErrRefused), errors.Is(err, ErrNotFound): // it does not run
		default:
			return restarted, fmt.Errorf("restore: the state was restored, but: %w", err)
		}
	}
	return restarted, nil
}

var errOwnStore = errors.New("the program brought its own store, which it must save itself")

// State is a capsule's durable state in the name space of one principal, as an operator
// sees and changes it. Get one with [Supervisor.State]. Its methods may be called from any
// goroutine, while Serve runs. Their errors match ErrNotServing, ErrNotFound if the capsule
// is unknown and keeps nothing, or ErrInvalidKey.
type State struct {
	sup                *Supervisor
	capsule, principal string
	unknown            bool // the capsule may be
}

// StateEntry is one key of a capsule's state.
type StateEntry struct {
	Key   string
	Value []byte // nil if only keys were requested
	Size  int    // of the value, in bytes
}

// State returns the state of a capsule, in the name space of the system's own principal.
func (s *Supervisor) State(capsule string) *State { return &State{sup: s, capsule: capsule} }

// For returns the state that the capsule keeps for another principal.
func (s *State) For(principal string) *State {
	return &State{sup: s.sup, capsule: s.capsule, principal: principal, unknown: s.unknown}
}

// OfUnknown returns the state also of a capsule that is not known yet and keeps nothing, as
// while it is installed.
func (s *State) OfUnknown() *State {
	return &State{sup: s.sup, capsule: s.capsule, principal: s.principal, unknown: true}
}

// Get returns a value. Its error matches ErrNoKey if there is none.
func (s *State) Get(ctx context.Context, key string) ([]byte, error) {
	var value []byte
	err := s.use("get from", key, nil, func(space *state.Space) (err error) {
		value, err = space.Get(ctx, key)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: capsule %q keeps nothing under %q", ErrNoKey, s.capsule, key)
	}
	return value, err
}

// Set sets a value, of at most 10 MiB, within the capsule's quota. It is durable when Set
// returns nil. The capsule is not told: what it has read already, it may write again.
func (s *State) Set(ctx context.Context, key string, value []byte) error {
	return s.use("set in", key, value, func(space *state.Space) error { return space.Set(ctx, key, value) })
}

// Delete deletes a key, and reports whether there was one.
func (s *State) Delete(ctx context.Context, key string) (existed bool, err error) {
	err = s.use("delete from", key, nil, func(space *state.Space) (err error) {
		existed, err = space.Delete(ctx, key)
		return err
	})
	return existed, err
}

// Keys returns the entries whose keys have a prefix, in the order of their keys, without
// their values.
func (s *State) Keys(ctx context.Context, prefix string) ([]StateEntry, error) {
	return s.list(ctx, prefix, false)
}

// Entries is Keys with the values.
func (s *State) Entries(ctx context.Context, prefix string) ([]StateEntry, error) {
	return s.list(ctx, prefix, true)
}

// Page returns at most limit entries, without their values, whose keys have a prefix and
// come after the key after; "" means from the first.
func (s *State) Page(ctx context.Context, prefix, after string, limit int) (entries []StateEntry, err error) {
	err = s.use("list", "-", nil, func(space *state.Space) error {
		found, err := space.Page(ctx, prefix, after, limit)
		for _, e := range found {
			entries = append(entries, StateEntry{Key: e.Key, Size: e.Size})
		}
		return err
	})
	return entries, err
}

// Principals returns the principals for which the capsule keeps something, sorted, at
// most 1,000.
func (s *State) Principals(ctx context.Context) (principals []string, err error) {
	t, err := s.sup.serving()
	if err == nil {
		principals, err = t.state.Principals(ctx, s.capsule, principalsListed)
	}
	if err != nil {
		return nil, fmt.Errorf("list the principals of capsule %q: %w", s.capsule, err)
	}
	return principals, nil
}

// principalsListed limits Principals.
const principalsListed = 1000

func (s *State) list(ctx context.Context, prefix string, values bool) (entries []StateEntry, err error) {
	err = s.use("list", "-", nil, func(space *state.Space) error {
		found, err := space.Entries(ctx, prefix, values)
		for _, e := range found {
			entries = append(entries, StateEntry{Key: e.Key, Value: e.Value, Size: e.Size})
		}
		return err
	})
	return entries, err
}

// use checks the arguments and calls f with the name space.
func (s *State) use(what, key string, value []byte, f func(*state.Space) error) error {
	t, err := s.sup.serving()
	if err == nil {
		err = s.check(t, key, value)
	}
	if err == nil {
		err = f(t.state.Space(s.capsule, s.principal))
	}
	if err != nil {
		return fmt.Errorf("%s the state of capsule %q: %w", what, s.capsule, err)
	}
	return nil
}

func (s *State) check(t *tree, key string, value []byte) error {
	if s.unknown && !home.ValidCapsule(s.capsule) {
		return fmt.Errorf("%w: it is not the id of a capsule", ErrInvalidKey)
	}
	if !s.unknown && s.sup.journal.Detail(s.capsule) == nil && t.state.Used(s.capsule) == 0 {
		return ErrNotFound
	}
	if s.principal != "" {
		if _, err := home.ParsePrincipal(s.principal); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalidKey, err)
		}
	}
	if err := capsulehost.CheckStateKey(key); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidKey, err)
	}
	if len(value) > capsulehost.MaxStateValue {
		return fmt.Errorf("%w: the value has %d bytes, over the limit of %d", ErrInvalidKey, len(value), capsulehost.MaxStateValue)
	}
	return nil
}
