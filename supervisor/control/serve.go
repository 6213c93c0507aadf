package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"connectrpc.com/connect"

	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/httpserver"
)

// limits are how long a client may keep the server waiting. Answers, including streams,
// have no time limit.
type limits struct {
	headers, request time.Duration // for a request's headers, and for all of it
	idle             time.Duration // between requests
	watch            time.Duration // how often to check that the socket's file exists
}

var defaultLimits = limits{headers: 10 * time.Second, request: 30 * time.Second, idle: 2 * time.Minute, watch: time.Second}

// Serve serves on l until ctx ends, and closes l. End ctx after the supervisor has
// ended: until then requests are answered, and its last answers reach the clients that
// wait for them. Requests that are still open a second later are closed, including event
// streams. It returns nil after such an end; an error is the listener's.
//
// A request must arrive within 30 seconds. If l is from [Listen] and its socket is
// deleted, Serve creates it again within about a second.
func Serve(ctx context.Context, l net.Listener, s *supervisor.Supervisor, log *slog.Logger) error {
	return serve(ctx, l, Handler(s), log, defaultLimits)
}

func serve(ctx context.Context, l net.Listener, handler http.Handler, log *slog.Logger, limits limits) error {
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = r.WithContext(r.Context()) // a copy: the server looks at its own Body
			r.Body = &body{ReadCloser: r.Body, limit: limits.request}
			handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: limits.headers,
		ReadTimeout:       limits.request,
		IdleTimeout:       limits.idle,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		Protocols:         new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true) // gRPC
	if socket, ok := l.(*listener); ok {
		return httpserver.Serve(ctx, l, server, func(ctx context.Context) { socket.watch(ctx, limits.watch, log) })
	}
	return httpserver.Serve(ctx, l, server)
}

// body is a request's body. Its error names the server's time limit if that has ended
// it.
type body struct {
	io.ReadCloser
	limit time.Duration
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = connect.NewError(connect.CodeDeadlineExceeded, fmt.Errorf("the request did not arrive whole within %v", b.limit))
	}
	return n, err
}
