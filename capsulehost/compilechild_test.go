package capsulehost

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/compiler"
	"github.com/astrid-actors/astrid-actors/capsulehost/reductions"
)

// compileArgument makes this test's binary call ServeCompile.
const compileArgument = "compile"

// withChild makes a host compile heavy modules in processes of their own.
func withChild(h *Host) *Host {
	h.compileCommand = []string{os.Args[0], compileArgument}
	return h
}

// A process of its own returns the same code, to the byte, for a module of ours and for one
// of Go's compiler; so do several goroutines.
func TestChildCompilesTheSameCode(t *testing.T) {
	h := withChild(newHost(t, Config{MemoryLimitPages: 300}))
	many := newHost(t, Config{MemoryLimitPages: 300, CompileWorkers: 4})
	for name, wasm := range map[string][]byte{"heavy": heavy(1), "sdk": read(t, "../test/guests/sdk/sdk.wasm")} {
		counted, cost, err := reductions.Rewrite(wasm, h.counting)
		if err != nil || cost.Time < heavyTime {
			t.Fatalf("%s: %v, %v", name, cost.Time, err)
		}
		id := h.nameOf("capsule", wasm)
		here, err := h.compile(context.Background(), counted, id)
		if err != nil {
			t.Fatal(err)
		}
		there, inChild, err := h.compileInChild(context.Background(), counted, id)
		if err != nil || !inChild {
			t.Fatalf("%s: %v", name, err)
		}
		together, err := many.compile(context.Background(), counted, id)
		if err != nil {
			t.Fatal(err)
		}
		for how, other := range map[string]compiler.Code{"a child": there, "four goroutines": together} {
			if !bytes.Equal(here.Machine, other.Machine) || len(here.Machine) == 0 {
				t.Errorf("%s: the machine code of %s differs: %d bytes and %d", name, how, len(here.Machine), len(other.Machine))
			}
			if diff := cmp.Diff(compiler.Code{Key: here.Key, Shell: here.Shell}, compiler.Code{Key: other.Key, Shell: other.Shell}); diff != "" {
				t.Errorf("%s: %s: %s", name, how, diff)
			}
		}
	}
}

// Heavy modules are compiled in a process of their own, and run; small ones here. The result
// goes to the cache.
func TestHeavyModulesAreCompiledInAChild(t *testing.T) {
	var log warnings
	dir := t.TempDir()
	h := withChild(log.host(t, dir))
	here := counting(h)
	i := mustInstantiate(t, h, heavy(1), &world{})
	if _, err := i.Invoke(context.Background(), "a", nil); err != nil {
		t.Error(err)
	}
	if n := here.Load(); n != 0 {
		t.Errorf("%d heavy modules were compiled in this process", n)
	}
	mustEcho(t, h)
	if n := here.Load(); n != 1 {
		t.Errorf("%d small modules were compiled in this process, want 1", n)
	}
	next := withChild(log.host(t, dir))
	next.compileCommand = []string{"/nonexistent"}
	mustInstantiate(t, next, heavy(1), &world{})
	log.expect(t, 0)
}

// The compiler's complaint about a module is the same sentence, wherever it was compiled.
func TestBadModuleInAChild(t *testing.T) {
	bad := bytes.ReplaceAll(heavy(1), []byte{0x41, 0x00, 0x0b}, []byte{0x42, 0x00, 0x0b}) // an i64 as its result
	var log warnings
	inside, outside := newHost(t, Config{}), withChild(log.host(t, t.TempDir()))
	here := counting(outside)
	_, want := inside.Compile(context.Background(), bad)
	_, got := outside.Compile(context.Background(), bad)
	var failure *Failure
	if !errors.As(got, &failure) || failure.Kind != KindBadModule || want == nil || got.Error() != want.Error() {
		t.Errorf("in a child: %v\nhere: %v", got, want)
	}
	if here.Load() != 0 {
		t.Error("it was compiled here, too")
	}
	log.expect(t, 0)
}

// A command that is of no use costs a warning, once, and nothing else.
func TestUselessCompileCommand(t *testing.T) {
	script := func(text string) []string { return []string{"/bin/sh", "-c", text} }
	self := "'" + os.Args[0] + "' " + compileArgument
	for name, c := range map[string]struct {
		command []string
		warning string
	}{
		"missing":            {[]string{"/nonexistent/compiler"}, "no such file"},
		"crash":              {script("cat >/dev/null & echo broken >&2; kill -9 $$"), "signal: killed: broken"},
		"another program":    {script("echo usage"), `begins with \"usage`},
		"silent":             {script("exit 0"), "no answer"},
		"cut off":            {script(self + " | head -c 1000"), "cut off"},
		"damaged":            {script(self + " | LC_ALL=C tr '\\220' '\\221'"), "hash"},
		"noise before":       {script("echo starting; " + self), `begins with \"startin`},
		"no request is read": {script("exec <&-; exit 3"), "exit status 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log warnings
			h := log.host(t, t.TempDir())
			h.compileCommand = c.command
			here := counting(h)
			for n := range 2 {
				mustInstantiate(t, h, heavy(n), &world{})
			}
			if here.Load() != 2 {
				t.Errorf("%d modules were compiled in this process, want 2", here.Load())
			}
			if !strings.Contains(strings.Join(log.lines, ""), c.warning) {
				t.Errorf("the warning does not say %q", c.warning)
			}
			log.expect(t, 1)
		})
	}
}

