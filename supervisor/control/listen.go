package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gofrs/flock"
)

// ErrInUse: another process serves at that socket, or is about to.
var ErrInUse = errors.New("a daemon serves there already")

// Listen opens the socket at path, with mode 0600; directories that are missing
// are made with mode 0700. The file of a daemon that is gone is replaced; where
// one lives the error matches [ErrInUse]. A lock file beside the socket, which
// stays, makes that certain when two start at once. Whoever connects under
// another user id than ours or root's is refused, where the system tells.
//
// Closing the listener removes the socket.
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
	l, err := bind(path)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	l.lock = lock
	return l, nil
}

// bind opens the socket. Nobody else of ours does so meanwhile.
func bind(path string) (*listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(narrow) // so that there is no moment with a wider mode
	}}
	inner, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	l := &listener{UnixListener: inner.(*net.UnixListener), path: path, uid: uint32(os.Geteuid())} //nolint:forcetypeassert,gosec // what "unix" makes; a user id
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.UnixListener.Close(), os.Remove(path))
	}
	if l.file, err = os.Lstat(path); err != nil {
		return nil, errors.Join(err, l.UnixListener.Close())
	}
	return l, nil
}

// removeStale removes a socket that nobody listens at.
func removeStale(path string) error {
	file, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case file.Mode().Type() != fs.ModeSocket:
		return errors.New("there is a file of that name which is not a socket")
	}
	probe, err := new(net.Dialer).DialContext(context.Background(), "unix", path)
	switch {
	case err == nil:
		_ = probe.Close()
		return ErrInUse
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	default:
		return err
	}
}

// listener is the daemon's socket, together with its file and its lock.
type listener struct {
	*net.UnixListener
	path string
	file fs.FileInfo // of the socket that we made
	lock *flock.Flock
	uid  uint32 // who may connect, beside root
}

// Accept waits for the next client that may connect.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if mayConnect(c, l.uid) {
			return c, nil
		}
		_ = c.Close()
	}
}

// Close ends the listening and removes the socket, if it is still ours.
func (l *listener) Close() error {
	err := l.UnixListener.Close()
	if file, statErr := os.Lstat(l.path); statErr == nil && os.SameFile(file, l.file) {
		err = errors.Join(err, os.Remove(l.path))
	}
	return errors.Join(err, l.lock.Close())
}
