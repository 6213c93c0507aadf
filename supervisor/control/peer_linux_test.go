package control

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestStrangersAreRefused connects as a user that is not the socket's, in spite of its
// mode.
func TestStrangersAreRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	dial := stranger(t, l, dir)
	accepted := make(chan net.Conn, 1)
	go func() {
		defer close(accepted)
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	t.Cleanup(func() {
		l.Close()
		for c := range accepted {
			c.Close()
			t.Error("a stranger was accepted")
		}
	})

	strange, err := dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer strange.Close()
	if err := strange.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := strange.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the stranger got %v, want the end", err)
	}
}

// stranger returns a function that connects as another user: with another user id if the
// test may change it; otherwise it changes the listener's owner.
func stranger(t *testing.T, l *listener, dir string) func(path string) (net.Conn, error) {
	t.Helper()
	if os.Geteuid() != 0 {
		l.uid++
		return func(path string) (net.Conn, error) { return net.Dial("unix", path) }
	}
	for file, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o755, filepath.Join(dir, "s"): 0o666} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	return func(path string) (c net.Conn, err error) {
		over := make(chan struct{})
		go func() {
			defer close(over)
			runtime.LockOSThread() // and never unlock: the thread ends with its user id
			const nobody = 65534
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
				err = errno
				return
			}
			c, err = net.Dial("unix", path)
		}()
		<-over
		return c, err
	}
}