// A program of another version refuses, so that its code is not executed.
func TestChildOfAnotherVersion(t *testing.T) {
	var log warnings
	h := withChild(log.host(t, t.TempDir()))
	h.settings += " of another version"
	here := counting(h)
	mustInstantiate(t, h, heavy(1), &world{})
	if here.Load() != 1 || !strings.Contains(strings.Join(log.lines, ""), "another version") {
		t.Errorf("compiled %d times here: %q", here.Load(), log.lines)
	}
}

// hanging returns a command that compiles for ever, and a function that waits until it runs
// and returns its process id.
func hanging(t *testing.T) (command []string, pid func() int) {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "pid")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"/bin/sh", "-c", `echo $$ >"$0"; exec tail -f /dev/null`, pipe}, func() int {
		t.Helper()
		text, err := os.ReadFile(pipe) // until the command has written it
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
}

// A process compiles only as long as somebody waits: when the last caller has left, and when
// the host is closed, it is killed, and its slot is free.
func TestChildIsKilled(t *testing.T) {
	gone := func(t *testing.T, pid int) {
		t.Helper()
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there: %v", pid, err)
		}
	}
	t.Run("when nobody waits", func(t *testing.T) {
		var log warnings
		h := log.host(t, t.TempDir())
		command, pid := hanging(t)
		h.compileCommand = command
		here := counting(h)
		for range cap(h.heavy) + 1 {
			ctx, cancel := context.WithCancel(context.Background())
			first, second := compileLater(ctx, h, heavy(1)), compileLater(ctx, h, heavy(1))
			id := pid()
			awaitHolders(t, h, 2)
			cancel()
			for _, done := range []<-chan error{first, second} {
				var failure *Failure
				if err := <-done; !errors.As(err, &failure) || failure.Kind != KindCancelled {
					t.Errorf("got %v", err)
				}
			}
			awaitBuilds(t, h)
			gone(t, id)
		}
		if here.Load() != 0 || len(h.modules) != 0 {
			t.Errorf("%d compiled here; %d modules are held", here.Load(), len(h.modules))
		}
		withChild(h)
		mustInstantiate(t, h, heavy(1), &world{}) // later callers are not disturbed
		log.expect(t, 0)
	})
	t.Run("when the host is closed", func(t *testing.T) {
		var log warnings
		h := log.host(t, t.TempDir())
		command, pid := hanging(t)
		h.compileCommand = command
		done := compileLater(context.Background(), h, heavy(1))
		id := pid()
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
		awaitBuilds(t, h)
		gone(t, id)
		log.expect(t, 0)
	})
}

// A module that takes longer to compile than its callers have is compiled once: the process
// goes on, and the next caller finds it, or its result. Without that no attempt would ever
// succeed.
func TestChildGoesOnAfterATimeout(t *testing.T) {
	dir := t.TempDir()
	starts, open := filepath.Join(dir, "starts"), filepath.Join(dir, "open")
	if err := syscall.Mkfifo(open, 0o600); err != nil {
		t.Fatal(err)
	}
	line, err := os.OpenFile(open, os.O_RDWR, 0) // so that writing waits for no reader
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	h := newHost(t, Config{}) // without a cache
	h.compileCommand = []string{"/bin/sh", "-c", `echo started >>"$1"; read line <"$2"; exec "$0" ` + compileArgument, os.Args[0], starts, open}
	for n := range 3 {
		ctx, cancel := context.WithCancelCause(context.Background())
		done := compileLater(ctx, h, heavy(1))
		awaitHolders(t, h, n+1)
		cancel(context.DeadlineExceeded)
		var failure *Failure
		if err := <-done; !errors.As(err, &failure) || failure.Kind != KindTimeout {
			t.Errorf("got %v", err)
		}
	}
	if _, err := line.WriteString("go on\n"); err != nil {
		t.Fatal(err)
	}
	awaitBuilds(t, h)
	mustInstantiate(t, h, heavy(1), &world{})
	if got := string(read(t, starts)); got != "started\n" {
		t.Errorf("the process was started %d times: %q", strings.Count(got, "\n"), got)
	}
}

// FuzzCompileRequest: no request crashes the process that compiles, before it compiles.
func FuzzCompileRequest(f *testing.F) {
	r := compileRequest{pages: 1, settings: "s"}
	f.Add(r.encode())
	f.Add([]byte{1, 0, 0, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, rest, ok := decodeCompileRequest(b)
		if ok && !bytes.Equal(append(r.encode(), rest...), b) {
			t.Errorf("%v becomes %v and %v", b, r, rest)
		}
	})
}
