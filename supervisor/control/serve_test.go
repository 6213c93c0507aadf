package control

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/astrid-actors/astrid-actors/messages/actorspb"
	"github.com/astrid-actors/astrid-actors/messages/actorspb/actorspbconnect"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// long is a limit that no test should reach; bound limits how long a test waits for an
// event.
const (
	long  = time.Hour
	bound = time.Minute
)

var patient = limits{headers: long, request: long, idle: long, watch: long}

// serving serves on a socket of its own until the test ends. It sends to entered when
// the handler of a request begins.
func serving(t *testing.T, limits limits, log *slog.Logger) (path string, entered <-chan struct{}) {
	t.Helper()
	sup, err := supervisor.New(supervisor.Config{Home: t.TempDir(), CapsuleDirs: []string{t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "run", "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	began := make(chan struct{}, 10_000)
	inner := Handler(sup)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		inner.ServeHTTP(w, r)
	})
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := serve(ctx, l, handler, log, limits); err != nil {
			t.Error(err)
		}
	})
	parts.Go(func() {
		if err := sup.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		parts.Wait()
	})
	if err := sup.AwaitStarted(within(t)); err != nil {
		t.Fatal(err)
	}
	return path, began
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	t.Cleanup(cancel)
	return ctx
}

// dial returns a connection, which stays open until the test ends.
func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(bound)); err != nil {
		t.Fatal(err)
	}
	return c
}

// half begins a request, and sends half of its body.
func half(t *testing.T, path, procedure, contentType string) {
	t.Helper()
	c := dial(t, path)
	_, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: astrid\r\nContent-Type: %s\r\nContent-Length: 20\r\n\r\n{\"topic\": ", procedure, contentType)
	if err != nil {
		t.Fatal(err)
	}
}

// TestHalfABodyHoldsNoPlace checks that clients that send half a request block no other
// client, however many they are.
func TestHalfABodyHoldsNoPlace(t *testing.T) {
	path, entered := serving(t, patient, slog.New(slog.DiscardHandler))
	for range maxRequests + 76 {
		half(t, path, actorspbconnect.ControlTriggerProcedure, "application/json")
	}
	for range maxStreams + 44 {
		half(t, path, actorspbconnect.ControlEventsProcedure, "application/connect+json")
	}
	for range maxRequests + 76 + maxStreams + 44 {
		<-entered
	}
	client := Dial(path)
	if _, err := client.Trigger(within(t), TriggerRequest{Topic: "a"}); err != nil {
		t.Errorf("a trigger: %v", err)
	}
	next, stop := iter.Pull2(client.Events(within(t), EventsRequest{}))
	defer stop()
	if _, err, more := next(); err != nil || !more {
		t.Errorf("a stream of events: %v", err)
	}
}

// TestRequestsHaveATimeLimit checks that a client that stops in the middle of its
// request is told so, and disconnected.
func TestRequestsHaveATimeLimit(t *testing.T) {
	for name, test := range map[string]struct {
		limits limits
		send   string
		answer string // "" means none
	}{
		"half a body": {
			limits{headers: long, request: 50 * time.Millisecond, idle: long, watch: long},
			"POST " + actorspbconnect.ControlTriggerProcedure + " HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{",
			`{"code":"deadline_exceeded","message":"the request did not arrive whole within 50ms"}`,
		},
		"half a header":           {limits{headers: 50 * time.Millisecond, request: long, idle: long, watch: long}, "POST / HTTP/1.1\r\nHo", ""},
		"nothing":                 {limits{headers: 50 * time.Millisecond, request: long, idle: long, watch: long}, "", ""},
		"nothing after a request": {limits{headers: long, request: long, idle: 50 * time.Millisecond, watch: long}, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "404 page not found"},
		"nothing after HTTP/2's preface": {
			limits{headers: long, request: long, idle: 50 * time.Millisecond, watch: long}, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := serving(t, test.limits, slog.New(slog.DiscardHandler))
			c := dial(t, path)
			if _, err := io.WriteString(c, test.send); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(c) // until it is disconnected
			if err != nil {
				t.Fatalf("%q, %v", answer, err)
			}
			if !strings.Contains(string(answer), test.answer) {
				t.Errorf("the answer is %q, want %q in it", answer, test.answer)
			}
		})
	}
}

