package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// manager is a socket like systemd's, with the messages that it has received.
type manager struct {
	*net.UnixConn
	t *testing.T
}

func newManager(t *testing.T, watchdog time.Duration) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "systemd") //nolint:usetesting // a test's own may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	t.Setenv("WATCHDOG_USEC", fmt.Sprint(watchdog.Microseconds()))
	return &manager{conn, t}
}

// await reads messages until one of them has all these lines.
func (m *manager) await(lines ...string) {
	m.t.Helper()
	var heard []string
	buffer := make([]byte, 4096)
	for {
		if err := m.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			m.t.Fatal(err)
		}
		n, err := m.Read(buffer)
		if err != nil {
			m.t.Fatalf("systemd was not told %q, but %q: %v", lines, heard, err)
		}
		told := "\n" + string(buffer[:n]) + "\n"
		heard = append(heard, told)
		all := true
		for _, line := range lines {
			all = all && strings.Contains(told, "\n"+line+"\n")
		}
		if all {
			return
		}
	}
}

// systemd is notified of each step, with the actual state.
func TestTellSystemd(t *testing.T) {
	m := newManager(t, 200*time.Millisecond)
	release := make(chan struct{})
	s := supervisortest.New(t, supervisor.Config{}, supervisortest.Func("slow", "t", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
		return supervisortest.JSON(1)
	}))
	s.Inject("slow", supervisortest.Fault{At: supervisortest.AtLoad, Do: func(context.Context, supervisortest.Visit) error {
		<-release
		return nil
	}})
	s.Launch()
	ctx, stop := context.WithCancelCause(t.Context())
	done := make(chan struct{})
	var log strings.Builder
	go func() {
		defer close(done)
		tellSystemd(ctx, s.Supervisor, slog.New(zerolog.NewSlogHandler(zerolog.New(&log))))
	}()
	m.await("STATUS=1 loading (starting: 1 to go)", "EXTEND_TIMEOUT_USEC=30000000", "WATCHDOG=1")
	close(release)
	m.await("READY=1", "STATUS=1 ready")
	if err := s.Stop(t.Context(), "slow"); err != nil {
		t.Fatal(err)
	}
	m.await("WATCHDOG=1", "STATUS=1 stopped")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	m.await("STATUS=1 stopped") // it may have been sent earlier
	for range 3 {               // its actors are gone: the watchdog is not served
		m.silentOfWatchdog()
	}
	stop(errors.New("signal"))
	m.await("STOPPING=1", "STATUS=stopping")
	<-done
	if !strings.Contains(log.String(), "systemd's watchdog is not served") {
		t.Errorf("the log says %s", log.String())
	}
}

// silentOfWatchdog reads the next message, after those that may have been sent earlier.
func (m *manager) silentOfWatchdog() {
	m.t.Helper()
	buffer := make([]byte, 4096)
	for range 10 {
		if err := m.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			m.t.Fatal(err)
		}
		n, err := m.Read(buffer)
		if err != nil {
			m.t.Fatal(err)
		}
		if !strings.Contains(string(buffer[:n]), "WATCHDOG=1") {
			return
		}
	}
	m.t.Error("the watchdog is told that a system without actors is well")
}

// Without systemd nothing is sent, and nothing is waited for.
func TestNoSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	tellSystemd(t.Context(), nil, slog.New(slog.DiscardHandler))
}
