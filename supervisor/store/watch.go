package store

import (
	"context"
	"iter"
	"strings"
	"sync"
)

// maxUnread is how many changes may wait for one watcher.
const maxUnread = 4096

// hub tells watchers of changes. It is safe for concurrent use.
type hub struct {
	mu       sync.Mutex
	watchers map[*watcher]struct{}
	closed   bool
}

// watcher is one call of Watch; its fields are guarded by hub.mu.
type watcher struct {
	prefix string
	unread []Change
	lagged bool
	wake   chan struct{} // has a token if there is something new
}

// join registers a watcher; it returns nil if the store is closed.
func (h *hub) join(prefix string) *watcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	w := &watcher{prefix: prefix, wake: make(chan struct{}, 1)}
	if h.watchers == nil {
		h.watchers = map[*watcher]struct{}{}
	}
	h.watchers[w] = struct{}{}
	return w
}

func (h *hub) leave(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
}

// tell reports the writes of a transaction.
func (h *hub) tell(writes []Write, revision uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		for i := range writes {
			if strings.HasPrefix(writes[i].Key, w.prefix) {
				w.add(Change{Key: writes[i].Key, Revision: revision, Deleted: writes[i].Deletes})
			}
		}
	}
}

// lag ends all watches: more has changed than can be told.
func (h *hub) lag() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		w.lagged = true
		w.nudge()
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for w := range h.watchers {
		w.nudge()
	}
}

func (w *watcher) add(c Change) {
	if w.lagged = w.lagged || len(w.unread) == maxUnread; w.lagged {
		w.unread = nil
	} else {
		w.unread = append(w.unread, c)
	}
	w.nudge()
}

func (w *watcher) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// next waits for changes.
func (h *hub) next(ctx context.Context, w *watcher) ([]Change, error) {
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		h.mu.Lock()
		unread, lagged, closed := w.unread, w.lagged, h.closed
		w.unread = nil
		h.mu.Unlock()
		switch {
		case lagged:
			return nil, ErrLagged
		case len(unread) > 0:
			if closed {
				w.nudge()
			}
			return unread, nil
		case closed:
			return nil, ErrClosed
		}
	}
}

// watch implements Store.Watch for s, whose changes are told to h.
func watch(ctx context.Context, s Store, h *hub, prefix string, after uint64) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		w := h.join(prefix)
		if w == nil {
			yield(Change{}, ErrClosed)
			return
		}
		defer h.leave(w)
		// Listed after joining: a change in between is reported twice at most.
		entries, err := s.List(ctx, Range{Prefix: prefix, KeysOnly: true})
		if err != nil {
			yield(Change{}, err)
			return
		}
		listed := after
		for _, e := range entries {
			listed = max(listed, e.Revision)
			if e.Revision > after && !yield(Change{Key: e.Key, Revision: e.Revision}, nil) {
				return
			}
		}
		for {
			changes, err := h.next(ctx, w)
			if err != nil {
				if ctx.Err() == nil {
					yield(Change{}, err)
				}
				return
			}
			for _, c := range changes {
				if (c.Revision > listed || c.Deleted) && !yield(c, nil) {
					return
				}
			}
		}
	}
}
