package modcache

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	one     = Name{1}
	two     = Name{2}
	content = bytes.Repeat([]byte("machine code "), 20)
)

// journal is a log with one line per warning.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, string(p))
	return len(p), nil
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// expect checks the number of warnings since the last call.
func (j *journal) expect(t *testing.T, n int) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.lines) != n {
		t.Errorf("%d warnings, want %d: %q", len(j.lines), n, j.lines)
	}
	j.lines = nil
}

func TestGetReturnsWhatWasPut(t *testing.T) {
	var log journal
	dir := filepath.Join(t.TempDir(), "made", "on demand")
	s := Open(dir, log.logger())
	if got := s.Get(one); got != nil {
		t.Errorf("an empty cache has %d bytes", len(got))
	}
	s.Put(one, content[:100], content[100:])
	s.Put(two)
	for range 2 { // also in the next process
		if got := s.Get(one); !bytes.Equal(got, content) {
			t.Errorf("got %d bytes, want %d", len(got), len(content))
		}
		if got := s.Get(two); got == nil || len(got) > 0 {
			t.Errorf("got %q, want an empty entry", got)
		}
		s = Open(dir, log.logger())
	}
	log.expect(t, 0)
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Errorf("the directory has %v, %v", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s has mode %v, %v", f.Name(), info.Mode(), err)
		}
	}
}

// An entry with any bit changed, one that is too short or too long, and one with another's name
// are treated as missing. Put replaces them.
func TestDamagedEntries(t *testing.T) {
	dir := t.TempDir()
	s := Open(dir, slog.New(slog.DiscardHandler))
	s.Put(one, content)
	s.Put(two, []byte("another"))
	good := mustRead(t, s.path(one))
	elsewhere := Open(t.TempDir(), slog.New(slog.DiscardHandler))
	elsewhere.Put(one, content)

	damaged := map[string][]byte{
		"emptied": {}, "another module's": mustRead(t, s.path(two)), "of another key": mustRead(t, elsewhere.path(one)),
		"longer": append(bytes.Clone(good), 0),
	}
	for i := range good {
		bit := bytes.Clone(good)
		bit[i] ^= 1 << (i % 8)
		damaged[fmt.Sprintf("bit in byte %d", i)] = bit
		damaged[fmt.Sprintf("cut at byte %d", i)] = good[:i]
	}
	for name, entry := range damaged {
		var log journal
		s := Open(dir, log.logger())
		if err := os.WriteFile(s.path(one), entry, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time it is not logged again
			if got := s.Get(one); got != nil {
				t.Fatalf("%s: got %d bytes", name, len(got))
			}
		}
		log.expect(t, 1)
		s.Put(one, content)
		if got := s.Get(one); !bytes.Equal(got, content) {
			t.Fatalf("%s: not replaced", name)
		}
	}
}

// Only a regular file can be an entry, and reading others does not block. A file larger than
// any entry is not read.
func TestStrangeEntries(t *testing.T) {
	for name, replace := range map[string]func(path string) error{
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"a pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a link": func(path string) error {
			return errors.Join(os.Rename(path+".good", path+".other"), os.Symlink(path+".other", path))
		},
		"huge": func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)) },
	} {
		t.Run(name, func(t *testing.T) {
			var log journal
			s := Open(t.TempDir(), log.logger())
			s.Put(one, content)
			path := s.path(one)
			if err := errors.Join(os.Rename(path, path+".good"), replace(path)); err != nil {
				t.Fatal(err)
			}
			if got := s.Get(one); got != nil {
				t.Errorf("got %d bytes", len(got))
			}
			log.expect(t, 1)
		})
	}
}

// A key that others could read or write, or that is damaged, is replaced, and entries
// authenticated with it are no longer valid.
func TestKeyThatCannotBeTrusted(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"readable by others": func(path string) error { return os.Chmod(path, 0o644) },
		"too short":          func(path string) error { return os.Truncate(path, 31) },
		"emptied":            func(path string) error { return os.Truncate(path, 0) },
		"too long":           func(path string) error { return os.Truncate(path, 33) },
		"a link": func(path string) error {
			return errors.Join(os.Rename(path, path+".other"), os.Symlink(path+".other", path))
		},
		"a pipe":       func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
		"an empty dir": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"somebody's":   func(path string) error { return chown(t, path) },
	} {
		t.Run(name, func(t *testing.T) {
			var log journal
			dir := t.TempDir()
			Open(dir, log.logger()).Put(one, content)
			if err := spoil(filepath.Join(dir, keyFile)); err != nil {
				t.Skip(err)
			}
			s := Open(dir, log.logger())
			log.expect(t, 1)
			if got := s.Get(one); got != nil {
				t.Errorf("an entry of the old key: %d bytes", len(got))
			}
			log.expect(t, 1)
			s.Put(one, content)
			if got := Open(dir, log.logger()).Get(one); !bytes.Equal(got, content) {
				t.Errorf("got %d bytes, want %d", len(got), len(content))
			}
			log.expect(t, 0)
		})
	}
}

// chown gives a file to another user, which requires root.
func chown(t *testing.T, path string) error {
	t.Helper()
	if os.Geteuid() != 0 {
		return errors.New("only root can give files away")
	}
	return os.Chown(path, 12345, -1)
}

