package store

import (
	"context"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"go.etcd.io/bbolt"
)

// What a read has left open does not keep a file from growing, nor show what was before.
func TestReadersEndBeforeAWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "small.db")
	if err := create(path); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, nil) // mapped as it is
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var r readers
	length := func() int {
		one, err := r.take(db)
		if err != nil {
			t.Fatal(err)
		}
		defer r.put(one)
		return len(one.bucket.Get([]byte("key")))
	}
	for _, size := range []int{1, 1 << 20, 8 << 20} {
		before := length()
		old, err := r.take(db) // in use when the next write begins
		if err != nil {
			t.Fatal(err)
		}
		length()
		r.beginWrite()
		if size > 1 {
			old.end() // else the growing file waits for it
		}
		err = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketName).Put([]byte("key"), make([]byte, size)) })
		if during := length(); err != nil || during != size {
			t.Fatalf("%d bytes, %v, before the end of the write", during, err)
		}
		r.endWrite()
		if size == 1 {
			if seen := len(old.bucket.Get([]byte("key"))); seen != before {
				t.Fatalf("a reader saw %d bytes, then %d", before, seen)
			}
			r.put(old)
		}
		if after := length(); after != size || length() != size || len(r.idle) != 1 {
			t.Fatalf("%d bytes after %d were written; %d readers are kept", after, size, len(r.idle))
		}
	}
	r.beginWrite()
	if len(r.idle) != 0 {
		t.Error(r.idle)
	}
}

// A value that was acknowledged is read, however many read and write at once.
func TestReadsSeeWhatWasAcknowledged(t *testing.T) {
	for _, durability := range []Durability{DurabilityCommit, DurabilityInterval} {
		t.Run(string(durability), func(t *testing.T) {
			b, err := Open(filepath.Join(t.TempDir(), "state.db"), Options{Durability: durability})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			var acknowledged atomic.Int64
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for ctx.Err() == nil {
						least := acknowledged.Load()
						e, err := b.Get(ctx, "key")
						if err != nil && least == 0 {
							continue
						}
						if n, _ := strconv.ParseInt(string(e.Value), 10, 64); err != nil || n < least {
							t.Errorf("read %d after %d was acknowledged: %v", n, least, err)
							return
						}
					}
				})
			}
			for n := int64(1); n <= 200; n++ {
				if _, err := b.Txn(ctx, Fence{}, nil, []Write{Put("key", strconv.AppendInt(nil, n, 10))}); err != nil {
					t.Fatal(err)
				}
				acknowledged.Store(n)
			}
			cancel()
			all.Wait()
		})
	}
}
