// Package faults is the way from package supervisortest to the actors of the
// system itself, which programs can't reach. It goes through the context of Serve.
package faults

import (
	"context"
	"sync"
)

// Way leads to the actors of one Serve. The zero value is closed; its methods
// may be called from any goroutine, and on nil.
type Way struct {
	mu   sync.Mutex
	send func(path, cause string, next bool)
}

type wayKey struct{}

// With returns a context for Serve to open the way in.
func (w *Way) With(ctx context.Context) context.Context { return context.WithValue(ctx, wayKey{}, w) }

// From returns the way in a context, or nil.
func From(ctx context.Context) *Way {
	w, _ := ctx.Value(wayKey{}).(*Way)
	return w
}

// Open says how an actor, named by its path below the root, is made to fail.
func (w *Way) Open(send func(path, cause string, next bool)) {
	if w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.send = send
	}
}

// Send has an actor fail: at once, or over the next message that it handles. It
// returns false where nothing is served.
func (w *Way) Send(path, cause string, next bool) bool {
	w.mu.Lock()
	send := w.send
	w.mu.Unlock()
	if send == nil {
		return false
	}
	send(path, cause, next)
	return true
}
