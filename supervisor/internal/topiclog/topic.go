package topiclog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

const (
	// maxWaiting is how much may wait for the disk, in bytes of one topic: publishers that
	// gave up leave nothing, so that many must be waiting.
	maxWaiting = 64 << 20
	// maxBatch bounds one transaction, in bytes.
	maxBatch = 16 << 20
	// maxDropped bounds the messages that one transaction drops.
	maxDropped = 512
	// soonest is how soon a topic looks again for messages that are too old.
	soonest = time.Second
)

// topic is one durable topic. Its writer is the goroutine of flush.
type topic struct {
	log  *Log
	name string

	mu       sync.Mutex
	keep     Keep
	head     head   // as the store has it, if revision is not 0
	revision uint64 // of the head; 0 if it is not in the store, or must be read
	read     bool   // the head was read
	oldest   dated  // the oldest message, if it is known
	waiting  []*appending
	bytes    int // of waiting
	flushing bool
	trimming bool // flush shall look for what is not kept any more
	timer    *time.Timer
	cursors  map[*cursor]bool
}

// dated is when the message at a position was published.
type dated struct {
	position uint64 // 0 for none
	at       time.Time
}

// appending is a message that waits for its transaction.
type appending struct {
	value []byte
	done  chan struct{} // closed when err is set
	err   error
}

// append waits until a message is durable.
func (t *topic) append(ctx context.Context, value []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	a := &appending{value: value, done: make(chan struct{})}
	t.mu.Lock()
	if t.bytes+len(value) > maxWaiting && len(t.waiting) > 0 {
		t.mu.Unlock()
		return fmt.Errorf("%d bytes wait for the disk, which is the limit", maxWaiting)
	}
	t.waiting = append(t.waiting, a)
	t.bytes += len(value)
	if !t.flushLocked() {
		t.mu.Unlock()
		return store.ErrClosed
	}
	t.mu.Unlock()
	select {
	case <-a.done:
		return a.err
	case <-ctx.Done():
		t.withdraw(a)
		return context.Cause(ctx)
	}
}

// withdraw takes a message back, if it is not being stored.
func (t *topic) withdraw(a *appending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at := slices.Index(t.waiting, a); at >= 0 {
		t.waiting = slices.Delete(t.waiting, at, at+1)
		t.bytes -= len(a.value)
	}
}

// flushLocked starts the writer, unless it runs.
func (t *topic) flushLocked() bool {
	if !t.flushing {
		t.flushing = t.log.begin(t.flush)
	}
	return t.flushing
}

// flush stores what waits, until nothing does.
func (t *topic) flush() {
	for {
		batch, more := t.take()
		if !more {
			return
		}
		err := t.write(batch)
		if err != nil && len(batch) > 1 && t.log.ctx.Err() == nil {
			for n := range batch { // one that is too large for the disk must not fail the others
				t.settle(batch[n:n+1], t.write(batch[n:n+1]))
			}
			continue
		}
		t.settle(batch, err)
	}
}

// take removes the messages of one transaction from those that wait.
func (t *topic) take() (batch []*appending, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, size := 0, 0
	for n < len(t.waiting) && (n == 0 || size+len(t.waiting[n].value) <= maxBatch) {
		size += len(t.waiting[n].value)
		n++
	}
	if n == 0 && !t.trimming {
		t.flushing = false
		return nil, false
	}
	batch = slices.Clone(t.waiting[:n])
	t.waiting, t.trimming = slices.Delete(t.waiting, 0, n), false
	t.bytes -= size
	return batch, true
}

// settle answers publishers, and tells the subscriptions.
func (t *topic) settle(batch []*appending, err error) {
	for _, a := range batch {
		a.err = err
		close(a.done)
	}
	if err != nil {
		if len(batch) == 0 && t.log.ctx.Err() == nil {
			t.log.cfg.Log.Warn("dropping what a durable topic does not keep failed", "topic", t.name, "err", err)
		}
		return
	}
	for _, c := range t.openCursors() {
		c.arrived()
	}
}

// write stores messages, and drops what the topic keeps no longer, in one transaction.
func (t *topic) write(batch []*appending) error {
	ctx := t.log.ctx
	for {
		h, revision, err := t.current(ctx)
		if err != nil {
			return err
		}
		first := h.Last + 1 // of the batch
		var writes []store.Write
		for _, a := range batch {
			h.Last++
			h.Bytes += uint64(len(a.value))
			writes = append(writes, store.Put(eventKey(t.name, h.Last), a.value))
		}
		dropped, err := t.trim(ctx, &h, first)
		if err != nil {
			return err
		}
		if len(batch) == 0 && len(dropped) == 0 {
			t.rearm(h)
			return nil
		}
		writes = append(append(writes, dropped...), store.Put(topicPrefix+t.name, encode(h)))
		revision, err = t.log.cfg.Store.Txn(ctx, store.Fence{}, []store.Compare{{Key: topicPrefix + t.name, Revision: revision}}, writes)
		if errors.Is(err, store.ErrConflict) { // the store was restored
			t.forget()
			continue
		}
		if err == nil {
			t.mu.Lock()
			t.head, t.revision = h, revision
			t.mu.Unlock()
		}
		t.rearm(h)
		return err
	}
}

