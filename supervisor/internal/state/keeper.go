package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// ErrQuota: the capsule would keep more than its quota; nothing was written.
var ErrQuota = errors.New("the capsule's quota of state is used up")

const (
	spacePrefix = "kv/"
	usagePrefix = "usage/"
)

// Config configures a Keeper.
type Config struct {
	Store store.Store
	// Principal owns the capsules: their name space if they run for nobody else.
	Principal string
	// Quota is the most that a capsule may keep, in bytes of its keys and values, unless
	// SetQuota says otherwise.
	Quota uint64
}

// Keeper keeps the state of all capsules. Its methods may be called from any goroutine.
type Keeper struct {
	cfg Config

	mu       sync.Mutex
	capsules map[string]*capsule
}

// capsule is what the instances of a capsule share.
type capsule struct {
	id    string
	used  atomic.Uint64 // bytes, as of the last write
	quota atomic.Uint64 // bytes

	writers map[int]*writer // by instance of a pool; guarded by the keeper's lock
}

// writer is what the generations of one instance share: the fence. The instances of a pool
// write beside each other.
type writer struct {
	name string // of the fence
	// turn is held while an instance writes, and while one takes the fence.
	turn    lock
	holders int // instances that have had a fence and have not ended; guarded by turn
}

// lock is a mutex, with one token: a wait for it can be given up.
type lock chan struct{}

func (l lock) lock(ctx context.Context) error {
	select {
	case l <- struct{}{}:
		return nil
	default: // ctx is not looked at unless there is something to wait for
	}
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l lock) unlock() { <-l }

