package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Limits of one key and one value, in bytes.
const (
	MaxKey   = 8 << 10
	MaxValue = 16 << 20
)

// The errors that a caller may handle.
var (
	// ErrNotFound: the key does not exist.
	ErrNotFound = errors.New("no such key")
	// ErrStale: the transaction's fence has been raised since; nothing was written.
	ErrStale = errors.New("another generation has taken over")
	// ErrConflict: a comparison failed; nothing was written.
	ErrConflict = errors.New("the key has changed")
	// ErrLagged: a watcher was too slow, and missed changes.
	ErrLagged = errors.New("the watcher fell behind")
	// ErrClosed: the store is closed.
	ErrClosed = errors.New("the store is closed")
	// ErrLocked: another process has opened the file.
	ErrLocked = errors.New("another process uses it")
	// ErrDamaged: the file is not what was written to it.
	ErrDamaged = errors.New("it is damaged")
	// ErrReadOnly: a sync of the disk has failed, so no further write can be trusted.
	ErrReadOnly = errors.New("it accepts no writes any more")
)

// Store keeps keys with values. Its methods may be called from any goroutine. Keys are
// compared as bytes.
type Store interface {
	// Get returns an entry. Its error matches ErrNotFound if there is none.
	Get(ctx context.Context, key string) (Entry, error)

	// List returns the entries of a range, ordered by key, as of one moment.
	List(ctx context.Context, r Range) ([]Entry, error)

	// Txn makes all writes, or none. They are durable when it returns nil, and all
	// readers see them. Its error matches ErrStale if fence is not the writer's
	// newest one, and ErrConflict if a comparison fails. It returns the revision of the
	// writes; without writes, the newest revision.
	//
	// If ctx ends first, it returns ctx's cause at once: then a transaction that is
	// being committed may still succeed. After any other error, nothing was written.
	Txn(ctx context.Context, fence Fence, compare []Compare, writes []Write) (revision uint64, err error)

	// Watch yields a Change for each key with the prefix: first for those that exist with
	// a revision above after, ordered by key, then for each change until ctx ends. Several
	// changes of one key may be reported as one. If the caller is too slow, the last pair
	// has an error that matches ErrLagged: list, and watch again.
	Watch(ctx context.Context, prefix string, after uint64) iter.Seq2[Change, error]

	// Close waits for the transactions that are being committed, and refuses the others.
	Close() error
}

// Entry is a key with its value.
type Entry struct {
	Key      string
	Value    []byte // the caller's own; nil if only keys were requested
	Size     int    // of the value, in bytes
	Revision uint64 // of the transaction that wrote it; never 0
}

// Range selects keys.
type Range struct {
	Prefix   string
	After    string // only keys above this one; "" means all
	Limit    int    // 0 means none
	KeysOnly bool   // leaves out the values
}

// Change is a key that was written or deleted. It has no value: Get returns the newest.
type Change struct {
	Key      string
	Revision uint64
	Deleted  bool
}

// Fence names a writer and the number with which it writes; [Raise] makes one. The zero
// Fence is for writers that nothing replaces, such as an operator: it is never stale.
type Fence struct {
	Writer string
	Number uint64
}

// Compare requires that a key has this revision; 0 means that it does not exist.
type Compare struct {
	Key      string
	Revision uint64
}

// Write is one change of a transaction; see [Put] and [Delete].
type Write struct {
	Key     string
	Value   []byte
	Deletes bool
}

// Put sets a key. The value must not be changed afterwards, not even if Txn has failed.
func Put(key string, value []byte) Write { return Write{Key: key, Value: value} }

// Delete removes a key; it is no error if there is none.
func Delete(key string) Write { return Write{Key: key, Deletes: true} }

// DamageError says what is wrong with a store's file. It matches ErrDamaged.
type DamageError struct {
	Path    string
	Problem string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("the state in %s is damaged: %s", e.Path, e.Problem)
}

// Unwrap makes the error match ErrDamaged.
func (e *DamageError) Unwrap() error { return ErrDamaged }

// problems checks the limits of a transaction.
func problems(writes []Write) error {
	for i := range writes {
		w := &writes[i]
		switch {
		case w.Key == "":
			return errors.New("a key is empty")
		case len(w.Key) > MaxKey:
			return fmt.Errorf("a key of %d bytes is over the limit of %d", len(w.Key), MaxKey)
		case len(w.Value) > MaxValue:
			return fmt.Errorf("the value of key %.100q has %d bytes, over the limit of %d", w.Key, len(w.Value), MaxValue)
		}
	}
	return nil
}
