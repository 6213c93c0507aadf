package control

import (
	"net"

	"golang.org/x/sys/unix"
)

// narrow removes the other users' rights from a socket that has no name yet: its file is
// created with this mode.
func narrow(fd uintptr) { _ = unix.Fchmod(int(fd), 0o600) }

// mayConnect reports whether the other end is this user's, or root's.
func mayConnect(c *net.UnixConn, uid uint32) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred
	var peerErr error
	err = raw.Control(func(fd uintptr) {
		peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return err == nil && peerErr == nil && (peer.Uid == uid || peer.Uid == 0)
}
