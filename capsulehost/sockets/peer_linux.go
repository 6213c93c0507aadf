package sockets

import (
	"net"

	"golang.org/x/sys/unix"
)

// narrow removes the other users' rights from a socket that has no name yet: its file is
// made with this mode.
func narrow(fd uintptr) { _ = unix.Fchmod(int(fd), 0o600) }

// userOf returns the user id of the other end.
func userOf(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	uid := -1
	var peerErr error
	err = raw.Control(func(fd uintptr) {
		var peer *unix.Ucred
		if peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); peerErr == nil {
			uid = int(peer.Uid)
		}
	})
	if err == nil {
		err = peerErr
	}
	return uid, err
}
