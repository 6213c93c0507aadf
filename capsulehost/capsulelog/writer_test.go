package capsulelog

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A synctest bubble begins at this moment: 946684800 s, a midnight in UTC.
const firstDay = "2000-01-01.log"

// world is a home with one capsule's Writer in it.
type world struct {
	t       *testing.T
	home    home.Home
	process bytes.Buffer // the process's log
	*Writer
}

// newWorld prepares the home with prepare, and then makes the Writer.
func newWorld(t *testing.T, cfg Config, prepare func(h home.Home)) *world {
	t.Helper()
	h, err := home.Resolve(filepath.Join(t.TempDir(), "home of astrid"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, home: h}
	if prepare != nil {
		prepare(h)
	}
	cfg.Home, cfg.Principal, cfg.Capsule, cfg.Log = h, home.DefaultPrincipal, "greeter", zerolog.New(&w.process)
	w.Writer = New(cfg)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// files returns all files below the home with what is in them.
func (w *world) files() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(w.home.Dir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // the test's own
		rel, _ := filepath.Rel(w.home.Dir(), path)
		out[rel] = string(text)
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) check(want map[string]string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.files()); diff != "" {
		w.t.Error(diff)
	}
}

func (w *world) checkProcess(want ...string) {
	w.t.Helper()
	got := strings.Split(strings.TrimSuffix(w.process.String(), "\n"), "\n")
	if w.process.Len() == 0 {
		got = nil
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Error(diff)
	}
	w.process.Reset()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const own = "home/default/.local/log/greeter/"

func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{}, nil)
		w.check(map[string]string{}) // nothing is made before the first line
		w.Write(capsulehost.LevelTrace, "", "one")
		time.Sleep(7 * time.Millisecond)
		w.Write(capsulehost.LevelDebug, "", "two")
		time.Sleep(time.Second + 20*time.Millisecond + 999*time.Microsecond)
		w.Write(capsulehost.LevelInfo, "", "")
		w.Write(capsulehost.LevelWarn, "", "drei vier — é 世界")
		w.Write(capsulehost.LevelError, "", "tab\tand back\\slash")
		w.Write(capsulehost.LogLevel(17), "", "no such level")
		w.check(map[string]string{own + firstDay: "" +
			"946684800.000 TRACE [greeter] one\n" +
			"946684800.007 DEBUG [greeter] two\n" +
			"946684801.027 INFO [greeter] \n" +
			"946684801.027 WARN [greeter] drei vier — é 世界\n" +
			"946684801.027 ERROR [greeter] tab\tand back\\slash\n" +
			"946684801.027 INFO [greeter] no such level\n"})
		w.checkProcess()
		info, err := os.Stat(filepath.Join(w.home.Dir(), own, firstDay))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	})
}

func TestDestinations(t *testing.T) {
	const line = "946684800.000 INFO [greeter] hello\n"
	long := strings.Repeat("p", 64)
	for principal, file := range map[string]string{
		"": own, "default": own, "alice": "home/alice/.local/log/greeter/", "A-z_0": "home/A-z_0/.local/log/greeter/",
		long: "home/" + long + "/.local/log/greeter/",
		// Not valid, so it is the capsule's own.
		"..": own, ".": own, "a/b": own, "/etc": own, "a b": own, "é": own, "\x00": own, long + "p": own,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{}, nil)
			w.Write(capsulehost.LevelInfo, principal, "hello")
			w.Write(capsulehost.LevelInfo, principal, "hello")
			w.check(map[string]string{file + firstDay: line + line})
			if (w.own != nil) != (file == own) {
				t.Errorf("principal %q: a file is kept open: %v", principal, w.own != nil)
			}
			w.checkProcess()
		})
	}
}

