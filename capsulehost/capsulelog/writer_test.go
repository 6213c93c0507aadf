package capsulelog

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
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

// A synctest bubble starts at this time: 946684800 s, midnight UTC.
const firstDay = "2000-01-01.log"

// world is a home with one capsule's Writer.
type world struct {
	t       *testing.T
	home    home.Home
	process bytes.Buffer // the process's log
	*Writer
}

// newWorld prepares the home with prepare, and then creates the Writer.
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
	cfg.Home, cfg.Principal, cfg.Capsule, cfg.Log = h, home.DefaultPrincipal, "greeter", logTo(&w.process)
	w.Writer = New(cfg)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// files returns all files below the home with their contents.
func (w *world) files() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(w.home.Dir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
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

// pass waits for d in a bubble.
func pass(d time.Duration) { <-time.After(d) }

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
		w.check(map[string]string{}) // nothing is created before the first line
		w.Write(capsulehost.LevelTrace, "", "one")
		pass(7 * time.Millisecond)
		w.Write(capsulehost.LevelDebug, "", "two")
		pass(time.Second + 20*time.Millisecond + 999*time.Microsecond)
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
		// Invalid, so the line goes to the capsule's own log.
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

// Without a log file, the lines go to the process's log, which reports this once.
func TestProcessLog(t *testing.T) {
	const (
		level = `{"level":"info","plugin":"greeter","message":"a\\nb"}`
		other = `{"level":"error","plugin":"greeter","message":"c"}`
	)
	t.Run("no home", func(t *testing.T) {
		var log bytes.Buffer
		w := New(Config{Principal: "default", Capsule: "greeter", Log: logTo(&log)})
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
			cfg.Home, cfg.Log = h, logTo(&log)
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
			w.process.Reset() // drop the warning about old files
			w.Write(capsulehost.LevelInfo, "", "a\nb")
			w.Write(capsulehost.LevelError, "", "c")
			got := w.process.String()
			warning, rest, _ := strings.Cut(got, "\n")
			if !strings.Contains(warning, `"level":"warn"`) || !strings.Contains(warning, "the capsule's log can't be opened") || rest != level+"\n"+other+"\n" {
				t.Errorf("%s", got)
			}
			w.process.Reset()
			// It is tried again after a delay, and on the next day.
			if err := os.Remove(w.home.PrincipalDir("default")); err != nil {
				t.Fatal(err)
			}
			w.Write(capsulehost.LevelError, "", "c")
			w.checkProcess(other)
			pass(openAgainAfter)
			w.Write(capsulehost.LevelInfo, "", "d")
			w.checkProcess(`{"level":"info","plugin":"greeter","message":"the capsule's log was opened again"}`)
			w.check(map[string]string{own + firstDay: "946684805.000 INFO [greeter] d\n"})
		})
	})
	t.Run("a directory that can't be made for long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{Rate: -1}, func(h home.Home) { write(t, h.PrincipalDir("default"), "in the way") })
			w.process.Reset()
			for range 130 {
				w.Write(capsulehost.LevelInfo, "", "a\nb")
				pass(time.Second)
			}
			if n := strings.Count(w.process.String(), "can't be opened"); n != 3 {
				t.Errorf("the process's log heard of it %d times in 130 s, want 3", n)
			}
			if n := strings.Count(w.process.String(), level); n != 130 {
				t.Errorf("it has %d of 130 lines", n)
			}
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
		pass(24*time.Hour - time.Millisecond)
		w.Write(capsulehost.LevelInfo, "", "before")
		w.Write(capsulehost.LevelInfo, "alice", "before")
		pass(time.Millisecond)
		w.Write(capsulehost.LevelInfo, "", "after")
		w.Write(capsulehost.LevelInfo, "alice", "after")
		pass(59 * 24 * time.Hour) // 2000 is a leap year
		w.Write(capsulehost.LevelInfo, "", "March")
		want := map[string]string{
			own + "2000-03-01.log":                         "951868800.000 INFO [greeter] March\n",
			"home/alice/.local/log/greeter/2000-01-01.log": "946771199.999 INFO [greeter] before\n",
			"home/alice/.local/log/greeter/2000-01-02.log": "946771200.000 INFO [greeter] after\n",
		}
		w.check(want) // the capsule's first files are too old now
	})
}

// The date is UTC in every time zone.
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

// logTo returns a logger that writes one JSON object per line to w, without the time.
func logTo(w io.Writer) *slog.Logger {
	return slog.New(untimed{zerolog.NewSlogHandler(zerolog.New(w))})
}

type untimed struct{ slog.Handler }

func (h untimed) Handle(ctx context.Context, r slog.Record) error {
	r.Time = time.Time{}
	return h.Handler.Handle(ctx, r)
}

func (h untimed) WithAttrs(attrs []slog.Attr) slog.Handler {
	return untimed{h.Handler.WithAttrs(attrs)}
}
