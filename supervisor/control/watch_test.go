package control

import (
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// A request may last longer than the client's patience, as long as the daemon answers
// another one meanwhile.
func TestARequestMayLast(t *testing.T) {
	probed := make(chan struct{}, 1)
	path := filepath.Join(t.TempDir(), "s")
	serveOn(t, path, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			select {
			case probed <- struct{}{}:
			default:
			}
			http.NotFound(w, r)
			return
		}
		<-probed
		w.Header().Set("Content-Type", "application/proto")
	})
	if err := Dial(path).WithPatience(2*time.Second).Stop(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

// A daemon that answers nothing is given up on, whatever the request is.
func TestADaemonThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	over := make(chan struct{})
	serveOn(t, path, func(http.ResponseWriter, *http.Request) { <-over })
	defer close(over)
	client := Dial(path).WithPatience(20 * time.Millisecond)
	if err := client.Stop(t.Context(), "a"); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("stop: %v", err)
	}
	for _, err := range client.Events(t.Context(), EventsRequest{Follow: true}) {
		if !errors.Is(err, ErrNoAnswer) {
			t.Errorf("events: %v", err)
		}
	}
}

// serveOn serves a handler on a socket until the test ends.
func serveOn(t *testing.T, path string, handler http.HandlerFunc) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
}