// Without a log file the lines go to the process's log, and say so once.
func TestProcessLog(t *testing.T) {
	const (
		level = `{"level":"info","plugin":"greeter","message":"a\\nb"}`
		other = `{"level":"error","plugin":"greeter","message":"c"}`
	)
	t.Run("no home", func(t *testing.T) {
		var log bytes.Buffer
		w := New(Config{Principal: "default", Capsule: "greeter", Log: zerolog.New(&log)})
		w.Write(capsulehost.LevelInfo, "alice", "a\nb")
		w.Write(capsulehost.LevelError, "", "c")
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(level+"\n"+other+"\n", log.String()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("names that are none", func(t *testing.T) {
		for _, cfg := range []Config{{Principal: "..", Capsule: "greeter"}, {Principal: "default", Capsule: "../greeter"}, {Principal: "default"}} {
			h, err := home.Resolve(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			cfg.Home, cfg.Log = h, zerolog.New(&log)
			w := New(cfg)
			w.Write(capsulehost.LevelInfo, "alice", "c")
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			entries, err := os.ReadDir(h.Dir())
			if err != nil || len(entries) > 0 || !strings.Contains(log.String(), `"message":"c"`) {
				t.Errorf("%v: %v %v %s", cfg, entries, err, &log)
			}
		}
	})
	t.Run("a directory that can't be made", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{}, func(h home.Home) { write(t, h.PrincipalDir("default"), "in the way") })
			w.process.Reset() // that old files can't be deleted
			w.Write(capsulehost.LevelInfo, "", "a\nb")
			w.Write(capsulehost.LevelError, "", "c")
			got := w.process.String()
			warning, rest, _ := strings.Cut(got, "\n")
			if !strings.Contains(warning, `"level":"warn"`) || !strings.Contains(warning, "the capsule's log can't be opened") || rest != level+"\n"+other+"\n" {
				t.Errorf("%s", got)
			}
			w.process.Reset()
			// The next day it is tried again.
			if err := os.Remove(w.home.PrincipalDir("default")); err != nil {
				t.Fatal(err)
			}
			w.Write(capsulehost.LevelError, "", "c")
			w.checkProcess(other)
			time.Sleep(24 * time.Hour)
			w.Write(capsulehost.LevelInfo, "", "d")
			w.checkProcess()
			w.check(map[string]string{own + "2000-01-02.log": "946771200.000 INFO [greeter] d\n"})
		})
	})
	t.Run("after Close", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{}, nil)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			w.Write(capsulehost.LevelInfo, "alice", "a\nb")
			w.checkProcess(level)
			w.check(map[string]string{})
		})
	})
}

func TestMidnight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{}, nil)
		time.Sleep(24*time.Hour - time.Millisecond)
		w.Write(capsulehost.LevelInfo, "", "before")
		w.Write(capsulehost.LevelInfo, "alice", "before")
		time.Sleep(time.Millisecond)
		w.Write(capsulehost.LevelInfo, "", "after")
		w.Write(capsulehost.LevelInfo, "alice", "after")
		time.Sleep(59 * 24 * time.Hour) // 2000 is a leap year
		w.Write(capsulehost.LevelInfo, "", "March")
		want := map[string]string{
			own + "2000-03-01.log":                         "951868800.000 INFO [greeter] March\n",
			"home/alice/.local/log/greeter/2000-01-01.log": "946771199.999 INFO [greeter] before\n",
			"home/alice/.local/log/greeter/2000-01-02.log": "946771200.000 INFO [greeter] after\n",
		}
		w.check(want) // the capsule's first files are too old by now
	})
}

// The date is UTC, wherever the process is.
func TestMidnightElsewhere(t *testing.T) {
	local := time.Local
	t.Cleanup(func() { time.Local = local })
	time.Local = time.FixedZone("elsewhere", -11*60*60)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{}, nil)
		w.Write(capsulehost.LevelInfo, "", "x")
		w.check(map[string]string{own + firstDay: "946684800.000 INFO [greeter] x\n"})
	})
}

func TestOldFiles(t *testing.T) {
	names := map[string]bool{ // whether they stay when it is 2000-01-01
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

// Whatever is linked where, nothing outside the home is made, written or deleted.
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
			text, readErr := os.ReadFile(old) //nolint:gosec // the test's own
			if err != nil || readErr != nil || len(entries) != 1 || string(text) != "old" {
				t.Errorf("link %s: %v %v %v %q", link, entries, err, readErr, text)
			}
			if !strings.Contains(w.process.String(), "escapes") {
				t.Errorf("link %s: nobody was told: %s", link, &w.process)
			}
		})
	}
}

