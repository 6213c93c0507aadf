// Package unixsocket opens Unix sockets that only one user can reach.
package unixsocket

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// ErrInUse: a process listens at that path already.
var ErrInUse = errors.New("another process listens there")

// Listen opens the socket at path with mode 0600. It replaces a socket on which nobody
// listens any more; if somebody does, its error matches ErrInUse. A file that is no socket
// stays, and is an error. Two calls at once, for one path, may both succeed: a caller that
// must be the only one needs a lock.
func Listen(path string) (*net.UnixListener, error) {
	if err := RemoveStale(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(narrow) // so that its mode is never wider
	}}
	inner, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	socket := inner.(*net.UnixListener) //nolint:forcetypeassert // the type for "unix"
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, socket.Close()) // which removes it
	}
	return socket, nil
}

// RemoveStale removes a socket on which nobody listens. Its errors are those of Listen, for
// a caller that has more to prepare before its clients find the socket.
func RemoveStale(path string) error {
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
