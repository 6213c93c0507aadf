package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// fencePrefix begins the keys that hold each writer's newest fence, as a decimal number.
const fencePrefix = "fence/"

// Raise makes a new fence for a writer: all its earlier ones are stale from now on. A new
// generation raises it before it reads, so that what it reads stays true.
func Raise(ctx context.Context, s Store, writer string) (Fence, error) {
	for {
		fence, err := RaiseWith(ctx, s, writer, nil, nil)
		if !errors.Is(err, ErrConflict) {
			return fence, err
		}
	}
}

// RaiseWith makes a new fence and all writes, at one moment, or neither. Its error matches
// ErrConflict if a comparison fails, or if somebody else raised the fence meanwhile.
func RaiseWith(ctx context.Context, s Store, writer string, compare []Compare, writes []Write) (Fence, error) {
	number, revision, err := newest(ctx, s, writer)
	if err == nil {
		number++
		key := fencePrefix + writer
		compare = append(slices.Clone(compare), Compare{key, revision})
		writes = append(slices.Clone(writes), Put(key, strconv.AppendUint(nil, number, 10)))
		_, err = s.Txn(ctx, Fence{}, compare, writes)
	}
	if err != nil {
		return Fence{}, fmt.Errorf("raise the fence of %q: %w", writer, err)
	}
	return Fence{writer, number}, nil
}

func newest(ctx context.Context, s Store, writer string) (number, revision uint64, err error) {
	e, err := s.Get(ctx, fencePrefix+writer)
	if errors.Is(err, ErrNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	number, err = strconv.ParseUint(string(e.Value), 10, 64)
	return number, e.Revision, err
}

// state is what a transaction reads and changes, in either implementation.
type state interface {
	get(key string) (value []byte, revision uint64, ok bool)
	put(key string, value []byte, revision uint64) error
	remove(key string) error
}

// apply makes the writes of a transaction, after its checks.
func apply(s state, fence Fence, compare []Compare, writes []Write, revision uint64) error {
	if fence != (Fence{}) {
		value, _, _ := s.get(fencePrefix + fence.Writer)
		if string(value) != strconv.FormatUint(fence.Number, 10) {
			return fmt.Errorf("writer %q with fence %d: %w", fence.Writer, fence.Number, ErrStale)
		}
	}
	for _, c := range compare {
		if _, is, _ := s.get(c.Key); is != c.Revision {
			return fmt.Errorf("key %.100q has revision %d, not %d: %w", c.Key, is, c.Revision, ErrConflict)
		}
	}
	for i := range writes {
		w := &writes[i]
		var err error
		if w.Deletes {
			err = s.remove(w.Key)
		} else {
			err = s.put(w.Key, w.Value, revision)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
