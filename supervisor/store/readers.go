package store

import (
	"sync"

	"go.etcd.io/bbolt"
)

// readersKept is how many transactions that read are kept for the next reads.
const readersKept = 8

// readers keeps transactions that read the newest state, to be used again: to begin and
// end one takes longer than to read a value. None is kept while a transaction writes: bbolt
// could not map a file that grows, nor use pages again that become free. The zero value is
// ready for use, from any goroutine.
type readers struct {
	mu      sync.Mutex
	idle    []*reader
	writing bool
	writes  uint64 // counts those that have ended
}

// reader is a transaction that reads, for one goroutine at a time.
type reader struct {
	tx     *bbolt.Tx
	bucket *bbolt.Bucket
	after  uint64 // readers.writes before it began
}

// take returns a reader of the newest state. Put it back, or end its transaction.
func (r *readers) take(db *bbolt.DB) (*reader, error) {
	r.mu.Lock()
	if last := len(r.idle) - 1; last >= 0 {
		kept := r.idle[last]
		r.idle = r.idle[:last]
		r.mu.Unlock()
		return kept, nil
	}
	after := r.writes
	r.mu.Unlock()
	tx, err := db.Begin(false)
	if err != nil {
		return nil, err
	}
	return &reader{tx: tx, bucket: tx.Bucket(bucketName), after: after}, nil
}

// put keeps a reader for the next read, or ends it if it is not of the newest state.
func (r *readers) put(used *reader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writing || used.after != r.writes || len(r.idle) == readersKept {
		used.end()
		return
	}
	r.idle = append(r.idle, used)
}

// beginWrite ends those that are kept. Call it before a transaction that writes, and before
// the file is closed.
func (r *readers) beginWrite() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writing = true
	for _, kept := range r.idle {
		kept.end()
	}
	clear(r.idle)
	r.idle = r.idle[:0]
}

// endWrite follows beginWrite, when the transaction has ended.
func (r *readers) endWrite() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writing = false
	r.writes++
}

func (r *reader) end() { _ = r.tx.Rollback() } // it ends a read
