package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// limited serves a page with limits of its own, and returns its address.
func limited(t *testing.T, limits limits, log *slog.Logger) string {
	t.Helper()
	sys := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{t.TempDir()}})
	l, err := Listen(t.Context(), "127.0.0.1:0", Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := serve(ctx, l, sys.Supervisor, Config{Log: log}, limits); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		serving.Wait()
	})
	return l.Addr().String()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSlowClients checks that slow clients are disconnected, and hold no connection.
func TestSlowClients(t *testing.T) {
	const short, long = 50 * time.Millisecond, time.Hour
	for name, test := range map[string]struct {
		limits       limits
		send, answer string
	}{
		"half a form": {
			limits{headers: long, request: short, idle: long, connections: 10},
			"POST /trigger HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n" +
				"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 20\r\n\r\ntopic=",
			"the form can't be read",
		},
		"half a header": {limits{headers: short, request: long, idle: long, connections: 10}, "GET / HT", ""},
		"nothing after a request": {
			limits{headers: long, request: long, idle: short, connections: 10}, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "alive",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, limited(t, test.limits, slog.New(slog.DiscardHandler)))
			if _, err := io.WriteString(c, test.send); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(c)
			if err != nil || !strings.Contains(string(answer), test.answer) {
				t.Errorf("%q, %v", answer, err)
			}
		})
	}
}

// TestStreamsOutliveTheLimits checks that the limits apply only to the request.
func TestStreamsOutliveTheLimits(t *testing.T) {
	const limit = 50 * time.Millisecond
	address := limited(t, limits{headers: limit, request: limit, idle: limit, connections: 10}, slog.New(slog.DiscardHandler))
	c := dial(t, address)
	if _, err := io.WriteString(c, "GET /stream?view=overview HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * limit)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() || !strings.Contains(string(got), "text/event-stream") {
		t.Errorf("it ended: %v\n%s", err, got)
	}
}

// TestConnectionsAreBounded checks that connections over the limit are closed at once,
// that the log reports it once, and that a closed connection makes room for a new one.
func TestConnectionsAreBounded(t *testing.T) {
	const most = 5
	var log bytes.Buffer
	t.Cleanup(func() { // after the last write to it
		if n := strings.Count(log.String(), "too many connections"); n != 1 {
			t.Errorf("the log says so %d times:\n%s", n, &log)
		}
	})
	address := limited(t, limits{headers: time.Hour, request: time.Hour, idle: time.Hour, connections: most}, slog.New(slog.NewJSONHandler(&log, nil)))
	ask := func(c net.Conn) error {
		if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			return err
		}
		_, err := c.Read(make([]byte, 1))
		return err
	}
	var held []net.Conn
	for range most {
		c := dial(t, address)
		if err := ask(c); err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	for range 3 {
		if err := ask(dial(t, address)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("one more: %v", err)
		}
	}
	_ = held[0].Close()
	for deadline := time.Now().Add(time.Minute); ; {
		response, err := http.Get("http://" + address + "/healthz")
		if err == nil {
			_ = response.Body.Close()
			http.DefaultClient.CloseIdleConnections()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
