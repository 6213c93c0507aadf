package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// put writes a capsule that answers its topic as echo of test/capsules does.
func put(t *testing.T, dir, id, version, topic string) {
	t.Helper()
	text := fmt.Sprintf("[package]\nname = %q\nversion = %q\n\n[[component]]\nid = %q\nfile = \"m.wasm\"\n\n"+
		"[[interceptor]]\nevent = %q\naction = \"act\"\n", id, version, id, topic)
	own := filepath.Join(dir, id)
	if err := errors.Join(os.MkdirAll(own, 0o700), os.WriteFile(filepath.Join(own, "m.wasm"), moduleOf(t, "echo"), 0o600),
		os.WriteFile(filepath.Join(own, "Capsule.toml"), []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// moduleOf returns the module of a capsule of test/capsules.
func moduleOf(t *testing.T, id string) []byte {
	t.Helper()
	wasm, err := os.ReadFile(filepath.Join("..", "..", "test", "capsules", id, id+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// happens waits until a line of the daemon's events matches a pattern.
func (p *process) happens(pattern string) {
	p.t.Helper()
	p.awaits(pattern, "astrid-actors", "events", "--follow", "--home", p.home)
}

// logs waits until a line of the daemon's log matches a pattern.
func (p *process) logs(pattern string) {
	p.t.Helper()
	p.awaits(pattern, "tail", "-n", "+1", "-f", p.log)
}

func (p *process) awaits(pattern string, command ...string) {
	p.t.Helper()
	c := exec.Command(command[0], command[1:]...)
	c.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	if found, seen, err := runUntil(regexp.MustCompile(pattern), c); !found {
		p.t.Fatalf("no line matched %#q (%v):\n%s", pattern, err, seen)
	}
}

// answers checks the responses to a topic with the payload 1.
func (p *process) answers(topic, want string) {
	p.t.Helper()
	if diff := cmp.Diff(want+"\n", p.ask("trigger", topic, "1")); diff != "" {
		p.t.Errorf("%s: %s", topic, diff)
	}
}

// run --watch follows what happens to the files of capsules: whatever way they are changed.
func TestRunWatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "a", "1.0.0", "test.a")
	p := launch(t, "", "--watch", "--capsules", dir, "--allow-unverified")
	p.answers("test.a", "[1]")

	// The manifest, and the module by an atomic rename.
	put(t, dir, "a", "1.1.0", "test.b")
	p.happens("a #2 .*upgraded from 1.0.0 to 1.1.0")
	p.answers("test.b", "[1]")
	module, beside := filepath.Join(dir, "a", "m.wasm"), filepath.Join(dir, "a", "m.tmp")
	if err := errors.Join(os.WriteFile(beside, moduleOf(t, "fixed"), 0o600), os.Rename(beside, module)); err != nil {
		t.Fatal(err)
	}
	p.happens("a #3 .*fresh instance of version 1.1.0")
	p.answers("test.b", `[{"ok":true}]`)

	// A capsule that is new, and one that goes.
	put(t, dir, "b", "2.0.0", "test.new")
	p.happens("b .*ready")
	p.answers("test.new", "[1]")
	if err := os.RemoveAll(filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	p.happens("b .*removed")

	// A mistake is reported, and changes nothing.
	put(t, dir, "a", "1.2.0", "test..")
	p.happens("a #3 .*upgrade of version 1.1.0 failed.*Capsule.toml")
	p.answers("test.b", `[{"ok":true}]`)
	put(t, dir, "a", "1.3.0", "test.b")
	p.happens("a .*upgraded from 1.1.0 to 1.3.0")
	p.answers("test.b", "[1]")
	p.end()
}

// A module that is still being written is not loaded, however long that takes.
func TestRunWatchHalfWritten(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells whether a file is open for writing")
	}
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "a", "1.0.0", "test.a")
	p := launch(t, "", "--watch", "--capsules", dir, "--allow-unverified")
	f, err := os.OpenFile(filepath.Join(dir, "a", "m.wasm"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	wasm := moduleOf(t, "fixed")
	if _, err := f.Write(wasm[:len(wasm)/2]); err != nil {
		t.Fatal(err)
	}
	p.logs("still open for writing")
	p.answers("test.a", "[1]")
	if _, err := f.Write(wasm[len(wasm)/2:]); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	p.happens("a #2 .*fresh instance of version 1.0.0")
	p.answers("test.a", `[{"ok":true}]`)
	if events := p.ask("events"); strings.Contains(events, "failed") {
		t.Errorf("it was loaded before it was complete:\n%s", events)
	}
	p.end()
}

// The default directory need not exist when the daemon starts, and install may exchange a
// capsule's directory for another one.
func TestRunWatchInstalled(t *testing.T) {
	t.Parallel()
	p := launch(t, "", "--watch")
	own := filepath.Join(p.home, "home", "default", ".local", "capsules")
	from := t.TempDir()
	put(t, from, "a", "1.0.0", "test.a")
	p.ask("install", filepath.Join(from, "a"), "--seal")
	put(t, from, "a", "1.1.0", "test.a")
	p.ask("install", filepath.Join(from, "a"), "--seal")
	p.ask("install", filepath.Join(from, "a"), "--seal")
	p.answers("test.a", "[1]")
	text, err := os.ReadFile(filepath.Join(own, "a", "Capsule.toml"))
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(string(text), "1.1.0", "1.2.0", 1)
	if err := os.WriteFile(filepath.Join(own, "a", "Capsule.toml"), []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	p.happens("a .*upgraded from 1.1.0 to 1.2.0")
	p.end()
}

// A change counts when two looks find the same, and a file that does not count changes
// nothing about that.
func TestFileWatchIsQuiet(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	looks := 0
	w, err := watchFiles(time.Millisecond, func() (watched, error) {
		if looks++; looks > 1 && looks < 10 { // the file grows between two looks
			text := strings.Repeat("x", looks)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Error(err)
			}
		}
		err := os.WriteFile(filepath.Join(dir, "other"), []byte{byte(looks)}, 0o600)
		return watched{files: []string{file}, dirs: []string{dir, filepath.Join(dir, "missing", "too")}}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	changed, err := w.next(t.Context())
	if diff := cmp.Diff([]string{file}, changed); err != nil || diff != "" {
		t.Errorf("%v: %s", err, diff)
	}
	if looks != 10 {
		t.Errorf("it took %d looks, want 10", looks)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if changed, err := w.next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %q, %v", changed, err)
	}
}

// An atomic rename is a change also if the new file has the size and the time of the old.
// A directory that is missing is awaited in the nearest one that exists.
func TestFileWatchFindsWhatIsNew(t *testing.T) {
	dir := t.TempDir()
	file, later := filepath.Join(dir, "f"), filepath.Join(dir, "missing", "too")
	write := func(path string) {
		t.Helper()
		when := time.Unix(1e9, 0)
		if err := errors.Join(os.WriteFile(path, []byte("x"), 0o600), os.Chtimes(path, when, when)); err != nil {
			t.Fatal(err)
		}
	}
	write(file)
	w, err := watchFiles(time.Millisecond, func() (watched, error) {
		return watched{files: []string{file, filepath.Join(later, "f")}, dirs: []string{later}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	expect := func(want ...string) {
		t.Helper()
		changed, err := w.next(ctx)
		if diff := cmp.Diff(want, changed); err != nil || diff != "" {
			t.Errorf("%v: %s", err, diff)
		}
	}
	if diff := cmp.Diff([]string{dir}, w.notify.WatchList()); diff != "" {
		t.Error(diff)
	}
	write(filepath.Join(dir, "beside"))
	if err := os.Rename(filepath.Join(dir, "beside"), file); err != nil {
		t.Fatal(err)
	}
	expect(file)
	if err := os.MkdirAll(later, 0o700); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(later, "f"))
	expect(filepath.Join(later, "f"))
	if !slices.Contains(w.notify.WatchList(), later) {
		t.Errorf("it watches %q", w.notify.WatchList())
	}
}
