package sockets

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"github.com/astrid-actors/astrid-actors/internal/unixsocket"
)

// Config configures a Door.
type Config struct {
	// Path is that of the socket, of at most 103 bytes; TokenPath that of the file with the
	// token. Their directory is made, of mode 0700, if it does not exist.
	Path, TokenPath string
	// Version is what clients are told as the version of the server.
	Version string
	Log     *slog.Logger // nil logs nothing
}

// Limits of clients.
const (
	maxStreams    = 8 // of one instance
	maxHandshakes = 8 // at once; further clients wait in the socket's queue
	handshakeTime = 5 * time.Second
)

// maxPath is the length of the longest path of a socket on all systems, in bytes.
const maxPath = 103

// Door is the one socket of a system. Its methods may be called from any goroutine.
type Door struct {
	cfg Config

	mu       sync.Mutex
	owner    string // the capsule that has bound it; "" if none has
	binders  int    // the instances that have
	listener *net.UnixListener
	stop     context.CancelFunc
	clients  chan net.Conn // those that have proved who they are
	ended    sync.WaitGroup
}

// New returns a door that is closed. It touches no file before a capsule binds.
func New(cfg Config) *Door {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Door{cfg: cfg}
}

// bind opens the door for an instance of a capsule, unless another capsule holds it.
func (d *Door) bind(capsule string) (<-chan net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owner != "" && d.owner != capsule {
		return nil, fmt.Errorf("capsule %q has bound the socket already: one capsule can", d.owner)
	}
	if d.owner == "" {
		if err := d.open(); err != nil {
			return nil, fmt.Errorf("bind the socket: %w", err)
		}
		d.owner = capsule
	}
	d.binders++
	return d.clients, nil
}

// leave is called once for each bind. The last one closes the door.
func (d *Door) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.binders--; d.binders > 0 {
		return
	}
	d.owner = ""
	d.stop()
	_ = d.listener.Close() // it removes the socket
	_ = os.Remove(d.cfg.TokenPath)
	d.ended.Wait()
	close(d.clients)
	for c := range d.clients {
		_ = c.Close()
	}
}

// open makes the token and the socket, and begins to let clients in.
func (d *Door) open() error {
	if n := len(d.cfg.Path); n > maxPath {
		return fmt.Errorf("%s has %d bytes, and the path of a socket at most %d: choose a shorter home", d.cfg.Path, n, maxPath)
	}
	if err := os.MkdirAll(filepath.Dir(d.cfg.Path), 0o700); err != nil {
		return err
	}
	if err := unixsocket.RemoveStale(d.cfg.Path); err != nil { // before the token of whoever listens is replaced
		return fmt.Errorf("%s: %w", d.cfg.Path, err)
	}
	token := make([]byte, tokenSize)
	_, _ = rand.Read(token) // never fails
	if err := renameio.WriteFile(d.cfg.TokenPath, []byte(hex.EncodeToString(token)), 0o600, renameio.IgnoreUmask()); err != nil {
		return err
	}
	listener, err := unixsocket.Listen(d.cfg.Path)
	if err != nil {
		_ = os.Remove(d.cfg.TokenPath)
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	d.listener, d.stop, d.clients = listener, stop, make(chan net.Conn, maxStreams)
	d.ended.Go(func() { d.letIn(ctx, listener, d.clients, token) })
	return nil
}

// letIn accepts clients until the listener is closed, and checks several at a time: a slow
// one keeps no other out.
func (d *Door) letIn(ctx context.Context, listener *net.UnixListener, clients chan<- net.Conn, token []byte) {
	places := make(chan struct{}, maxHandshakes)
	var checks sync.WaitGroup
	defer checks.Wait()
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		c, err := listener.AcceptUnix()
		if err != nil {
			<-places
			if ctx.Err() != nil {
				return
			}
			d.cfg.Log.Warn("accepting a client failed", "err", err)
			if !rest(ctx) { // too many open files: they may become fewer
				return
			}
			continue
		}
		checks.Go(func() {
			defer func() { <-places }()
			if err := d.check(ctx, c, token); err != nil {
				_ = c.Close()
				d.cfg.Log.Warn("client refused", "err", err)
				return
			}
			select {
			case clients <- c:
			case <-ctx.Done():
				_ = c.Close()
			}
		})
	}
}

// rest waits a moment; it returns false if ctx ended first.
func rest(ctx context.Context) bool {
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
