package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// Instance is the state as one instance of a capsule uses it. The first use takes the
// fence of the capsule: all earlier instances can't write any more. So an instance that
// does not use its state costs the disk nothing.
//
// One that is prepared beside another one works on a draft until Settle.
type Instance struct {
	keeper  *Keeper
	capsule *capsule
	writer  *writer

	// using is held during each use, so that Settle comes between two.
	using lock
	draft *draft // nil if it writes; guarded by using
	holds bool   // the writer's turn, from its first use to its end: it has a draft alone

	fence  atomic.Pointer[store.Fence] // nil before the first use; set with the writer's turn
	closed bool                        // guarded by the writer's turn
}

var (
	_ capsulehost.State = (*Instance)(nil)
	_ actors.Settler    = (*Instance)(nil)
)

// Instance returns the state for a new generation of an instance of a capsule: one of a
// pool by its number, the only one by 0. Close it when the generation has ended.
func (k *Keeper) Instance(capsule string, number int) *Instance {
	c := k.capsule(capsule)
	return &Instance{keeper: k, capsule: c, writer: k.writer(c, number), using: make(lock, 1)}
}

// Beside is Instance for a generation that is prepared beside the one that writes: what it
// writes is a draft until Settle. With alone, the other one writes nothing from the first
// use of this one to its Settle or Close: it waits.
func (k *Keeper) Beside(capsule string, number int, alone bool) *Instance {
	i := k.Instance(capsule, number)
	i.draft = newDraft(k.cfg.Store, alone)
	return i
}

// closeTimeout limits how long a disk that hangs holds up the end of an instance.
const closeTimeout = time.Second

// Close ends the instance's use. A draft is forgotten.
func (i *Instance) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if i.holds {
		i.holds = false
	} else if i.writer.turn.lock(ctx) != nil {
		return
	}
	defer i.writer.turn.unlock()
	if i.fence.Load() != nil && !i.closed {
		i.writer.holders--
	}
	i.closed = true
}

// InUse returns the ids of the capsules of which an instance has used its state, sorted.
func (k *Keeper) InUse(ctx context.Context) ([]string, error) {
	writers := map[*writer]string{}
	k.mu.Lock()
	for id, c := range k.capsules {
		for _, w := range c.writers {
			writers[w] = id
		}
	}
	k.mu.Unlock()
	var ids []string
	for w, id := range writers {
		if err := w.turn.lock(ctx); err != nil {
			return nil, err
		}
		if w.holders > 0 {
			ids = append(ids, id)
		}
		w.turn.unlock()
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// Fence returns the fence with which the instance writes, and takes it with the first
// call. An instance that was closed before, or that has a draft, has none: the error
// matches store.ErrStale.
func (i *Instance) Fence(ctx context.Context) (store.Fence, error) {
	if taken := i.fence.Load(); taken != nil {
		return *taken, nil
	}
	if err := i.using.lock(ctx); err != nil {
		return store.Fence{}, err
	}
	defer i.using.unlock()
	if i.draft != nil {
		return store.Fence{}, fmt.Errorf("an instance of %q that has not taken over: %w", i.writer.name, store.ErrStale)
	}
	if err := i.writer.turn.lock(ctx); err != nil {
		return store.Fence{}, err
	}
	defer i.writer.turn.unlock()
	return i.take(ctx)
}

// take returns the fence. The caller has the writer's turn.
func (i *Instance) take(ctx context.Context) (store.Fence, error) {
	if taken := i.fence.Load(); taken != nil {
		return *taken, nil
	}
	if i.closed {
		return store.Fence{}, i.ended()
	}
	fence, err := store.Raise(ctx, i.keeper.cfg.Store, i.writer.name)
	if err == nil {
		i.took(fence)
	}
	return fence, err
}

func (i *Instance) took(fence store.Fence) {
	i.fence.Store(&fence)
	i.writer.holders++
}

func (i *Instance) ended() error {
	return fmt.Errorf("an instance of %q that has ended: %w", i.writer.name, store.ErrStale)
}

// use calls f with the name space of a principal, while no other generation writes.
func (i *Instance) use(ctx context.Context, principal string, f func(*Space) error) error {
	if err := i.using.lock(ctx); err != nil {
		return err
	}
	defer i.using.unlock()
	s := i.keeper.space(i.capsule, principal)
	if i.draft != nil {
		if err := i.begin(ctx); err != nil {
			return err
		}
		s.store, s.draft = i.draft, true
		return f(s)
	}
	if err := i.writer.turn.lock(ctx); err != nil {
		return err
	}
	defer i.writer.turn.unlock()
	fence, err := i.take(ctx)
	if err != nil {
		return err
	}
	s.fence = fence
	return f(s)
}

// Get implements capsulehost.State.
func (i *Instance) Get(ctx context.Context, principal, key string) ([]byte, error) {
	var value []byte
	err := i.use(ctx, principal, func(s *Space) (err error) {
		value, err = s.Get(ctx, key)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return value, err
}

// Set implements capsulehost.State.
func (i *Instance) Set(ctx context.Context, principal, key string, value []byte) error {
	if err := i.use(ctx, principal, func(s *Space) error { return s.Set(ctx, key, value) }); err != nil {
		return fmt.Errorf("set key %.100q to %d bytes: %w", key, len(value), err)
	}
	return nil
}

// Delete implements capsulehost.State.
func (i *Instance) Delete(ctx context.Context, principal, key string) error {
	err := i.use(ctx, principal, func(s *Space) error {
		_, err := s.Delete(ctx, key)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete key %.100q: %w", key, err)
	}
	return nil
}

// ListKeys implements capsulehost.State.
func (i *Instance) ListKeys(ctx context.Context, principal, prefix string) ([]string, error) {
	var entries []store.Entry
	err := i.use(ctx, principal, func(s *Space) (err error) {
		entries, err = s.Entries(ctx, prefix, false)
		return err
	})
	keys := make([]string, len(entries))
	for n, e := range entries {
		keys[n] = e.Key
	}
	return keys, err
}

// ClearPrefix implements capsulehost.State.
func (i *Instance) ClearPrefix(ctx context.Context, principal, prefix string) (int, error) {
	n := 0
	err := i.use(ctx, principal, func(s *Space) (err error) {
		n, err = s.Clear(ctx, prefix)
		return err
	})
	return n, err
}
