package capsulelog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

// crowd creates n Writers that share one Files.
func crowd(t *testing.T, n, most int) (writers []*Writer, files *Files, dir string) {
	t.Helper()
	h, err := home.Resolve(filepath.Join(t.TempDir(), "h"))
	if err != nil {
		t.Fatal(err)
	}
	files = NewFiles(most)
	for i := range n {
		w := New(Config{
			Home: h, Principal: home.DefaultPrincipal, Capsule: fmt.Sprintf("c%d", i), Files: files,
			Rate: -1, Log: logTo(zerolog.NewTestWriter(t)),
		})
		t.Cleanup(func() {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
		writers = append(writers, w)
	}
	return writers, files, filepath.Dir(h.LogDir(home.DefaultPrincipal, "c0"))
}

// openBelow counts the process's open files below dir.
func openBelow(t *testing.T, dir string) (n int) {
	t.Helper()
	const descriptors = "/proc/self/fd"
	entries, err := os.ReadDir(descriptors)
	if err != nil {
		t.Skip(err)
	}
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(descriptors, e.Name())); err == nil && strings.HasPrefix(target, dir) {
			n++
		}
	}
	return n
}

// TestOpenFilesAreBounded: many capsules share a few open files. The most recent writers keep
// theirs, and no line is lost or out of order.
func TestOpenFilesAreBounded(t *testing.T) {
	const most = 5
	writers, files, dir := crowd(t, 40, most)
	for round := range 3 {
		for _, w := range writers {
			w.Write(capsulehost.LevelInfo, "", fmt.Sprint("line ", round))
			w.Write(capsulehost.LevelInfo, "bob", fmt.Sprint("line ", round)) // opened only for this line
		}
		if n := openBelow(t, dir); n != most-1 { // bob's file needed a slot
			t.Errorf("%d files are open, want %d", n, most-1)
		}
	}
	last := writers[len(writers)-1]
	own := last.own
	if own.file == nil {
		t.Error("the file that was written to last is closed")
	}
	if writers[0].own.file != nil {
		t.Error("the file that was written to least recently is open")
	}
	last.Write(capsulehost.LevelInfo, "", "line 3")
	if last.own != own {
		t.Error("a file that was open was opened again")
	}
	for i, w := range writers {
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprint("c", i), dayOf(time.Now()).fileName()))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(string(text)) {
			_, message, _ := strings.Cut(line, "] ")
			got = append(got, strings.TrimSpace(message))
		}
		want := "line 0,line 1,line 2"
		if w == last {
			want += ",line 3"
		}
		if strings.Join(got, ",") != want {
			t.Errorf("capsule %d: %q, want %s", i, got, want)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := openBelow(t, dir); n != 0 || files.open != 0 || files.idle.Len() != 0 {
		t.Errorf("after Close %d files are open; %d are counted, %d idle", n, files.open, files.idle.Len())
	}
}

// TestOpenFilesWait: more goroutines than allowed files write at the same time, and all of
// them succeed.
func TestOpenFilesWait(t *testing.T) {
	writers, files, dir := crowd(t, 16, 2)
	var writing sync.WaitGroup
	for _, w := range writers {
		writing.Go(func() {
			for n := range 20 {
				w.Write(capsulehost.LevelInfo, "", fmt.Sprint("line ", n))
			}
		})
	}
	writing.Wait()
	if files.open > 2 {
		t.Errorf("%d files are open", files.open)
	}
	for i := range writers {
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprint("c", i), dayOf(time.Now()).fileName()))
		if n := strings.Count(string(text), "\n"); err != nil || n != 20 {
			t.Errorf("capsule %d: %d lines, %v", i, n, err)
		}
	}
}

// TestFailedOpenGivesItsPlaceBack: otherwise, no file could be opened at some point.
func TestFailedOpenGivesItsPlaceBack(t *testing.T) {
	files := NewFiles(1)
	for range 3 {
		if _, err := files.add(func() (*os.File, error) { return nil, os.ErrPermission }); err == nil {
			t.Fatal("it was opened")
		}
	}
	if files.open != 0 {
		t.Errorf("%d files are counted", files.open)
	}
}

// TestDefaultOfFiles: the default depends on the process's descriptor limit.
func TestDefaultOfFiles(t *testing.T) {
	if got, want := NewFiles(0).most, min(mostOpen, max(1, descriptorLimit()/4)); got != want || got < 1 {
		t.Errorf("%d files, want %d", got, want)
	}
}

// TestTornLines: a line truncated by a crash or a full disk is ended, so the next one is
// whole.
func TestTornLines(t *testing.T) {
	const torn, next = "946684799.000 INFO [greeter] cut he", "946684800.000 INFO [greeter] next\n"
	for name, before := range map[string]struct{ have, want string }{
		"torn":  {torn, torn + "\n" + next},
		"whole": {torn + "re\n", torn + "re\n" + next},
		"empty": {"", next},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{}, func(h home.Home) {
					for _, p := range []home.Principal{"default", "alice"} {
						write(t, filepath.Join(h.LogDir(p, "greeter"), firstDay), before.have)
					}
				})
				w.Write(capsulehost.LevelInfo, "", "next")
				w.Write(capsulehost.LevelInfo, "alice", "next")
				w.check(map[string]string{own + firstDay: before.want, "home/alice/.local/log/greeter/" + firstDay: before.want})
				w.Write(capsulehost.LevelInfo, "", "next")
				if got := w.files()[own+firstDay]; got != before.want+next {
					t.Errorf("after another line: %q", got)
				}
				w.checkProcess()
			})
		})
	}
	t.Run("by a write that failed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{}, nil)
			w.Write(capsulehost.LevelInfo, "", "next")
			path := filepath.Join(w.home.Dir(), own, firstDay)
			if err := os.WriteFile(path, []byte(torn), 0o600); err != nil { // as far as it fit on the disk
				t.Fatal(err)
			}
			if err := w.own.file.Close(); err != nil {
				t.Fatal(err)
			}
			w.Write(capsulehost.LevelInfo, "", "lost")
			w.Write(capsulehost.LevelInfo, "", "next")
			w.check(map[string]string{own + firstDay: torn + "\n" + next})
		})
	})
}
