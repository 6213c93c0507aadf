package topiclog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// cursor is how far a durable subscription has come. It is ahead of the store by what was
// answered since the last transaction, which one goroutine stores in the meantime: many
// answers of one generation share a transaction, and those of two never do, so that a stale
// one can't hide behind its successor.
type cursor struct {
	log     *Log
	topic   *topic
	of      actors.DurableSubscription
	key     string
	arrived func()

	mu       sync.Mutex
	read     bool     // the store was read
	revision uint64   // of the key; 0 if the store has none
	stored   progress // as the store has it
	now      progress
	owed     []*debt
	storing  bool
	refused  error // what was answered was not accepted; Next returns it once
}

// debt is what is to be stored of what one generation has answered.
type debt struct {
	of   *holder
	to   progress
	bury func(context.Context) error // comes first; nil if nothing does
	paid bool                        // it is being stored, and does not change any more
}

// Next implements actors.DurableCursor.
func (c *cursor) Next(ctx context.Context) (due *actors.Kept, dropped uint64, err error) {
	for {
		h, _, err := c.topic.current(ctx)
		if err != nil {
			return nil, dropped, err
		}
		now, skipped, err := c.catchUp(ctx, h)
		dropped += skipped
		if err != nil || now.Position >= h.Last {
			return nil, dropped, err
		}
		position := now.Position + 1
		e, err := c.log.cfg.Store.Get(ctx, eventKey(c.topic.name, position))
		if errors.Is(err, store.ErrNotFound) {
			if later, _, err := c.topic.current(ctx); err == nil && later.First <= position {
				return nil, dropped, fmt.Errorf("message %d of the durable topic %q is missing", position, c.topic.name)
			}
			continue // it has just been dropped
		}
		if err != nil {
			return nil, dropped, err
		}
		due, err := decodeMessage(c.topic.name, position, e.Value)
		if err != nil {
			return nil, dropped, fmt.Errorf("message %d of the durable topic %q: %w", position, c.topic.name, err)
		}
		due.Attempts = now.Attempts
		return due, dropped, nil
	}
}

