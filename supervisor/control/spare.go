package control

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
)

// spareDescriptors is the number of clients that a process without free file descriptors
// can still answer at once.
const spareDescriptors = 8

// spares are file descriptors that are kept open in reserve, so that they can be closed
// when a client connects and no others are free.
type spares struct {
	mu     sync.Mutex
	files  []*os.File
	closed bool
}

// spend returns a descriptor to the system. It returns false if none is left: the server
// then waits, longer each time, until a client has disconnected.
func (s *spares) spend() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.files) - 1
	if n < 0 {
		return false
	}
	_ = s.files[n].Close()
	s.files = s.files[:n]
	return true
}

// refill opens the missing spares, as far as the system allows.
func (s *spares) refill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed && len(s.files) < spareDescriptors {
		file, err := os.Open(os.DevNull)
		if err != nil {
			return // the end of the next connection tries again
		}
		s.files = append(s.files, file)
	}
}

func (s *spares) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, file := range s.files {
		_ = file.Close()
	}
	s.files, s.closed = nil, true
}

// outOfDescriptors reports whether the process, or the system, has no more of them.
func outOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// conn is a client's connection. Close refills the spares: the connection's own
// descriptor is the first that becomes free.
type conn struct {
	*net.UnixConn
	spares *spares
}

// Close ends the connection.
func (c *conn) Close() error {
	err := c.UnixConn.Close()
	c.spares.refill()
	return err
}
