package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
)

// Durability says when Txn returns.
type Durability string

const (
	// DurabilityCommit means when the disk has the transaction.
	DurabilityCommit Durability = "commit"
	// DurabilityInterval means at once; the disk has it Options.Interval later. A crash of the
	// process or of the machine loses that much, and never a part of a transaction.
	DurabilityInterval Durability = "interval"
)

// Options configures a Bolt. Its zero value is useful.
type Options struct {
	// Durability is DurabilityCommit if empty.
	Durability Durability
	// Interval is the time between commits with DurabilityInterval; 0 means a second.
	Interval time.Duration
	// Committed, if not nil, is called after each commit: how long it took, and the number
	// of transactions in it. It must not block.
	Committed func(took time.Duration, transactions int)
	// Log receives problems; nil logs nothing.
	Log *slog.Logger
}

// Bolt is a Store in one file. Create one with [Open].
//
// One goroutine commits, which Close ends. Readers see committed state only, except with
// DurabilityInterval: there, they read what the next commit will write.
type Bolt struct {
	path string
	opts Options
	hub  hub

	wake chan struct{} // has a token if transactions wait
	quit chan struct{}
	done chan struct{} // closed when the committer has ended

	bytes atomic.Int64 // the size of the file

	queueMu sync.Mutex
	queue   []*request
	closed  bool

	// mu is held for reading by everything that uses db, and for writing to replace it.
	mu     sync.RWMutex
	db     *bbolt.DB // nil if it could not be opened again
	broken error     // why it accepts no writes; guarded by mu and set by the committer only

	readers readers

	txMu sync.Mutex
	tx   *bbolt.Tx // with DurabilityInterval, what is not committed yet; guarded by txMu
	size int       // of what is not committed yet, in bytes; guarded by txMu
	told int       // transactions in tx; guarded by txMu
}

var _ Store = (*Bolt)(nil)

// bucketName is the only bucket. Its sequence is the newest revision.
var bucketName = []byte("state")

// A value is stored behind a header: a CRC-32C of all that follows it and of the key, and
// the revision, both little-endian.
const (
	checksumSize = 4
	headerSize   = checksumSize + 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // never changed

func seal(key string, value []byte, revision uint64) []byte {
	sealed := make([]byte, headerSize+len(value))
	binary.LittleEndian.PutUint64(sealed[checksumSize:], revision)
	copy(sealed[headerSize:], value)
	binary.LittleEndian.PutUint32(sealed, checksum([]byte(key), sealed))
	return sealed
}

func checksum(key, sealed []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, sealed[checksumSize:])
}

// unseal checks a stored value. It returns a part of sealed.
func unseal(key, sealed []byte) (value []byte, revision uint64, err error) {
	if len(sealed) < headerSize || binary.LittleEndian.Uint32(sealed) != checksum(key, sealed) {
		return nil, 0, fmt.Errorf("the value of key %.100q has a wrong checksum", key)
	}
	return sealed[headerSize:], binary.LittleEndian.Uint64(sealed[checksumSize:]), nil
}

// Get implements Store.
func (b *Bolt) Get(_ context.Context, key string) (Entry, error) {
	found := Entry{Key: key}
	err := b.read(func(bucket *bbolt.Bucket) error {
		sealed := bucket.Get([]byte(key))
		if sealed == nil {
			return ErrNotFound
		}
		value, revision, err := unseal([]byte(key), sealed)
		if err != nil {
			return b.damaged(err)
		}
		found.Value, found.Size, found.Revision = bytes.Clone(value), len(value), revision
		return nil
	})
	if err != nil {
		return Entry{}, err
	}
	return found, nil
}

