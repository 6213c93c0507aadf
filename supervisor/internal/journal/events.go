package journal

import (
	"context"
	"iter"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// Events yields the events after since, then new ones while ctx lasts and Serve runs. A
// reader that falls behind the kept events receives an EventsLost instead of those that
// it missed. A since beyond the newest event comes from another journal, for example
// from before a restart of the daemon: Events yields an EpochChanged, and continues as
// if since were 0.
func (j *Journal) Events(ctx context.Context, since uint64) iter.Seq[messages.Event] {
	return func(yield func(messages.Event) bool) {
		if j.isForeign(since) {
			since = 0
			if !yield(messages.Event{At: time.Now(), Detail: messages.EpochChanged{Epoch: j.epoch}}) {
				return
			}
		}
		for first := true; ; first = false {
			batch, lost, changed := j.after(since)
			if lost > 0 {
				if !first {
					j.missed(lost)
				}
				since += lost
				if !yield(messages.Event{Sequence: since, At: time.Now(), Detail: messages.EventsLost{Count: lost}}) {
					return
				}
			}
			for _, e := range batch {
				since = e.Sequence
				if !yield(e.Clone()) {
					return
				}
			}
			if len(batch) > 0 {
				continue
			}
			if changed == nil {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// Epoch identifies the journal: it is a UUID.
func (j *Journal) Epoch() string { return j.epoch }

// isForeign reports whether a number is beyond the newest event.
func (j *Journal) isForeign(since uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return since > j.sequence
}

// after returns the kept events after since, and the number of those before them that
// are gone. Changed is nil if no more events will come.
func (j *Journal) after(since uint64) (batch []messages.Event, lost uint64, changed <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.ended {
		changed = j.changed
	}
	if since >= j.sequence {
		return nil, 0, changed
	}
	n := len(j.kept)
	missing := int(min(j.sequence-since, uint64(n))) //nolint:gosec // at most n
	if oldest := j.sequence - uint64(n); since < oldest {
		lost = oldest - since
	}
	for i := n - missing; i < n; i++ {
		batch = append(batch, j.kept[(j.oldest+i)%n])
	}
	return batch, lost, changed
}

// missed counts events that a reader was too late for. Events that were gone before it
// began to read do not count.
func (j *Journal) missed(n uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lost += n
}
