package actors

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// How much a subscription holds for its reader. When it is full it loses its oldest
// messages. All of one capsule's subscriptions share a limit, since each may hold
// messages that no other does.
const (
	subscriptionMessages = 1024
	subscriptionBytes    = 16 << 20
	capsuleBytes         = 64 << 20
)

// Subscription is a bounded queue of the messages that match a pattern. One goroutine
// reads; any may publish.
type Subscription struct {
	bus     *Bus
	pattern string
	owner   string        // the capsule, or "" for a reader in Go
	held    *atomic.Int64 // bytes, of all subscriptions of the owner
	notify  func()        // called when a message arrives at an empty queue, if not nil; else wake is used
	wake    chan struct{} // holds a token when a message has arrived at an empty queue

	mu     sync.Mutex
	ring   []*capsulehost.Message // its length is a power of two
	first  int
	count  int
	bytes  int64
	lagged uint64 // lost since the last batch
	lost   uint64 // in all
	closed bool
	ended  bool // nothing arrives any more
}

// push adds a message, and loses the oldest ones that there is no room for.
func (s *Subscription) push(m *capsulehost.Message) {
	size := int64(m.Payload.Size())
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	first := s.count == 0
	s.appendLocked(m)
	s.bytes += size
	held := s.held.Add(size)
	var lost uint64
	for s.count > subscriptionMessages || s.count > 0 && (s.bytes > subscriptionBytes || held > capsuleBytes) {
		held = s.releaseLocked(s.popLocked())
		lost++
	}
	s.lagged += lost
	s.lost += lost
	s.mu.Unlock()
	if lost > 0 {
		s.bus.lost(lost)
	}
	if !first {
		return
	}
	if s.notify != nil {
		s.notify()
		return
	}
	s.wakeUp()
}

func (s *Subscription) appendLocked(m *capsulehost.Message) {
	if s.count == len(s.ring) {
		grown := make([]*capsulehost.Message, max(8, 2*len(s.ring)))
		n := copy(grown, s.ring[s.first:])
		copy(grown[n:], s.ring[:s.first])
		s.ring, s.first = grown, 0
	}
	s.ring[(s.first+s.count)&(len(s.ring)-1)] = m
	s.count++
}

func (s *Subscription) popLocked() *capsulehost.Message {
	m := s.ring[s.first]
	s.ring[s.first] = nil
	s.first = (s.first + 1) & (len(s.ring) - 1)
	s.count--
	return m
}

// releaseLocked takes a message off the accounts, and returns what the owner holds.
func (s *Subscription) releaseLocked(m *capsulehost.Message) int64 {
	size := int64(m.Payload.Size())
	s.bytes -= size
	return s.held.Add(-size)
}

// Next returns the oldest message, or nil if there is none, with how many were lost
// before it. It does not wait: see Wait.
func (s *Subscription) Next() (m *capsulehost.Message, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == 0 {
		return nil, 0
	}
	m, lost, s.lagged = s.popLocked(), s.lagged, 0
	s.releaseLocked(m)
	return m, lost
}

// Take appends all messages that wait, oldest first, and returns how many were lost before
// them. A reader that is as fast as its publishers so needs the lock once for many messages.
func (s *Subscription) Take(all []*capsulehost.Message) (_ []*capsulehost.Message, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost, s.lagged = s.lagged, 0
	all = slices.Grow(all, s.count)
	for s.count > 0 {
		all = append(all, s.popLocked())
	}
	s.held.Add(-s.bytes)
	s.bytes = 0
	return all, lost
}

// batch takes what waits, up to MaxBatchBytes of payloads. The message that does not fit
// any more is dropped, as the reference does it. With woken, the first message is not
// counted.
func (s *Subscription) batch(woken bool) (b capsulehost.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.Lagged, s.lagged = s.lagged, 0
	if s.count > 0 {
		b.Messages = make([]*capsulehost.Message, 0, s.count)
	}
	for size := 0; s.count > 0; {
		m := s.popLocked()
		s.releaseLocked(m)
		if !woken || len(b.Messages) > 0 {
			if size += m.Payload.Size(); size > capsulehost.MaxBatchBytes {
				b.Dropped++
				s.lost++
				break
			}
		}
		b.Messages = append(b.Messages, m)
	}
	return b
}

// Wait returns when a message waits, when due receives, when ctx ends, or when nothing can
// arrive any more. It reports whether a message waits.
func (s *Subscription) Wait(ctx context.Context, due <-chan time.Time) bool {
	for {
		s.mu.Lock()
		waiting, ended := s.count > 0, s.closed || s.ended
		s.mu.Unlock()
		if waiting || ended {
			return waiting
		}
		select {
		case <-s.wake:
		case <-due:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// end lets the reader read what it has, and then ends.
func (s *Subscription) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.wakeUp()
}

// wakeUp has a reader that waits look again.
func (s *Subscription) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close ends the subscription, and drops what it holds. It may be called from any
// goroutine, more than once.
func (s *Subscription) Close() {
	s.bus.subscriptions.remove(s)
	s.mu.Lock()
	s.closed = true
	s.held.Add(-s.bytes)
	s.ring, s.first, s.count, s.bytes = nil, 0, 0, 0
	s.mu.Unlock()
	s.wakeUp()
}
