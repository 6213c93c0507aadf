package journal

import (
	"context"
	"iter"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// Events yields what was entered after since, then what is entered while ctx
// lasts and Serve runs. A reader that falls behind what is kept gets an EventsLost
// in place of what it missed. A since that the journal does not have comes from
// another one, as before a restart of the daemon: it is answered by EpochChanged,
// and then as 0.
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

// after returns the kept events after since and how many before them are gone.
// Changed is nil where no more will come.
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

// missed counts events that a reader came too late for. What was gone before it
// began to read does not count.
func (j *Journal) missed(n uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lost += n
}
