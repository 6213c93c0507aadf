package control_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func TestListenModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	path := filepath.Join(dir, "s")
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]fs.FileMode{
		filepath.Dir(dir): fs.ModeDir | 0o700, dir: fs.ModeDir | 0o700, path: fs.ModeSocket | 0o600,
	} {
		info, err := os.Lstat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", filepath.Base(file), info.Mode(), want)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestListenReplacesAStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	abandon(t, path)
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestListenLeavesALiveSocketAlone(t *testing.T) {
	t.Run("another daemon's", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		first, err := control.Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		if _, err := control.Listen(path); !errors.Is(err, control.ErrInUse) {
			t.Errorf("error %v, want %v", err, control.ErrInUse)
		}
	})
	t.Run("a stranger's, without a lock", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		first, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		if _, err := control.Listen(path); !errors.Is(err, control.ErrInUse) {
			t.Errorf("error %v, want %v", err, control.ErrInUse)
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatalf("the live socket is gone: %v", err)
		}
		c.Close()
	})
}

func TestListenRefusesWhatIsNoSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := control.Listen(path); err == nil {
		l.Close()
		t.Fatal("it listens")
	} else if !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file holds %q now, %v", text, err)
	}
}

func TestListenRefusesALongPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("s", 120))
	if l, err := control.Listen(path); err == nil {
		l.Close()
		t.Fatal("it listens")
	} else if !strings.Contains(err.Error(), "a socket's may have") {
		t.Errorf("error %v", err)
	}
}

// TestListenAtOnce checks that of many daemons that start at once, over a stale socket,
// one listens, and the others return ErrInUse.
func TestListenAtOnce(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "s")
		abandon(t, path)
		var mu sync.Mutex
		var listening []net.Listener
		var start, done sync.WaitGroup
		start.Add(1)
		for range 8 {
			done.Go(func() {
				start.Wait()
				l, err := control.Listen(path)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					listening = append(listening, l)
				} else if !errors.Is(err, control.ErrInUse) {
					t.Errorf("error %v, want %v", err, control.ErrInUse)
				}
			})
		}
		start.Done()
		done.Wait()
		if len(listening) != 1 {
			t.Fatalf("%d listen, want 1", len(listening))
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if err := listening[0].Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCloseLeavesAnothersSocket checks that Close does not remove another socket that
// has our socket's name.
func TestCloseLeavesAnothersSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other's socket is gone: %v", err)
	}
}