// New returns a Keeper for a store. The sizes that it shows are those that the store has
// now; see Refresh.
func New(ctx context.Context, cfg Config) (*Keeper, error) {
	k := &Keeper{cfg: cfg, capsules: map[string]*capsule{}}
	if err := k.Refresh(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// Refresh reads the sizes again, after the store was restored.
func (k *Keeper) Refresh(ctx context.Context) error {
	entries, err := k.cfg.Store.List(ctx, store.Range{Prefix: usagePrefix})
	if err != nil {
		return fmt.Errorf("read how much state capsules keep: %w", err)
	}
	k.mu.Lock()
	for _, c := range k.capsules {
		c.used.Store(0)
	}
	k.mu.Unlock()
	for _, e := range entries {
		u, err := parseUsage(e.Value)
		if err != nil {
			return fmt.Errorf("read how much state capsules keep: key %q: %w", e.Key, err)
		}
		k.capsule(strings.TrimPrefix(e.Key, usagePrefix)).used.Store(u.bytes)
	}
	return nil
}

func (k *Keeper) capsule(id string) *capsule {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.capsules[id]
	if c == nil {
		c = &capsule{id: id, writers: map[int]*writer{}}
		c.quota.Store(k.cfg.Quota)
		k.capsules[id] = c
	}
	return c
}

// writer returns that of an instance of a pool, or of a capsule's only one, which is
// number 0.
func (k *Keeper) writer(c *capsule, number int) *writer {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := c.writers[number]
	if w == nil {
		w = &writer{name: c.id, turn: make(lock, 1)}
		if number > 0 {
			w.name = fmt.Sprintf("%s#%d", c.id, number)
		}
		c.writers[number] = w
	}
	return w
}

// Used returns how much a capsule keeps, in bytes of its keys and values.
func (k *Keeper) Used(capsule string) uint64 { return k.capsule(capsule).used.Load() }

// Quota returns the most that a capsule may keep, in bytes.
func (k *Keeper) Quota(capsule string) uint64 { return k.capsule(capsule).quota.Load() }

// SetQuota changes it. What a capsule keeps already, it keeps.
func (k *Keeper) SetQuota(capsule string, bytes uint64) { k.capsule(capsule).quota.Store(bytes) }

// Space returns the state of a capsule for a principal, "" for the capsule's own. Its
// writes are an operator's: no instance makes them stale.
func (k *Keeper) Space(capsule, principal string) *Space {
	return k.space(k.capsule(capsule), principal)
}

func (k *Keeper) space(c *capsule, principal string) *Space {
	if principal == "" {
		principal = k.cfg.Principal
	}
	return &Space{store: k.cfg.Store, capsule: c, prefix: spacePrefix + principal + "/" + c.id + "/"}
}

// Space is one name space. Its methods may be called from any goroutine.
type Space struct {
	store   store.Store
	capsule *capsule
	prefix  string
	fence   store.Fence
	draft   bool // what it writes is not kept yet
}

// Get returns a value. Its error matches store.ErrNotFound if there is none.
func (s *Space) Get(ctx context.Context, key string) ([]byte, error) {
	e, err := s.store.Get(ctx, s.prefix+key)
	return e.Value, err
}

// Entries returns the entries whose keys have a prefix, ordered by key; the values only if
// they are wanted. Their keys are those of the name space.
func (s *Space) Entries(ctx context.Context, prefix string, values bool) ([]store.Entry, error) {
	entries, err := s.store.List(ctx, store.Range{Prefix: s.prefix + prefix, KeysOnly: !values})
	for i := range entries {
		entries[i].Key = entries[i].Key[len(s.prefix):]
	}
	return entries, err
}

// Set sets a value. Its error matches ErrQuota, or store's errors.
func (s *Space) Set(ctx context.Context, key string, value []byte) error {
	value = bytes.Clone(value) // a write that is given up still needs it
	_, err := s.change(ctx, func() ([]store.Write, usage, error) {
		old, err := s.list(ctx, key, 1)
		if err != nil {
			return nil, usage{}, err
		}
		change := usage{uint64(len(key) + len(value)), 1}
		if len(old) > 0 && old[0].Key == s.prefix+key {
			change = change.minus(s.usageOf(old[:1]))
		}
		return []store.Write{store.Put(s.prefix+key, value)}, change, nil
	})
	return err
}

// Delete deletes a key, and reports whether there was one.
func (s *Space) Delete(ctx context.Context, key string) (bool, error) {
	n, err := s.change(ctx, func() ([]store.Write, usage, error) {
		old, err := s.list(ctx, key, 1)
		if err != nil || len(old) == 0 || old[0].Key != s.prefix+key {
			return nil, usage{}, err
		}
		return deletes(old), usage{}.minus(s.usageOf(old)), nil
	})
	return n > 0, err
}

// Clear deletes the keys with a prefix, all at one moment, and returns how many.
func (s *Space) Clear(ctx context.Context, prefix string) (int, error) {
	return s.change(ctx, func() ([]store.Write, usage, error) {
		old, err := s.list(ctx, prefix, 0)
		return deletes(old), usage{}.minus(s.usageOf(old)), err
	})
}

// list returns entries without values; their keys are the store's.
func (s *Space) list(ctx context.Context, prefix string, limit int) ([]store.Entry, error) {
	return s.store.List(ctx, store.Range{Prefix: s.prefix + prefix, Limit: limit, KeysOnly: true})
}

func deletes(entries []store.Entry) []store.Write {
	writes := make([]store.Write, len(entries))
	for i, e := range entries {
		writes[i] = store.Delete(e.Key)
	}
	return writes
}

// change makes writes together with what they change of the capsule's usage, and returns
// how many. plan is called again if another write of the capsule was faster.
func (s *Space) change(ctx context.Context, plan func() ([]store.Write, usage, error)) (int, error) {
	key := usagePrefix + s.capsule.id
	for {
		e, err := s.store.Get(ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return 0, err
		}
		before, err := parseUsage(e.Value)
		if err != nil {
			return 0, fmt.Errorf("key %q: %w", key, err)
		}
		writes, change, err := plan()
		if err != nil || len(writes) == 0 {
			return 0, err
		}
		after := before.plus(change)
		if err := s.capsule.allows(before, after); err != nil {
			return 0, err
		}
		n := len(writes)
		writes = append(writes, store.Put(key, after.text()))
		_, err = s.store.Txn(ctx, s.fence, []store.Compare{{Key: key, Revision: e.Revision}}, writes)
		switch {
		case errors.Is(err, store.ErrConflict) && ctx.Err() == nil:
			continue
		case err != nil:
			return 0, err
		}
		if !s.draft {
			s.capsule.used.Store(after.bytes)
		}
		return n, nil
	}
}

// allows returns an error if a change would exceed the quota.
func (c *capsule) allows(before, after usage) error {
	if quota := c.quota.Load(); after.bytes > quota && after.bytes > before.bytes {
		return fmt.Errorf("%w: it would keep %d bytes of %d; it can delete keys, or an operator can raise [state] quota",
			ErrQuota, after.bytes, quota)
	}
	return nil
}
