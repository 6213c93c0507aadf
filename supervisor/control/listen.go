package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/astrid-actors/astrid-actors/internal/unixsocket"
)

// ErrInUse: another process serves on that socket, or is about to.
var ErrInUse = errors.New("a daemon serves there already")

// Listen opens the socket at path, with mode 0600, and creates missing directories with
// mode 0700. It replaces the file of a daemon that has ended; if a daemon still runs
// there, the error matches [ErrInUse]. A lock file beside the socket guarantees this
// even when two daemons start at once; the file is never removed. Clients whose user id
// is neither ours nor root's are refused, if the system reports the id.
//
// The listener keeps a few file descriptors in reserve: a process that has run out of
// them still answers. Closing it removes the socket.
func Listen(path string) (net.Listener, error) {
	l, err := listen(path)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	return l, nil
}

func listen(path string) (*listener, error) {
	if longest := len(syscall.RawSockaddrUnix{}.Path) - 1; len(path) > longest {
		return nil, fmt.Errorf("the path has %d bytes, and a socket's may have %d", len(path), longest)
	}
	lock, err := lockBeside(path)
	if err != nil {
		return nil, err
	}
	socket, file, err := bind(path)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	l := &listener{path: path, uid: uint32(os.Geteuid()), lock: lock, socket: socket, file: file} //nolint:gosec // a user id
	l.spares.refill()
	return l, nil
}

// lockBeside locks the file that ensures that only one daemon opens the socket.
func lockBeside(path string) (*flock.Flock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s.lock: %w", path, err)
	}
	if !locked {
		return nil, ErrInUse
	}
	return lock, nil
}

// bind opens the socket, and returns its file. The caller holds the lock, so no other
// daemon does so at the same time.
func bind(path string) (*net.UnixListener, fs.FileInfo, error) {
	socket, err := unixsocket.Listen(path)
	if errors.Is(err, unixsocket.ErrInUse) {
		err = ErrInUse
	}
	if err != nil {
		return nil, nil, err
	}
	socket.SetUnlinkOnClose(false)
	file, err := os.Lstat(path)
	if err != nil {
		return nil, nil, errors.Join(err, socket.Close())
	}
	return socket, file, nil
}

// mayConnect reports whether the other end is a user's, or root's.
func mayConnect(c *net.UnixConn, uid uint32) bool {
	peer, err := unixsocket.PeerUID(c)
	return err == nil && (peer == uid || peer == 0)
}

// listener is the daemon's socket, together with its file and its lock.
type listener struct {
	path   string
	uid    uint32 // the user id that may connect, beside root
	spares spares

	mu     sync.Mutex
	socket *net.UnixListener // replaced when its file was deleted
	file   fs.FileInfo       // of the socket
	lock   *flock.Flock
	closed bool
}

// Accept waits for the next client that may connect.
func (l *listener) Accept() (net.Conn, error) {
	for {
		socket := l.current()
		c, err := socket.AcceptUnix()
		switch {
		case err == nil && mayConnect(c, l.uid):
			return &conn{UnixConn: c, spares: &l.spares}, nil
		case err == nil:
			_ = c.Close()
		case outOfDescriptors(err) && l.spares.spend():
			// There is a descriptor for this client now.
		case l.current() != socket:
			// A new socket has replaced it.
		default:
			return nil, err
		}
	}
}

func (l *listener) current() *net.UnixListener {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.socket
}

// Addr returns the socket's path.
func (l *listener) Addr() net.Addr { return l.current().Addr() }

// Close stops listening and removes the socket, if it is still ours.
func (l *listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.spares.close()
	err := l.socket.Close()
	if file, statErr := os.Lstat(l.path); statErr == nil && os.SameFile(file, l.file) {
		err = errors.Join(err, os.Remove(l.path))
	}
	return errors.Join(err, l.lock.Close())
}

// watch creates the socket again if it was deleted, until ctx ends.
func (l *listener) watch(ctx context.Context, every time.Duration, log *slog.Logger) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		again, err := l.restore()
		switch {
		case err != nil && err.Error() != said:
			said = err.Error()
			log.Error("the socket was deleted and can't be made again: commands don't reach this daemon; trying on",
				"err", err, "socket", l.path)
		case again:
			said = ""
			log.Warn("the socket was deleted: it was made again", "socket", l.path)
		}
	}
}

// restore binds a new socket if the path no longer leads to ours. If another daemon has
// bound the path, restore leaves it alone.
func (l *listener) restore() (again bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false, nil
	}
	// The kernel keeps a bound socket's inode: no other file can have it.
	if file, err := os.Lstat(l.path); err == nil && os.SameFile(file, l.file) {
		return false, nil
	}
	lock := l.lock
	if !l.lockIsThere() {
		if lock, err = lockBeside(l.path); err != nil {
			return false, err
		}
	}
	socket, file, err := bind(l.path)
	if err != nil {
		if lock != l.lock {
			err = errors.Join(err, lock.Close())
		}
		return false, err
	}
	if lock != l.lock {
		_ = l.lock.Close() // of a file that is gone
	}
	old := l.socket
	l.socket, l.file, l.lock = socket, file, lock
	_ = old.Close() // wakes Accept
	return true, nil
}

// lockIsThere reports whether the lock file still exists. If it was deleted, too,
// another process could lock a new file of that name.
func (l *listener) lockIsThere() bool {
	held, err := l.lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(l.path + ".lock")
	return err == nil && os.SameFile(held, there)
}
