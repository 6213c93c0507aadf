package state

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// maxDraft is how many keys a draft may change; and how many reads of others it records.
const maxDraft = 10_000

// draft is a view of the store with changes that are not made yet: those of an instance
// that is prepared beside the one that writes. It records what was read, so that Settle
// finds out whether that is still true.
type draft struct {
	store.Store
	alone bool // nobody else writes, so there is no need to record anything

	used    bool
	writes  map[string]store.Write
	changed []string                          // their keys, sorted
	read    map[string]uint64                 // revisions by key
	listed  map[store.Range][sha256.Size]byte // digests of the keys and their revisions
	blind   bool                              // it has read more than it could record
}

func newDraft(s store.Store, alone bool) *draft {
	return &draft{
		Store: s, alone: alone,
		writes: map[string]store.Write{}, read: map[string]uint64{}, listed: map[store.Range][sha256.Size]byte{},
	}
}

// Get implements store.Store.
func (d *draft) Get(ctx context.Context, key string) (store.Entry, error) {
	if w, ok := d.writes[key]; ok {
		if w.Deletes {
			return store.Entry{}, store.ErrNotFound
		}
		return store.Entry{Key: key, Value: bytes.Clone(w.Value), Size: len(w.Value), Revision: 1}, nil
	}
	e, err := d.Store.Get(ctx, key)
	if (err == nil || errors.Is(err, store.ErrNotFound)) && !strings.HasPrefix(key, usagePrefix) && d.mayRecord() {
		d.read[key] = e.Revision
	}
	return e, err
}

// List implements store.Store.
func (d *draft) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	var changed []store.Entry
	below := r
	at, _ := slices.BinarySearch(d.changed, max(r.Prefix, r.After))
	for _, key := range d.changed[at:] {
		if !strings.HasPrefix(key, r.Prefix) {
			break
		}
		w := d.writes[key]
		switch {
		case r.After != "" && key == r.After:
		case w.Deletes && r.Limit > 0:
			below.Limit++
		case w.Deletes:
		case r.KeysOnly:
			changed = append(changed, store.Entry{Key: key, Size: len(w.Value), Revision: 1})
		default:
			changed = append(changed, store.Entry{Key: key, Value: bytes.Clone(w.Value), Size: len(w.Value), Revision: 1})
		}
	}
	entries, err := d.Store.List(ctx, below)
	if err != nil {
		return nil, err
	}
	if d.mayRecord() {
		below.KeysOnly = true
		d.listed[below] = digest(entries)
	}
	entries = slices.DeleteFunc(entries, func(e store.Entry) bool {
		_, changed := d.writes[e.Key]
		return changed
	})
	entries = append(entries, changed...)
	slices.SortFunc(entries, func(a, b store.Entry) int { return cmp.Compare(a.Key, b.Key) })
	if r.Limit > 0 && len(entries) > r.Limit {
		entries = entries[:r.Limit]
	}
	return entries, nil
}

// Txn implements store.Store. It compares nothing: the draft has one user at a time.
func (d *draft) Txn(_ context.Context, _ store.Fence, _ []store.Compare, writes []store.Write) (uint64, error) {
	for _, w := range writes {
		at, known := slices.BinarySearch(d.changed, w.Key)
		if !known {
			if len(d.changed) > maxDraft { // one is the usage
				return 0, fmt.Errorf("before it has taken over, it may change %d keys: let it change the others in a call", maxDraft)
			}
			d.changed = slices.Insert(d.changed, at, w.Key)
		}
		d.writes[w.Key] = w
	}
	return 1, nil
}

// mayRecord reports whether what is read is to be recorded, and there is room.
func (d *draft) mayRecord() bool {
	d.blind = d.blind || len(d.read)+len(d.listed) >= maxDraft
	return !d.alone && !d.blind
}

