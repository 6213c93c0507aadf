package control

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
)

// spareDescriptors is how many clients are answered by a process that has run out of
// file descriptors.
const spareDescriptors = 8

// spares are file descriptors that are open for nothing, so that they can be closed
// when a client connects and there are no others.
type spares struct {
	mu     sync.Mutex
	files  []*os.File
	closed bool
}

// spend gives a descriptor back to the system. It returns false if there is none left:
// the server then waits, longer each time, until a client has gone.
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

// refill opens what is missing, as far as the system allows.
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

// outOfDescriptors says whether the process, or the system, has no more of them.
func outOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// conn is a client's connection. Its end refills the spares: its own descriptor is the
// first that they can have.
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
