package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// Instance is the state as one instance of a capsule uses it. The first use takes the
// fence of the capsule: all earlier instances can't write any more. So an instance that
// does not use its state costs the disk nothing, and one that is loaded beside another
// leaves it undisturbed until then.
type Instance struct {
	keeper  *Keeper
	capsule *capsule
	writer  *writer

	// fence is zero before the first use. It and closed are guarded by writer.fences.
	fence  store.Fence
	closed bool
}

var _ capsulehost.State = (*Instance)(nil)

// Instance returns the state for a new generation of an instance of a capsule: one of a
// pool by its number, the only one by 0. Close it when the generation has ended.
func (k *Keeper) Instance(capsule string, number int) *Instance {
	c := k.capsule(capsule)
	return &Instance{keeper: k, capsule: c, writer: k.writer(c, number)}
}

// handBackTimeout limits how long a disk that hangs holds up the end of an instance.
const handBackTimeout = time.Second

// Close ends the instance's use. If it has taken the fence from an instance that runs on,
// as a new version that did not come up has, then that one gets it back.
func (i *Instance) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), handBackTimeout)
	defer cancel()
	c := i.writer
	if c.lock(ctx) != nil {
		return
	}
	defer c.unlock()
	i.closed = true
	at := slices.Index(c.holders, i)
	if at < 0 {
		return
	}
	isNewest := at == len(c.holders)-1
	c.holders = slices.Delete(c.holders, at, at+1)
	if !isNewest || len(c.holders) == 0 {
		return
	}
	// If it fails, the earlier instance is refused its next write, and restarted.
	if fence, err := store.HandBack(ctx, i.keeper.cfg.Store, i.fence); err == nil {
		c.holders[len(c.holders)-1].fence = fence
	}
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
		if err := w.lock(ctx); err != nil {
			return nil, err
		}
		if len(w.holders) > 0 {
			ids = append(ids, id)
		}
		w.unlock()
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func (w *writer) lock(ctx context.Context) error {
	select {
	case w.fences <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *writer) unlock() { <-w.fences }

// space returns the name space of a principal, with the instance's fence.
func (i *Instance) space(ctx context.Context, principal string) (*Space, error) {
	s := i.keeper.space(i.capsule, principal)
	fence, err := i.Fence(ctx)
	if err != nil {
		return nil, err
	}
	s.fence = fence
	return s, nil
}

// Fence returns the fence with which the instance writes, and takes it with the first
// call. An instance that was closed before has none: the error matches store.ErrStale.
func (i *Instance) Fence(ctx context.Context) (store.Fence, error) {
	if err := i.writer.lock(ctx); err != nil {
		return store.Fence{}, err
	}
	defer i.writer.unlock()
	switch {
	case i.fence != (store.Fence{}):
		return i.fence, nil
	case i.closed:
		return store.Fence{}, fmt.Errorf("an instance of %q that has ended: %w", i.writer.name, store.ErrStale)
	}
	fence, err := store.Raise(ctx, i.keeper.cfg.Store, i.writer.name)
	if err != nil {
		return store.Fence{}, err
	}
	i.fence = fence
	i.writer.holders = append(i.writer.holders, i)
	return fence, nil
}

// Get implements capsulehost.State.
func (i *Instance) Get(ctx context.Context, principal, key string) ([]byte, error) {
	s, err := i.space(ctx, principal)
	if err != nil {
		return nil, err
	}
	value, err := s.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return value, err
}

// Set implements capsulehost.State.
func (i *Instance) Set(ctx context.Context, principal, key string, value []byte) error {
	s, err := i.space(ctx, principal)
	if err != nil {
		return err
	}
	if err := s.Set(ctx, key, value); err != nil {
		return fmt.Errorf("set key %.100q to %d bytes: %w", key, len(value), err)
	}
	return nil
}

// Delete implements capsulehost.State.
func (i *Instance) Delete(ctx context.Context, principal, key string) error {
	s, err := i.space(ctx, principal)
	if err != nil {
		return err
	}
	if _, err = s.Delete(ctx, key); err != nil {
		return fmt.Errorf("delete key %.100q: %w", key, err)
	}
	return nil
}

// ListKeys implements capsulehost.State.
func (i *Instance) ListKeys(ctx context.Context, principal, prefix string) ([]string, error) {
	s, err := i.space(ctx, principal)
	if err != nil {
		return nil, err
	}
	entries, err := s.Entries(ctx, prefix, false)
	keys := make([]string, len(entries))
	for n, e := range entries {
		keys[n] = e.Key
	}
	return keys, err
}

// ClearPrefix implements capsulehost.State.
func (i *Instance) ClearPrefix(ctx context.Context, principal, prefix string) (int, error) {
	s, err := i.space(ctx, principal)
	if err != nil {
		return 0, err
	}
	return s.Clear(ctx, prefix)
}