// stillTrue reports whether the store still has what was read.
func (d *draft) stillTrue(ctx context.Context) (bool, error) {
	if d.blind {
		return false, nil
	}
	for key, revision := range d.read {
		e, err := d.Store.Get(ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
		if e.Revision != revision {
			return false, nil
		}
	}
	for r, was := range d.listed {
		entries, err := d.Store.List(ctx, r)
		if err != nil || digest(entries) != was {
			return false, err
		}
	}
	return true, nil
}

func digest(entries []store.Entry) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, e := range entries {
		_ = binary.Write(h, binary.BigEndian, [2]uint64{uint64(len(e.Key)), e.Revision})
		_, _ = h.Write([]byte(e.Key))
	}
	h.Sum(sum[:0])
	return sum
}

// changes returns the writes, and what they change of the capsule's usage now.
func (d *draft) changes(ctx context.Context) ([]store.Write, usage, error) {
	var writes []store.Write
	var change usage
	for _, key := range d.changed {
		if strings.HasPrefix(key, usagePrefix) {
			continue
		}
		w := d.writes[key]
		name := uint64(len(strings.SplitN(key, "/", 4)[3]))
		old, err := d.Store.List(ctx, store.Range{Prefix: key, Limit: 1, KeysOnly: true})
		if err != nil {
			return nil, usage{}, err
		}
		exists := len(old) > 0 && old[0].Key == key
		if exists {
			change = change.minus(usage{name + uint64(old[0].Size), 1}) //nolint:gosec // not negative
		}
		if !w.Deletes {
			change = change.plus(usage{name + uint64(len(w.Value)), 1})
		}
		if exists || !w.Deletes {
			writes = append(writes, w)
		}
	}
	return writes, change, nil
}

// begin begins a use of the draft. The caller has i.using.
func (i *Instance) begin(ctx context.Context) error {
	i.draft.used = true
	if i.draft.alone && !i.holds {
		if err := i.writer.turn.lock(ctx); err != nil {
			return err
		}
		i.holds = true
	}
	return nil
}

// Settle implements actors.Settler: at one moment, the draft is written, and the instance
// takes the fence. If it fails, nothing has changed.
func (i *Instance) Settle(ctx context.Context) error {
	if err := i.using.lock(ctx); err != nil {
		return err
	}
	defer i.using.unlock()
	switch d := i.draft; {
	case d == nil:
		return nil
	case !d.used: // it takes the fence when it first uses its state
		i.draft = nil
		return nil
	}
	if !i.holds {
		if err := i.writer.turn.lock(ctx); err != nil {
			return err
		}
		defer i.writer.turn.unlock()
	}
	if i.closed {
		return i.ended()
	}
	fence, err := i.settle(ctx)
	if err != nil {
		return err
	}
	i.took(fence)
	i.draft = nil
	if i.holds {
		i.holds = false
		i.writer.turn.unlock()
	}
	return nil
}

// settle is Settle, with the writer's turn. Every change of the capsule's state changes its
// usage: if that is the same at the end, all that was looked at was true at one moment.
func (i *Instance) settle(ctx context.Context) (store.Fence, error) {
	s, key := i.keeper.cfg.Store, usagePrefix+i.capsule.id
	for {
		e, err := s.Get(ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return store.Fence{}, err
		}
		before, err := parseUsage(e.Value)
		if err != nil {
			return store.Fence{}, fmt.Errorf("key %q: %w", key, err)
		}
		if !i.draft.alone {
			if ok, err := i.draft.stillTrue(ctx); err != nil {
				return store.Fence{}, err
			} else if !ok {
				return store.Fence{}, actors.ErrOutdated
			}
		}
		writes, change, err := i.draft.changes(ctx)
		after := before.plus(change)
		if err == nil {
			err = i.capsule.allows(before, after)
		}
		if err != nil {
			return store.Fence{}, err
		}
		if len(writes) > 0 {
			writes = append(writes, store.Put(key, after.text()))
		}
		fence, err := store.RaiseWith(ctx, s, i.writer.name, []store.Compare{{Key: key, Revision: e.Revision}}, writes)
		switch {
		case errors.Is(err, store.ErrConflict) && ctx.Err() == nil:
			continue
		case err == nil:
			i.capsule.used.Store(after.bytes)
		}
		return fence, err
	}
}
