package supervisor_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// fileEvent is a line of an events file.
type fileEvent struct {
	Sequence uint64
	Event    string
	Count    uint64 // of events_lost
	Path     string
}

func readEvents(t *testing.T, path string) []fileEvent {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var events []fileEvent
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var e fileEvent
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%s: %v: %s", filepath.Base(path), err, lines.Text())
		}
		events = append(events, e)
	}
	return events
}

// whole fails the test if events are missing between two sequence numbers, unless an
// events_lost reports them.
func whole(t *testing.T, events []fileEvent, from, to uint64) {
	t.Helper()
	last := from - 1
	for _, e := range events {
		if e.Event == "events_lost" {
			last += e.Count
			continue
		}
		if e.Sequence != last+1 {
			t.Errorf("event %d follows %d", e.Sequence, last)
		}
		last = e.Sequence
	}
	if last != to {
		t.Errorf("the last event is %d, want %d", last, to)
	}
}

// The file has every event, from the capsules that New rejects to the last one, and
// continues if Serve is called again.
func TestEventsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	sup, err := supervisor.New(supervisor.Config{
		Home: t.TempDir(), EventsFile: path, CapsuleDirs: append(capsules("echo"), write(t, manifestOf("broken", "nonsense"), "")),
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- sup.Serve(ctx) }()
		err := supervisor.ErrNotServing
		for errors.Is(err, supervisor.ErrNotServing) || errors.Is(err, supervisor.ErrRefused) {
			err = sup.Kill(t.Context(), "echo") // as soon as possible
		}
		if err != nil {
			t.Fatal(err)
		}
		stop()
		if err := <-served; err != nil {
			t.Fatal(err)
		}
	}
	events := readEvents(t, path)
	whole(t, events, 1, sup.Snapshot().Sequence)
	if first, last := events[0].Event, events[len(events)-1].Event; first != "capsule_rejected" || last != "system_stopped" {
		t.Errorf("the file is from %s to %s", first, last)
	}
}

// A file is rotated before it exceeds its limit, and the oldest files are removed.
func TestEventsFileIsRotated(t *testing.T) {
	const limit = 2048
	path := filepath.Join(t.TempDir(), "events.jsonl")
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: capsules("echo"), EventsFile: path, EventsFileSize: limit})
	for range 40 {
		if err := s.Restart(t.Context(), "echo"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var all []fileEvent
	for _, suffix := range []string{".3", ".2", ".1", ""} {
		about, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if about.Size() > limit || about.Mode().Perm() != 0o600 {
			t.Errorf("%s has %d bytes, mode %v", about.Name(), about.Size(), about.Mode())
		}
		all = append(all, readEvents(t, path+suffix)...)
	}
	whole(t, all, all[0].Sequence, s.Snapshot().Sequence)
	if _, err := os.Stat(path + ".4"); err == nil {
		t.Error("a fourth old file is kept")
	}
	if lost := s.Snapshot().EventsFileLost; lost != 0 {
		t.Errorf("%d events were lost", lost)
	}
}

// A reader that does not read the pipe that receives the events loses some, and is told
// how many. Nothing else waits for it, not even the end of Serve.
func TestEventsFileThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := start(t, path); err == nil || !strings.Contains(err.Error(), "open the events file") {
		t.Errorf("a pipe without a reader: %v", err)
	}
	pipe, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: capsules("echo"), EventsFile: path, EventsKept: 8})
	restarts := func(n int) {
		for range n {
			if err := s.Restart(t.Context(), "echo"); err != nil {
				t.Fatal(err)
			}
		}
	}
	restarts(1000) // more than a pipe holds
	lines := make(chan fileEvent)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(pipe); scan.Scan(); {
			var e fileEvent
			if err := json.Unmarshal(scan.Bytes(), &e); err != nil {
				t.Errorf("%v: %s", err, scan.Text())
			}
			lines <- e
		}
	}()
	var read []fileEvent
	for e := range lines {
		if read = append(read, e); e.Event == "events_lost" {
			break
		}
	}
	restarts(1) // events after the loss are written again
	for e := range lines {
		if read = append(read, e); e.Event == "capsule_upgraded" && e.Sequence > 1000 {
			break
		}
	}
	whole(t, read, 1, read[len(read)-1].Sequence)
	if lost := s.Snapshot().EventsFileLost; lost == 0 {
		t.Error("the snapshot knows of no loss")
	}
	go func() {
		for range lines {
		}
	}()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// If the pipe is never read, Serve still returns, and leaves no goroutine that writes:
// it can be called again at once, and the lines that the pipe receives then are
// complete.
func TestEventsFileThatHangsAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	for filler := []byte(strings.Repeat("\n", 4096)); err == nil; {
		if err := pipe.SetWriteDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, err = pipe.Write(filler)
	}
	sup, err := supervisor.New(supervisor.Config{Home: t.TempDir(), CapsuleDirs: capsules("echo"), EventsFile: path})
	if err != nil {
		t.Fatal(err)
	}
	serve := func(restarts int) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		served := make(chan error, 1)
		go func() { served <- sup.Serve(ctx) }()
		for e := range sup.Events(t.Context(), sup.Snapshot().Sequence) {
			if e.Name() == "capsule_ready" {
				break
			}
		}
		for range restarts {
			if err := sup.Restart(t.Context(), "echo"); err != nil {
				t.Error(err)
			}
		}
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
	serve(400) // so many that losing them takes a while
	var read []fileEvent
	var reading sync.WaitGroup
	reading.Go(func() {
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			if len(lines.Bytes()) == 0 {
				continue // the filler
			}
			var e fileEvent
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Errorf("%v: %s", err, lines.Text())
			}
			if read = append(read, e); e.Event == "system_stopped" {
				return
			}
		}
	})
	serve(0)
	reading.Wait()
	if len(read) == 0 || read[0].Event != "events_lost" {
		t.Fatalf("the second time begins with %+v", read[:min(1, len(read))])
	}
	whole(t, read, 1, sup.Snapshot().Sequence)
}

// If a crash or a full disk cut the last line of a file, the next event begins a new
// line.
func TestEventsFileThatIsTorn(t *testing.T) {
	const torn, whole = `{"sequence":7,"ev`, `{"sequence":7,"event":"x"}`
	for name, before := range map[string]struct{ have, want string }{
		"torn": {torn, torn + "\n"}, "whole": {whole + "\n", whole + "\n"}, "empty": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "events.jsonl")
			if err := os.WriteFile(path, []byte(before.have), 0o600); err != nil {
				t.Fatal(err)
			}
			s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: capsules("echo"), EventsFile: path})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			rest, ok := strings.CutPrefix(string(text), before.want)
			if !ok {
				t.Fatalf("the file begins with %q", text[:min(len(text), 60)])
			}
			for line := range strings.Lines(rest) {
				if !json.Valid([]byte(line)) {
					t.Errorf("no JSON: %q", line)
				}
			}
		})
	}
}

// start serves with an events file, and returns the error of Serve if it returns at
// once.
func start(t *testing.T, path string) (*supervisor.Supervisor, error) {
	t.Helper()
	sup, err := supervisor.New(supervisor.Config{Home: t.TempDir(), CapsuleDirs: []string{t.TempDir()}, EventsFile: path})
	if err != nil {
		t.Fatal(err)
	}
	err = sup.Serve(t.Context())
	return sup, err
}