// TestStreamsOutliveTheLimits checks that the limits apply to the request, and not to
// the answer.
func TestStreamsOutliveTheLimits(t *testing.T) {
	const limit = 50 * time.Millisecond
	path, _ := serving(t, limits{headers: limit, request: limit, idle: limit, watch: limit}, slog.New(slog.DiscardHandler))
	for name, client := range map[string]*Client{
		"HTTP/1": Dial(path),
		"HTTP/2": http2Client(t, path),
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(within(t))
			defer cancel()
			next, stop := iter.Pull2(client.Events(ctx, EventsRequest{Follow: true}))
			defer stop()
			if _, err, more := next(); err != nil || !more {
				t.Fatalf("no event: %v", err)
			}
			timer := time.AfterFunc(5*limit, cancel)
			defer timer.Stop()
			var err error
			for more := true; more && err == nil; {
				_, err, more = next()
			}
			if ctx.Err() == nil {
				t.Errorf("the stream ended before its client: %v", err)
			}
		})
	}
}

func http2Client(t *testing.T, path string) *Client {
	t.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		Protocols: new(http.Protocols),
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &Client{rpc: actorspbconnect.NewControlClient(&http.Client{Transport: transport}, "http://astrid", connect.WithGRPC())}
}

// TestADeletedSocketIsMadeAgain checks that a deleted socket is created again, even if
// its whole directory was deleted: with a lock that excludes other daemons, and without
// closing open connections.
func TestADeletedSocketIsMadeAgain(t *testing.T) {
	for name, remove := range map[string]func(path string) error{
		"the socket":    os.Remove,
		"the directory": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
		"a stale socket in its place": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			other, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				return err
			}
			other.SetUnlinkOnClose(false)
			return other.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			limits := patient
			limits.watch = time.Millisecond
			path, _ := serving(t, limits, slog.New(slog.DiscardHandler))
			stream, err := Dial(path).rpc.Events(within(t), connect.NewRequest(&actorspb.EventsRequest{Follow: true}))
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			if err := remove(path); err != nil {
				t.Fatal(err)
			}
			for ctx := within(t); ; {
				_, err := Dial(path).Snapshot(ctx, false)
				if err == nil {
					break
				}
				if ctx.Err() != nil {
					t.Fatal(err)
				}
			}
			if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the socket's mode is %v, %v", info.Mode(), err)
			}
			if l, err := Listen(path); err == nil {
				l.Close()
				t.Error("another daemon could listen there")
			}
			if !stream.Receive() {
				t.Errorf("the stream that was open: %v", stream.Err())
			}
		})
	}
}

// TestAnotherDaemonsSocketStays checks that a daemon that bound the path while our files
// were gone keeps it, and that our log reports it once.
func TestAnotherDaemonsSocketStays(t *testing.T) {
	reader, writer := io.Pipe()
	limits := patient
	limits.watch = time.Millisecond
	said := make(chan string, 1000)
	var reading sync.WaitGroup
	reading.Go(func() {
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			said <- lines.Text()
		}
	})
	t.Cleanup(func() {
		_ = writer.Close()
		reading.Wait()
	})
	path, _ := serving(t, limits, slog.New(slog.NewJSONHandler(writer, nil)))
	aside := path + ".aside"
	other, err := net.Listen("unix", aside)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	if err := os.Rename(aside, path); err != nil {
		t.Fatal(err)
	}
	if line := <-said; !strings.Contains(line, ErrInUse.Error()) {
		t.Errorf("the log says %s", line)
	}
	for range 10 { // each check of ours connects to it
		c, err := other.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	if len(said) > 0 {
		t.Errorf("the log says it again: %s", <-said)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if line := <-said; !strings.Contains(line, "it was made again") {
		t.Errorf("the log says %s", line)
	}
}
