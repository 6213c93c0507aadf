package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

// maxBatch bounds the memory of one commit, in bytes. One transaction may be larger.
const maxBatch = 64 << 20

// request is a transaction that waits for its commit.
type request struct {
	fence    Fence
	compare  []Compare
	writes   []Write
	answered chan struct{} // closed when revision and err are set
	revision uint64
	err      error
}

func (r *request) size() int {
	size := 0
	for i := range r.writes {
		size += len(r.writes[i].Key) + len(r.writes[i].Value)
	}
	return size
}

// Txn implements Store.
func (b *Bolt) Txn(ctx context.Context, fence Fence, compare []Compare, writes []Write) (uint64, error) {
	if err := problems(writes); err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	r := &request{fence: fence, compare: compare, writes: writes, answered: make(chan struct{})}
	if !b.enqueue(r) {
		return 0, ErrClosed
	}
	select {
	case <-r.answered:
		return r.revision, r.err
	case <-ctx.Done():
	}
	if b.withdraw(r) {
		return 0, context.Cause(ctx)
	}
	select {
	case <-r.answered: // at the same time
		return r.revision, r.err
	default:
		return 0, context.Cause(ctx)
	}
}

func (b *Bolt) enqueue(r *request) bool {
	b.queueMu.Lock()
	defer b.queueMu.Unlock()
	if b.closed {
		return false
	}
	b.queue = append(b.queue, r)
	b.nudge()
	return true
}

func (b *Bolt) nudge() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// withdraw removes a request whose commit has not begun, so that abandoned requests
// take no memory while the disk hangs.
func (b *Bolt) withdraw(r *request) bool {
	b.queueMu.Lock()
	defer b.queueMu.Unlock()
	at := slices.Index(b.queue, r)
	if at < 0 {
		return false
	}
	b.queue = slices.Delete(b.queue, at, at+1)
	return true
}

// commits is the committer: it commits everything that waits at once, and what comes
// meanwhile waits for the next commit. So a commit is as large as the disk is slow.
func (b *Bolt) commits() {
	defer close(b.done)
	var due <-chan time.Time
	if b.opts.Durability == DurabilityInterval {
		ticker := time.NewTicker(b.opts.Interval)
		defer ticker.Stop()
		due = ticker.C
	}
	for {
		select {
		case <-b.wake:
			b.work(b.take())
		case <-due:
			b.flush()
		case <-b.quit:
			b.flush()
			b.refuse()
			return
		}
	}
}

// take removes the requests of one commit from the queue.
func (b *Bolt) take() []*request {
	b.queueMu.Lock()
	defer b.queueMu.Unlock()
	n, size := 0, 0
	for n < len(b.queue) && (n == 0 || size < maxBatch) {
		size += b.queue[n].size()
		n++
	}
	batch := slices.Clone(b.queue[:n])
	b.queue = slices.Delete(b.queue, 0, n)
	if len(b.queue) > 0 {
		b.nudge()
	}
	return batch
}

// refuse answers what was never begun.
func (b *Bolt) refuse() {
	b.queueMu.Lock()
	defer b.queueMu.Unlock()
	for _, r := range b.queue {
		r.err = ErrClosed
		close(r.answered)
	}
	b.queue = nil
}

