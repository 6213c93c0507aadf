package unixsocket

import (
	"net"

	"golang.org/x/sys/unix"
)

// narrow removes the other users' rights from a socket that has no name yet: its file is
// created with this mode.
func narrow(fd uintptr) { _ = unix.Fchmod(int(fd), 0o600) }

// PeerUID returns the user id of the other end. Where the system does not tell it, that
// is this process's: the socket's mode decides.
func PeerUID(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var peerErr error
	err = raw.Control(func(fd uintptr) {
		peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err == nil {
		err = peerErr
	}
	if err != nil {
		return 0, err
	}
	return peer.Uid, nil
}