// catchUp returns where the subscription is, and how many messages it has missed because
// the topic has dropped them.
func (c *cursor) catchUp(ctx context.Context, h head) (now progress, missed uint64, err error) {
	c.mu.Lock()
	read := c.read
	c.mu.Unlock()
	if !read {
		if err := c.load(ctx, h); err != nil {
			return progress{}, 0, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err, c.refused = c.refused, nil; err != nil {
		return c.now, 0, err
	}
	if c.now.Position+1 < h.First {
		missed = h.First - 1 - c.now.Position
		c.now = progress{Position: h.First - 1}
	}
	return c.now, missed, nil
}

// load reads where the subscription is. A new one begins with the oldest message, and that
// is stored, so that nothing is dropped unseen from then on.
func (c *cursor) load(ctx context.Context, h head) error {
	stored := progress{Position: h.First - 1}
	e, err := c.log.cfg.Store.Get(ctx, c.key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		e.Revision, err = c.log.cfg.Store.Txn(ctx, store.Fence{}, []store.Compare{{Key: c.key}}, []store.Write{store.Put(c.key, encode(stored))})
	case err == nil:
		err = decode(e, &stored)
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stored, c.now, c.revision, c.read = stored, stored, e.Revision, true
	return nil
}

// Answered implements actors.DurableCursor.
func (c *cursor) Answered(k *actors.Kept, generation uint64) {
	c.owe(k, generation, progress{Position: k.Position}, nil)
}

// Failed implements actors.DurableCursor.
func (c *cursor) Failed(k *actors.Kept, generation uint64) {
	c.owe(k, generation, progress{Position: k.Position - 1, Attempts: k.Attempts + 1}, nil)
}

// Bury implements actors.DurableCursor.
func (c *cursor) Bury(k *actors.Kept, generation uint64, bury func(context.Context) error) {
	c.owe(k, generation, progress{Position: k.Position}, bury)
}

// owe moves on, and has that stored.
func (c *cursor) owe(k *actors.Kept, generation uint64, to progress, bury func(context.Context) error) {
	h := c.log.owe(c.of.Capsule, generation)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case h == nil:
		c.refused = fmt.Errorf("%s of generation %d answered, which has ended: %w", c.of.Capsule, generation, store.ErrStale)
		return
	case !c.read || c.now.Position+1 != k.Position: // it was answered after all was read again
		c.log.paid(h)
		return
	}
	c.now = to
	if n := len(c.owed); n > 0 && c.owed[n-1].of == h && !c.owed[n-1].paid && bury == nil {
		c.owed[n-1].to = to
		c.log.paid(h)
	} else {
		c.owed = append(c.owed, &debt{of: h, to: to, bury: bury})
	}
	if !c.storing {
		c.storing = c.log.begin(c.store)
	}
	if !c.storing {
		c.dropLocked()
	}
}

// dropLocked gives up what is not stored: it is due again.
func (c *cursor) dropLocked() {
	for _, d := range c.owed {
		c.log.paid(d.of)
	}
	c.owed, c.now = nil, c.stored
}

// store stores what is owed, until nothing is.
func (c *cursor) store() {
	wait := retryFirst
	for {
		c.mu.Lock()
		if len(c.owed) == 0 {
			c.storing = false
			c.mu.Unlock()
			return
		}
		d := c.owed[0]
		d.paid = true
		revision := c.revision
		c.mu.Unlock()
		revision, err := c.pay(d, revision)
		again := false
		c.mu.Lock()
		switch {
		case len(c.owed) == 0 || c.owed[0] != d: // all was forgotten meanwhile
			err = nil
		case err == nil:
			c.stored, c.revision, wait = d.to, revision, retryFirst
			c.owed = c.owed[1:]
			c.log.paid(d.of)
		case errors.Is(err, store.ErrStale), errors.Is(err, store.ErrConflict):
			c.refused = fmt.Errorf("%s: its answer was not accepted: %w", c.of.Capsule, err)
			c.read = !errors.Is(err, store.ErrConflict)
			c.dropLocked()
		case c.log.ctx.Err() != nil:
			c.dropLocked()
		default:
			again = true
		}
		c.mu.Unlock()
		if again {
			c.log.cfg.Log.Warn("storing how far a durable subscription has come failed", "topic", c.of.Topic, "capsule", c.of.Capsule, "err", err)
			c.log.pause(wait)
			wait = min(2*wait, retryMost)
		} else if err != nil {
			c.arrived()
		}
	}
}

// How long a failed transaction is not tried again: at first, and at most.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 10 * time.Second
)

func (l *Log) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.ctx.Done():
	}
}

// pay stores one debt, with the fence of the instance that answered.
func (c *cursor) pay(d *debt, revision uint64) (uint64, error) {
	ctx := c.log.ctx
	if d.bury != nil {
		if err := d.bury(ctx); err != nil {
			return 0, err
		}
		d.bury = nil // the dead letter is there, whatever becomes of the rest
	}
	fence, err := d.of.instance.Fence(ctx)
	if err != nil {
		return 0, err
	}
	return c.log.cfg.Store.Txn(ctx, fence, []store.Compare{{Key: c.key, Revision: revision}}, []store.Write{store.Put(c.key, encode(d.to))})
}

// forget has the store read again.
func (c *cursor) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = false
	c.dropLocked()
}

// Close implements actors.DurableCursor.
func (c *cursor) Close() {
	c.topic.mu.Lock()
	defer c.topic.mu.Unlock()
	delete(c.topic.cursors, c)
}

// show returns the subscription for a snapshot; last is the topic's newest position.
func (c *cursor) show(last uint64) messages.DurableSubscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	return messages.DurableSubscription{
		Capsule: c.of.Capsule, Action: c.of.Action, Position: c.now.Position, Attempts: uint32(c.now.Attempts), //nolint:gosec // not negative
		Lag: last - min(last, c.now.Position),
	}
}
