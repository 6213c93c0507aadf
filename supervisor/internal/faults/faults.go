// Package faults connects package supervisortest to the system's own actors, which
// programs can't reach. The connection is passed in the context of Serve.
package faults

import (
	"context"
	"sync"
)

// Way leads to the actors of one Serve. The zero value is closed. Its methods may be
// called from any goroutine, and on nil.
type Way struct {
	mu   sync.Mutex
	send func(path, cause string, next bool)
}

type wayKey struct{}

// With returns a context in which Serve opens the way.
func (w *Way) With(ctx context.Context) context.Context { return context.WithValue(ctx, wayKey{}, w) }

// From returns the way in a context, or nil.
func From(ctx context.Context) *Way {
	w, _ := ctx.Value(wayKey{}).(*Way)
	return w
}

// Open sets the function that makes an actor fail. An actor is named by its path below
// the root.
func (w *Way) Open(send func(path, cause string, next bool)) {
	if w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.send = send
	}
}

// Send makes an actor fail: at once, or on the next message that it handles. It returns
// false if Serve does not run.
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