// A pipe of the log's name must not hold a guest up.
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
		// Nor may it be written to where somebody reads it, and may stop to.
		reader, err := os.OpenFile(filepath.Join(w.home.Dir(), own, firstDay), os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.failed = false // as on another day
		w.Write(capsulehost.LevelInfo, "", "y")
		if got := w.process.String(); !strings.Contains(got, `"message":"y"`) || !strings.Contains(got, "is no regular file") {
			t.Errorf("%s", got)
		}
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Callers name principals: they get no more than so many directories made.
func TestTooManyPrincipals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{}, func(h home.Home) {
			if err := os.MkdirAll(h.PrincipalDir("resident"), 0o700); err != nil {
				t.Fatal(err)
			}
		})
		for i := range MaxPrincipals + 10 {
			w.Write(capsulehost.LevelInfo, fmt.Sprintf("p%d", i), fmt.Sprintf("from %d", i))
		}
		w.Write(capsulehost.LevelInfo, "resident", "from a resident")
		w.Write(capsulehost.LevelInfo, "p0", "again")
		files := w.files()
		if len(files) != MaxPrincipals+2 {
			t.Errorf("%d files", len(files))
		}
		if got := files["home/resident/.local/log/greeter/"+firstDay]; !strings.HasSuffix(got, "from a resident\n") {
			t.Errorf("the resident's log: %q", got)
		}
		if got := files["home/p0/.local/log/greeter/"+firstDay]; !strings.HasSuffix(got, "from 0\n946684800.000 INFO [greeter] again\n") {
			t.Errorf("p0's log: %q", got)
		}
		if got := strings.Count(files[own+firstDay], "\n"); got != 10 {
			t.Errorf("the capsule's own log: %q", files[own+firstDay])
		}
		w.checkProcess()
	})
}

// Lines that can't be written are counted, and the process's log is told, but
// not of each.
func TestLostLines(t *testing.T) {
	lost := func(n int) string { return fmt.Sprintf(`"lines":%d,"message":"log lines of the capsule are lost"}`, n) }
	check := func(w *world, want ...string) {
		t.Helper()
		var got []string
		for line := range strings.Lines(w.process.String()) {
			got = append(got, strings.TrimSpace(line[strings.Index(line, `"lines"`):]))
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		w.process.Reset()
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{}, func(h home.Home) { write(t, h.PrincipalDir("alice"), "in the way") })
		w.Write(capsulehost.LevelInfo, "alice", "x")
		check(w, lost(1))
		for range 3 {
			time.Sleep(10 * time.Second)
			w.Write(capsulehost.LevelInfo, "alice", "x")
		}
		check(w)
		time.Sleep(31 * time.Second)
		w.Write(capsulehost.LevelInfo, "alice", "x")
		check(w, lost(4))
		w.Write(capsulehost.LevelInfo, "", "mine")
		if err := w.own.Close(); err != nil { // as if the disk had gone
			t.Fatal(err)
		}
		w.Write(capsulehost.LevelInfo, "", "mine too")
		check(w)
		w.own = nil
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		check(w, lost(1))
		w.check(map[string]string{"home/alice": "in the way", own + firstDay: "946684861.000 INFO [greeter] mine\n"})
	})
}

// Lines come from any goroutine, and stay whole.
func TestConcurrent(t *testing.T) {
	w := newWorld(t, Config{Rate: -1}, nil)
	const each = 200
	var writers sync.WaitGroup
	for i, principal := range []string{"", "default", "alice", "alice", "bob"} {
		writers.Go(func() {
			for n := range each {
				w.Write(capsulehost.LevelInfo, principal, fmt.Sprintf("writer %d line %d", i, n))
			}
		})
	}
	writers.Wait()
	next := map[string]int{}
	for _, text := range w.files() {
		for line := range strings.Lines(text) {
			var at float64
			var level, capsule string
			var writer, n int
			if _, err := fmt.Sscanf(line, "%f %s %s writer %d line %d\n", &at, &level, &capsule, &writer, &n); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			key := fmt.Sprint(writer)
			if n != next[key] {
				t.Fatalf("%q comes out of order: want line %d", line, next[key])
			}
			next[key]++
		}
	}
	for i := range 5 {
		if got := next[fmt.Sprint(i)]; got != each {
			t.Errorf("writer %d: %d lines", i, got)
		}
	}
}