// trim takes messages out that the topic does not keep. Those from batch on are not stored
// yet, and stay.
func (t *topic) trim(ctx context.Context, h *head, batch uint64) (dropped []store.Write, err error) {
	now := time.Now()
	for h.First < batch && h.First <= h.Last {
		tooMany := h.Bytes > h.Keep.Bytes && h.First < h.Last
		if !tooMany && (h.Keep.Age == 0 || t.isYoung(h, now)) {
			break
		}
		if len(dropped) >= maxDropped {
			t.trimSoon()
			break
		}
		key := eventKey(t.name, h.First)
		e, err := t.log.cfg.Store.Get(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound): // somebody has taken it out
		case err != nil:
			return nil, err
		case !tooMany:
			about, _, err := decodeHeader(e.Value)
			if err != nil {
				return nil, fmt.Errorf("key %q: %w", key, err)
			}
			t.mu.Lock()
			t.oldest = dated{h.First, about.At}
			t.mu.Unlock()
			if t.isYoung(h, now) {
				continue
			}
		}
		dropped = append(dropped, store.Delete(key))
		h.Bytes -= min(h.Bytes, uint64(e.Size)) //nolint:gosec // not negative
		h.First++
	}
	return dropped, nil
}

// isYoung reports whether the oldest message is known not to be too old.
func (t *topic) isYoung(h *head, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.oldest.position == h.First && now.Sub(t.oldest.at) < h.Keep.Age
}

// rearm sees to it that the topic looks again when its oldest message will be too old.
func (t *topic) rearm(h head) {
	if h.Keep.Age == 0 || h.First > h.Last {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	due := h.Keep.Age
	if t.oldest.position == h.First {
		due = time.Until(t.oldest.at.Add(h.Keep.Age))
	}
	if t.timer == nil && !t.log.isClosed() {
		t.timer = time.AfterFunc(max(due, soonest), t.expired)
	}
}

func (t *topic) expired() {
	t.mu.Lock()
	t.timer = nil
	t.mu.Unlock()
	t.trimSoon()
}

func (t *topic) stopTimer() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
	}
}

// trimSoon has the writer look for what is not kept any more.
func (t *topic) trimSoon() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trimming = true
	t.flushLocked()
}

// setKeep says what the topic keeps.
func (t *topic) setKeep(keep Keep) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keep = keep
}

// adopt takes over what the store has.
func (t *topic) adopt(e store.Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := head{First: 1}
	if e.Revision != 0 {
		if err := decode(e, &h); err != nil {
			return err
		}
	}
	t.keep = cmp.Or(t.keep, h.Keep)
	t.head, t.revision, t.read, t.oldest = h, e.Revision, true, dated{}
	return nil
}

// forget has the head read again.
func (t *topic) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.read = false
}

// current returns the head, with what the topic is to keep.
func (t *topic) current(ctx context.Context) (head, uint64, error) {
	t.mu.Lock()
	read := t.read
	t.mu.Unlock()
	if !read {
		e, err := t.log.cfg.Store.Get(ctx, topicPrefix+t.name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return head{}, 0, err
		}
		if err := t.adopt(e); err != nil {
			return head{}, 0, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.head
	h.Keep = t.keep
	return h, t.revision, nil
}

func (t *topic) openCursors() []*cursor {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.cursors))
}

// show returns the topic for a snapshot; nil if there is nothing to see.
func (t *topic) show(declared bool) *messages.DurableTopic {
	cursors := t.openCursors()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !declared && t.head.First > t.head.Last && len(cursors) == 0 {
		return nil
	}
	shown := &messages.DurableTopic{
		Name: t.name, Declared: declared, KeepAge: t.keep.Age, KeepBytes: t.keep.Bytes,
		Messages: t.head.Last + 1 - t.head.First, Bytes: t.head.Bytes, Last: t.head.Last,
	}
	for _, c := range cursors {
		shown.Subscriptions = append(shown.Subscriptions, c.show(t.head.Last))
	}
	slices.SortFunc(shown.Subscriptions, func(x, y messages.DurableSubscription) int {
		return cmp.Or(cmp.Compare(x.Capsule, y.Capsule), cmp.Compare(x.Action, y.Action))
	})
	return shown
}
