package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// fencePrefix begins the keys that hold each writer's newest fence, as a decimal number.
const fencePrefix = "fence/"

// Raise makes a new fence for a writer: all its earlier ones are stale from now on. A new
// generation raises it before it reads, so that what it reads stays true.
func Raise(ctx context.Context, s Store, writer string) (Fence, error) {
	for {
		number, revision, err := newest(ctx, s, writer)
		if err != nil {
			return Fence{}, fmt.Errorf("raise the fence of %q: %w", writer, err)
		}
		next, err := replace(ctx, s, writer, revision, number+1)
		if !errors.Is(err, ErrConflict) {
			return next, err
		}
	}
}

// HandBack returns a new fence to an earlier holder, if current, which must have ended, is
// still the newest. Otherwise its error matches ErrStale.
func HandBack(ctx context.Context, s Store, current Fence) (Fence, error) {
	number, revision, err := newest(ctx, s, current.Writer)
	switch {
	case err != nil:
		return Fence{}, fmt.Errorf("hand back the fence of %q: %w", current.Writer, err)
	case number != current.Number:
		return Fence{}, ErrStale
	}
	next, err := replace(ctx, s, current.Writer, revision, number+1)
	if errors.Is(err, ErrConflict) {
		return Fence{}, ErrStale
	}
	return next, err
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

// replace sets a fence if it still has the revision.
func replace(ctx context.Context, s Store, writer string, revision, number uint64) (Fence, error) {
	key := fencePrefix + writer
	_, err := s.Txn(ctx, Fence{}, []Compare{{key, revision}}, []Write{Put(key, strconv.AppendUint(nil, number, 10))})
	if err != nil {
		return Fence{}, fmt.Errorf("raise the fence of %q: %w", writer, err)
	}
	return Fence{writer, number}, nil
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
