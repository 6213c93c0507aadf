package store

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
)

// Memory is a Store that ends with its process. Create one with [NewMemory].
type Memory struct {
	hub hub

	mu       sync.RWMutex
	entries  memoryState
	revision uint64
	closed   bool
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{entries: memoryState{}} }

// Get implements Store.
func (m *Memory) Get(_ context.Context, key string) (Entry, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return Entry{}, ErrClosed
	}
	e, ok := m.entries[key]
	if !ok {
		return Entry{}, ErrNotFound
	}
	return Entry{Key: key, Value: append([]byte{}, e.Value...), Size: len(e.Value), Revision: e.Revision}, nil
}

// List implements Store.
func (m *Memory) List(_ context.Context, r Range) ([]Entry, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	var found []Entry
	for key, e := range m.entries {
		if strings.HasPrefix(key, r.Prefix) && key > r.After {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	if r.Limit > 0 && len(found) > r.Limit {
		found = found[:r.Limit]
	}
	for i := range found {
		if e := &found[i]; r.KeysOnly {
			e.Value = nil
		} else {
			e.Value = append([]byte{}, e.Value...)
		}
	}
	return found, nil
}

// Txn implements Store.
func (m *Memory) Txn(ctx context.Context, fence Fence, compare []Compare, writes []Write) (uint64, error) {
	if err := problems(writes); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return 0, ErrClosed
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	}
	if err := apply(m.entries, fence, compare, writes, m.revision+1); err != nil {
		return 0, err
	}
	if len(writes) > 0 {
		m.revision++
		m.hub.tell(writes, m.revision)
	}
	return m.revision, nil
}

// Watch implements Store.
func (m *Memory) Watch(ctx context.Context, prefix string, after uint64) iter.Seq2[Change, error] {
	return watch(ctx, m, &m.hub, prefix, after)
}

// Close implements Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.hub.close()
	return nil
}

// memoryState is the state of a Memory, whose lock the caller holds.
type memoryState map[string]Entry

func (s memoryState) get(key string) (value []byte, revision uint64, ok bool) {
	e, ok := s[key]
	return e.Value, e.Revision, ok
}

func (s memoryState) put(key string, value []byte, revision uint64) error {
	s[key] = Entry{Key: key, Value: bytes.Clone(value), Size: len(value), Revision: revision}
	return nil
}

func (s memoryState) remove(key string) error {
	delete(s, key)
	return nil
}
