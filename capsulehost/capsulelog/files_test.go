package capsulelog

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

func TestOldFiles(t *testing.T) {
	names := map[string]bool{ // whether they remain on 2000-01-01
		"1999-12-24.log": false, "1999-01-01.log": false, "0001-01-01.log": false, "1996-02-29.log": false,
		"1999-12-25.log": true, "1999-12-31.log": true, "2000-01-01.log": true, "2031-01-01.log": true,
		"1999-12-24.log.gz": true, "1999-12-24.txt": true, "1999-12-24": true, "x1999-12-24.log": true, "1999-12-24.log~": true,
		"1999-13-01.log": true, "1999-02-29.log": true, "1999-1-01.log": true, "99999-1-1.log": true, "+999-12-24.log": true,
		"1999-12-24.LOG": true, ".1999-12-24.log": true, "1999/12-24.log": true, "readme.log": true, "audit-2024.log": true,
	}
	prepare := func(dir string) {
		for name := range names {
			write(t, filepath.Join(dir, name), "x")
		}
		if err := os.Mkdir(filepath.Join(dir, "1999-12-23.log"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("readme.log", filepath.Join(dir, "1999-12-22.log")); err != nil {
			t.Fatal(err)
		}
	}
	check := func(t *testing.T, dir string) {
		t.Helper()
		for name, stays := range names {
			if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != stays {
				t.Errorf("%s is there: %v, want %v", name, err == nil, stays)
			}
		}
		for _, name := range []string{"1999-12-23.log", "1999-12-22.log"} {
			if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	t.Run("at load", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{}, func(h home.Home) {
				prepare(h.LogDir("default", "greeter"))
				write(t, filepath.Join(h.LogDir("default", "other"), "1999-01-01.log"), "x")
			})
			check(t, w.home.LogDir("default", "greeter"))
			if _, err := os.Stat(filepath.Join(w.home.LogDir("default", "other"), "1999-01-01.log")); err != nil {
				t.Errorf("another capsule's log: %v", err)
			}
			w.checkProcess()
		})
	})
	t.Run("when a principal's file is begun", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{}, func(h home.Home) { prepare(h.LogDir("alice", "greeter")) })
			if err := os.Remove(filepath.Join(w.home.LogDir("alice", "greeter"), firstDay)); err != nil {
				t.Fatal(err)
			}
			w.Write(capsulehost.LevelInfo, "alice", "x")
			check(t, w.home.LogDir("alice", "greeter"))
		})
	})
}

// No link makes the Writer create, write or delete a file outside the home.
func TestLinks(t *testing.T) {
	for _, link := range []string{
		"home", "home/alice", "home/alice/.local/log", "home/alice/.local/log/greeter", "home/alice/.local/log/greeter/" + firstDay,
		"home/default", own[:len(own)-1], own + firstDay,
	} {
		synctest.Test(t, func(t *testing.T) {
			outside := t.TempDir()
			old := filepath.Join(outside, "1990-01-01.log")
			write(t, old, "old")
			target := outside
			if strings.HasSuffix(link, ".log") {
				target = old
			}
			w := newWorld(t, Config{}, func(h home.Home) {
				path := filepath.Join(h.Dir(), link)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(target, path); err != nil {
					t.Fatal(err)
				}
			})
			w.Write(capsulehost.LevelInfo, "alice", "x")
			w.Write(capsulehost.LevelInfo, "", "x")
			entries, err := os.ReadDir(outside)
			text, readErr := os.ReadFile(old)
			if err != nil || readErr != nil || len(entries) != 1 || string(text) != "old" {
				t.Errorf("link %s: %v %v %v %q", link, entries, err, readErr, text)
			}
			if !strings.Contains(w.process.String(), "escapes") {
				t.Errorf("link %s: nobody was told: %s", link, &w.process)
			}
		})
	}
}

// A pipe with the log's name must not block a guest.
func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{}, func(h home.Home) {
			dir := h.LogDir("default", "greeter")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(filepath.Join(dir, firstDay), 0o600); err != nil {
				t.Fatal(err)
			}
		})
		w.Write(capsulehost.LevelInfo, "", "x")
		if got := w.process.String(); !strings.Contains(got, `"message":"x"`) {
			t.Errorf("%s", got)
		}
		// Nor may it be written to while another process reads it, which may stop reading.
		reader, err := os.OpenFile(filepath.Join(w.home.Dir(), own, firstDay), os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.again = time.Time{} // as after the delay
		w.Write(capsulehost.LevelInfo, "", "y")
		if got := w.process.String(); !strings.Contains(got, `"message":"y"`) || !strings.Contains(got, "is no regular file") {
			t.Errorf("%s", got)
		}
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	})
}
