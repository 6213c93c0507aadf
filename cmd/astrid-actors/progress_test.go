package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/messages"
)

func TestProgressText(t *testing.T) {
	at := time.Unix(1000, 0)
	capsule := func(id string, state messages.CapsuleState, generation uint64, ago time.Duration, decided bool) *messages.Capsule {
		return &messages.Capsule{ID: id, State: state, Generation: generation, Since: at.Add(-ago), Decided: decided}
	}
	const (
		loading  = messages.StateLoading
		starting = messages.StateStarting
		ready    = messages.StateReady
		failed   = messages.StateFailed
	)
	for _, c := range []struct {
		name     string
		capsules []*messages.Capsule
		want     string
	}{
		{"none", nil, ""},
		{"all decided", []*messages.Capsule{capsule("a", ready, 1, 0, true), capsule("b", failed, 1, 0, true)}, ""},
		{"one to go", []*messages.Capsule{capsule("a", ready, 1, 0, true), capsule("b", loading, 1, 3200*time.Millisecond, false)},
			"starting: 1 of 2 capsules; b is loading for 3.2s"},
		{"the slowest", []*messages.Capsule{capsule("a", starting, 1, time.Second, false), capsule("b", loading, 1, 2*time.Second, false), capsule("c", loading, 1, 0, false)},
			"starting: 0 of 3 capsules; b is loading for 2s"},
		{"what has not begun is not slow", []*messages.Capsule{capsule("a", loading, 0, time.Hour, false), capsule("b", loading, 1, time.Second, false)},
			"starting: 0 of 2 capsules; b is loading for 1s"},
		{"none has begun", []*messages.Capsule{capsule("a", loading, 0, time.Hour, false)}, "starting: 0 of 1 capsules"},
		{"failures", []*messages.Capsule{capsule("a", failed, 1, 0, true), capsule("b\x1b[2J", loading, 1, time.Second, false)},
			"starting: 1 of 2 capsules, failed: 1; b�[2J is loading for 1s"},
	} {
		if diff := cmp.Diff(c.want, progressText(&messages.Tree{At: at, Capsules: c.capsules})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// The log is printed above the progress, and the progress leaves no text behind.
func TestProgressStaysBelow(t *testing.T) {
	var out bytes.Buffer
	p := &progress{out: &out}
	for _, step := range []func(){
		func() { _, _ = p.Write([]byte("one\n")) },
		func() { p.set("1 of 2") },
		func() { p.set("1 of 2") },
		func() { _, _ = p.Write([]byte("two\n")) },
		func() { p.set("") },
		func() { _, _ = p.Write([]byte("three\n")) },
	} {
		step()
	}
	const erase = "\r\x1b[K"
	if diff := cmp.Diff("one\n"+erase+"1 of 2"+erase+"two\n1 of 2"+erase+"three\n", out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestProgressOfAStart(t *testing.T) {
	home := t.TempDir()
	capsules := filepath.Join(home, "capsules")
	makeCapsule(t, capsules, "echo", "quick", "tick", "")
	makeCapsule(t, capsules, "init-spin", "sleeper", "tock", "stop_timeout = \"100ms\"")
	args := []string{"run", "--home", home, "--socket", filepath.Join(home, "s"), "--capsules", capsules, "--allow-unverified"}

	term := startTerminal(t, 80, 24, nil, args...)
	term.until(`(?m)^starting: 1 of 2 capsules; sleeper is loading for \S+$`, `capsule ready`)
	term.press("\x03")
	status, output := term.ended()
	if text := term.text(); status != exitDone || strings.Contains(text, "starting: ") {
		t.Errorf("exit status %d, and in the end\n%s", status, text)
	}
	if !strings.Contains(output, "starting: ") {
		t.Error("there was no progress")
	}

	var stderr bytes.Buffer
	off := exec.Command("astrid-actors", args...)
	off.Stderr = &stderr
	if err := off.Start(); err != nil {
		t.Fatal(err)
	}
	wait := exec.Command("astrid-actors", "ps", "--socket", filepath.Join(home, "s"), "--wait", "1s") // it fails
	if output, err := wait.CombinedOutput(); err == nil || !strings.Contains(string(output), "sleeper (loading)") {
		t.Errorf("ps --wait: %v: %s", err, output)
	}
	_ = off.Process.Kill()
	_ = off.Wait()
	if text := stderr.String(); strings.Contains(text, "starting: ") || strings.Contains(text, "\x1b") {
		t.Errorf("off a terminal there is progress:\n%s", text)
	}
}