// work commits a batch and answers its requests.
func (b *Bolt) work(batch []*request) {
	if len(batch) == 0 {
		return
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.opts.Durability == DurabilityInterval {
		b.gather(batch)
	} else if err := b.commit(batch); err != nil && len(batch) > 1 && b.writable() == nil {
		for n := range batch { // one that is too large for the disk must not fail the others
			b.settle(batch[n:n+1], b.commit(batch[n:n+1]))
		}
	} else {
		b.settle(batch, err)
	}
}

// settle answers requests that are committed, or failed with err.
func (b *Bolt) settle(batch []*request, err error) {
	for _, r := range batch {
		if err != nil {
			r.err = err
		}
		if r.err != nil {
			r.revision = 0
		} else if len(r.writes) > 0 {
			b.hub.tell(r.writes, r.revision)
		}
		close(r.answered)
	}
}

func (b *Bolt) writable() error {
	if b.db == nil {
		return ErrClosed
	}
	return b.broken
}

// commit makes the requests that pass their checks durable, with one sync.
func (b *Bolt) commit(batch []*request) error {
	if err := b.writable(); err != nil {
		return err
	}
	began := time.Now()
	b.readers.beginWrite()
	err := b.contain(func() error {
		tx, err := b.db.Begin(true)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // it does nothing after a commit
		if err := b.applyAll(tx, batch); err != nil {
			return err
		}
		return tx.Commit()
	})
	b.readers.endWrite()
	if err != nil {
		return b.failed(err)
	}
	b.committed(began, len(batch))
	return nil
}

func (b *Bolt) committed(began time.Time, transactions int) {
	b.measure()
	if b.opts.Committed != nil {
		b.opts.Committed(time.Since(began), transactions)
	}
}

// applyAll applies requests in their order. An error that concerns one of them only is
// noted there; any other is returned.
func (b *Bolt) applyAll(tx *bbolt.Tx, batch []*request) error {
	s := &boltState{bucket: tx.Bucket(bucketName)}
	for _, r := range batch {
		r.err, r.revision = nil, s.bucket.Sequence()
		if len(r.writes) > 0 {
			r.revision++
		}
		err := apply(s, r.fence, r.compare, r.writes, r.revision)
		switch {
		case s.err != nil:
			return b.damaged(s.err)
		case errors.Is(err, ErrStale), errors.Is(err, ErrConflict):
			r.err = err
			continue
		case err != nil:
			return err
		}
		if err := s.bucket.SetSequence(r.revision); err != nil {
			return err
		}
	}
	return nil
}

// failed explains a failed commit. After a failed sync, nobody knows what the disk has,
// and the next sync may report a success that is none: so that was the last write.
func (b *Bolt) failed(err error) error {
	_, isSync := err.(syscall.Errno) //nolint:errorlint // bbolt returns what fdatasync does; what write does is wrapped
	switch {
	case errors.Is(err, ErrDamaged):
		b.broken = fmt.Errorf("the state in %s: %w: %w", b.path, ErrReadOnly, err)
	case isSync:
		b.broken = fmt.Errorf("the state in %s: %w: a sync failed: %w; start the daemon again once the disk is well", b.path, ErrReadOnly, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("the state in %s: the disk is full: %w", b.path, err)
	default:
		return fmt.Errorf("the state in %s: %w", b.path, err)
	}
	b.opts.Log.Error("the state accepts no writes any more", "err", b.broken)
	return b.broken
}

// gather applies a batch to the open transaction, and answers at once.
func (b *Bolt) gather(batch []*request) {
	b.txMu.Lock()
	err := b.writable()
	if err == nil {
		err = b.contain(func() (err error) {
			if b.tx == nil {
				b.readers.beginWrite()
				if b.tx, err = b.db.Begin(true); err != nil {
					return err
				}
			}
			return b.applyAll(b.tx, batch)
		})
		if err != nil {
			err = b.failed(err)
			b.abandon()
		}
	}
	for _, r := range batch {
		b.size += r.size()
	}
	b.told += len(batch)
	full := b.size >= maxBatch
	b.txMu.Unlock()
	b.settle(batch, err)
	if full {
		b.flushLocked()
	}
}

// abandon drops the open transaction. The caller holds txMu.
func (b *Bolt) abandon() {
	if b.tx != nil {
		_ = b.tx.Rollback() // it does nothing after a commit
	}
	b.readers.endWrite()
	b.tx, b.size, b.told = nil, 0, 0
}

// flush commits the open transaction of DurabilityInterval, if there is one.
func (b *Bolt) flush() {
	b.mu.RLock()
	defer b.mu.RUnlock()
	b.flushLocked()
}

// flushLocked is flush for a caller that holds mu.
func (b *Bolt) flushLocked() {
	b.txMu.Lock()
	defer b.txMu.Unlock()
	if b.tx == nil {
		return
	}
	began, transactions := time.Now(), b.told
	err := b.contain(b.tx.Commit)
	b.abandon()
	if err != nil {
		b.opts.Log.Error("the state of the last interval was lost", "transactions", transactions, "err", b.failed(err))
		b.hub.lag()
		return
	}
	b.committed(began, transactions)
}