// List implements Store.
func (b *Bolt) List(ctx context.Context, r Range) ([]Entry, error) {
	var found []Entry
	err := b.read(func(bucket *bbolt.Bucket) error {
		cursor := bucket.Cursor()
		key, sealed := cursor.Seek([]byte(max(r.Prefix, r.After)))
		if r.After != "" && string(key) == r.After {
			key, sealed = cursor.Next()
		}
		for ; key != nil && bytes.HasPrefix(key, []byte(r.Prefix)); key, sealed = cursor.Next() {
			if len(sealed) < headerSize {
				return b.damaged(fmt.Errorf("the value of key %.100q is too short", key))
			}
			e := Entry{Key: string(key), Size: len(sealed) - headerSize, Revision: binary.LittleEndian.Uint64(sealed[checksumSize:])}
			if !r.KeysOnly {
				value, _, err := unseal(key, sealed)
				if err != nil {
					return b.damaged(err)
				}
				e.Value = bytes.Clone(value)
			}
			if found = append(found, e); len(found) == r.Limit {
				break
			}
			if len(found)%1024 == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		return nil
	})
	return found, err
}

// Watch implements Store.
func (b *Bolt) Watch(ctx context.Context, prefix string, after uint64) iter.Seq2[Change, error] {
	return watch(ctx, b, &b.hub, prefix, after)
}

// Size returns the size of the file, in bytes. It never shrinks: what is deleted is used
// again. It does not block: it is as of the last commit.
func (b *Bolt) Size() int64 { return b.bytes.Load() }

// measure notes the size. The caller holds mu.
func (b *Bolt) measure() {
	_ = b.db.View(func(tx *bbolt.Tx) error { // it fails only when closed
		b.bytes.Store(tx.Size())
		return nil
	})
}

// read calls f with the newest state.
func (b *Bolt) read(f func(*bbolt.Bucket) error) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.db == nil {
		return ErrClosed
	}
	if b.opts.Durability == DurabilityInterval {
		b.txMu.Lock()
		defer b.txMu.Unlock()
		if b.tx != nil {
			return b.contain(func() error { return f(b.tx.Bucket(bucketName)) })
		}
	}
	return b.contain(func() error {
		r, err := b.readers.take(b.db)
		if err != nil {
			return ErrClosed
		}
		healthy := false
		defer func() {
			if healthy {
				b.readers.put(r)
			} else {
				r.end()
			}
		}()
		err = f(r.bucket)
		healthy = true
		return err
	})
}

// contain converts a panic into an error. bbolt panics when it meets a page that can't
// be, and a page that the disk can't deliver is a fault, because the file is mapped.
func (b *Bolt) contain(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if problem := recover(); problem != nil {
			err = b.damaged(fmt.Errorf("reading or writing it failed: %v", problem))
		}
	}()
	return f()
}

func (b *Bolt) damaged(err error) error {
	return &DamageError{Path: b.path, Problem: err.Error()}
}

// Close implements Store.
func (b *Bolt) Close() error {
	b.queueMu.Lock()
	if b.closed {
		b.queueMu.Unlock()
		return nil
	}
	b.closed = true
	b.queueMu.Unlock()
	close(b.quit)
	<-b.done
	b.hub.close()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.db == nil {
		return nil
	}
	b.readers.beginWrite()
	err := b.db.Close()
	b.db = nil
	if err != nil {
		return fmt.Errorf("close the state in %s: %w", b.path, err)
	}
	return nil
}

// boltState is the state of a Bolt within a transaction of bbolt.
type boltState struct {
	bucket *bbolt.Bucket
	err    error // the first damage that get found
}

func (s *boltState) get(key string) (value []byte, revision uint64, ok bool) {
	sealed := s.bucket.Get([]byte(key))
	if sealed == nil {
		return nil, 0, false
	}
	value, revision, err := unseal([]byte(key), sealed)
	s.err = errors.Join(s.err, err)
	return value, revision, err == nil
}

func (s *boltState) put(key string, value []byte, revision uint64) error {
	return s.bucket.Put([]byte(key), seal(key, value, revision))
}

func (s *boltState) remove(key string) error { return s.bucket.Delete([]byte(key)) }
