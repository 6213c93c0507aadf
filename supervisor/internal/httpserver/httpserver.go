// Package httpserver ends HTTP servers as Serve ends: open requests have a moment, and
// no goroutine is left.
package httpserver

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// grace limits how long open requests may continue after the end of ctx.
const grace = time.Second

// Serve serves on l until ctx ends, and closes l. Requests, including streams, that are
// still open a second later are closed; their contexts end then. Each of beside runs on
// a goroutine of its own, until the same moment. Serve returns after all of them: nil,
// or the listener's error. It changes the server's Handler and BaseContext.
func Serve(ctx context.Context, l net.Listener, server *http.Server, beside ...func(context.Context)) error {
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var open sync.WaitGroup
	for _, run := range beside {
		open.Go(func() { run(requests) })
	}
	handler := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open.Add(1)
		defer open.Done()
		handler.ServeHTTP(w, r)
	})
	server.BaseContext = func(net.Listener) context.Context { return requests }
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	var err error
	select {
	case err = <-failed:
		err = fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
		timeout, cancel := context.WithTimeout(requests, grace)
		defer cancel()
		_ = server.Shutdown(timeout) // its error says that requests were still open
	}
	cut()
	_ = server.Close()
	open.Wait()
	return err
}
