package supervisor

import (
	"context"
	"iter"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/astrid-actors/astrid-actors/messages"
)

// events yields what was entered after since, then what is entered while ctx
// lasts and Serve runs. A reader that falls behind what is kept gets an
// EventsLost in place of what it missed.
func (r *record) events(ctx context.Context, since uint64) iter.Seq[*messages.Event] {
	return func(yield func(*messages.Event) bool) {
		for first := true; ; first = false {
			batch, lost, changed := r.after(since)
			if lost > 0 {
				if !first {
					r.missed(lost)
				}
				since += lost
				if !yield(&messages.Event{
					Sequence: since, At: timestamppb.Now(),
					What: &messages.Event_EventsLost{EventsLost: &messages.EventsLost{Count: lost}},
				}) {
					return
				}
			}
			for _, e := range batch {
				since = e.GetSequence()
				if !yield(e) {
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

// after returns the kept events after since and how many before them are gone.
// Changed is nil where no more will come.
func (r *record) after(since uint64) (batch []*messages.Event, lost uint64, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		changed = r.changed
	}
	if since >= r.sequence {
		return nil, 0, changed
	}
	n := len(r.kept)
	missing := int(min(r.sequence-since, uint64(n))) //nolint:gosec // at most n
	if oldest := r.sequence - uint64(n); since < oldest {
		lost = oldest - since
	}
	for i := n - missing; i < n; i++ {
		batch = append(batch, r.kept[(r.oldest+i)%n])
	}
	return batch, lost, changed
}

// missed counts events that a reader came too late for. What was gone before it
// began to read does not count.
func (r *record) missed(n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost += n
}