// An unusable directory is logged once, and nothing is stored.
func TestDirectoryThatCannotBeUsed(t *testing.T) {
	for name, path := range map[string]func(dir string) (string, error){
		"a plain file":    func(dir string) (string, error) { return dir + "/f", os.WriteFile(dir+"/f", nil, 0o600) },
		"under a file":    func(dir string) (string, error) { return dir + "/f/cache", os.WriteFile(dir+"/f", nil, 0o600) },
		"a dangling link": func(dir string) (string, error) { return dir + "/l", os.Symlink(dir+"/nowhere/else", dir+"/l") },
		"of a system":     func(string) (string, error) { return "/proc/self/cache", nil },
		"somebody's":      func(dir string) (string, error) { return dir, chown(t, dir) },
		"key in the way":  func(dir string) (string, error) { return dir, os.MkdirAll(dir+"/key/full", 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			var log journal
			dir, err := path(t.TempDir())
			if err != nil {
				t.Skip(err)
			}
			s := Open(dir, log.logger())
			s.Put(one, content)
			if got := s.Get(one); s != nil || got != nil {
				t.Errorf("it is used: %d bytes", len(got))
			}
			if name == "key in the way" {
				log.lines = log.lines[1:] // the first warning is about the key
			}
			log.expect(t, 1)
		})
	}
}

// If the disk is full, Put logs it once and leaves no file behind, and existing entries are
// still found.
func TestFullDisk(t *testing.T) {
	var log journal
	dir := t.TempDir()
	s := Open(dir, log.logger())
	s.Put(one, content)
	limitFiles(t, 100)
	for range 3 {
		s.Put(two, content)
	}
	log.expect(t, 1)
	if got := s.Get(one); !bytes.Equal(got, content) || s.Get(two) != nil {
		t.Errorf("got %d bytes, want %d", len(got), len(content))
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("the directory has %v, %v", files, err)
	}
	fresh := filepath.Join(t.TempDir(), "fresh")
	limitFiles(t, 10) // no room even for a key
	if s := Open(fresh, log.logger()); s != nil {
		t.Error("there is a cache")
	}
	log.expect(t, 1)
	if files, err := os.ReadDir(fresh); err != nil || len(files) != 0 {
		t.Errorf("the directory has %v, %v", files, err)
	}
}

// limitFiles makes writes beyond a file size fail, until the test ends.
func limitFiles(t *testing.T, size uint64) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Skip(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: before.Max}); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			t.Error(err)
		}
		signal.Reset(syscall.SIGXFSZ)
	})
}

// Processes that create the key at the same time agree on one.
func TestKeyIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	var log journal
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() { Open(dir, log.logger()).Put(Name{byte(i)}, content) })
	}
	group.Wait()
	s := Open(dir, log.logger())
	for i := range 16 {
		if got := s.Get(Name{byte(i)}); !bytes.Equal(got, content) {
			t.Errorf("entry %d: got %d bytes", i, len(got))
		}
	}
	log.expect(t, 0)
	if left, _ := filepath.Glob(dir + "/.*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Old temporary files of a killed process are removed; recent ones, and files of others, are
// kept.
func TestAbandonedFilesAreRemoved(t *testing.T) {
	var log journal
	dir := t.TempDir()
	Open(dir, log.logger()).Put(one, content)
	old, young, foreign := filepath.Join(dir, ".key123"), filepath.Join(dir, ".abc.module5"), filepath.Join(dir, "wazero")
	for _, path := range []string{old, young, foreign} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	yesterday := time.Now().Add(-24 * time.Hour)
	for _, path := range []string{old, foreign, filepath.Join(dir, keyFile)} {
		if err := os.Chtimes(path, yesterday, yesterday); err != nil {
			t.Fatal(err)
		}
	}
	s := Open(dir, log.logger())
	for path, want := range map[string]bool{old: false, young: true, foreign: true, s.path(one): true} {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) == want {
			t.Errorf("%s: %v; should it stay: %v", filepath.Base(path), err, want)
		}
	}
	if got := s.Get(one); !bytes.Equal(got, content) {
		t.Errorf("got %d bytes", len(got))
	}
	log.expect(t, 0)
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A store that grows past its limit removes the entries that were not used for the
// longest time, and nothing else.
func TestLeastRecentlyUsedEntriesAreRemoved(t *testing.T) {
	var log journal
	s := Open(t.TempDir(), log.logger())
	s.total = 8 * 1000
	foreign := filepath.Join(s.dir, "foreign")
	if err := os.WriteFile(foreign, make([]byte, 3*s.total), 0o600); err != nil {
		t.Fatal(err)
	}
	put := func(n byte) { s.Put(Name{n}, make([]byte, 1000-headSize)) }
	for n := range byte(8) {
		put(n)
		old := time.Now().Add(-time.Duration(10-n) * usedEvery) // the first is the oldest
		if err := os.Chtimes(s.path(Name{n}), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if s.Get(Name{0}) == nil || s.Get(Name{2}) == nil {
		t.Error("an entry is missing below the limit")
	}
	put(8)
	var left []int
	for n := range 9 {
		if s.Get(Name{byte(n)}) != nil {
			left = append(left, n)
		}
	}
	if want := []int{0, 2, 4, 5, 6, 7, 8}; !slices.Equal(left, want) {
		t.Errorf("left are %v, want %v", left, want)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Error(err)
	}
	log.expect(t, 0)
}
