package control

import (
	"context"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/astrid-actors/astrid-actors/supervisor"
)

// shutdownGrace is what requests are given to end by themselves, which they do
// once the supervisor has.
const shutdownGrace = time.Second

// Serve answers at l until ctx ends, and closes l. End ctx after the supervisor
// has: until then requests are answered, and its last answers reach whoever
// waits for them. Requests that are open a second later are cut off, event
// streams among them. It returns nil after such an end; an error is the
// listener's.
func Serve(ctx context.Context, l net.Listener, s *supervisor.Supervisor, log zerolog.Logger) error {
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var open sync.WaitGroup
	handler := Handler(s)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			open.Add(1)
			defer open.Done()
			handler.ServeHTTP(w, r)
		}),
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          stdlog.New(log, "", 0),
		Protocols:         new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true) // gRPC

	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	var err error
	select {
	case err = <-failed:
		err = fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(requests, shutdownGrace)
		defer cancel()
		_ = server.Shutdown(grace) // where it comes too early, the rest is cut off
	}
	cut()
	_ = server.Close()
	open.Wait()
	return err
}
