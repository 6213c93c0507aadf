package guests

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

const examples = "../../capsulehost/guest/examples/"

// build builds a capsule from the Go program in a directory, with stock Go.
func build(t testing.TB, directory string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "capsule.wasm")
	command := exec.CommandContext(context.Background(), "go", "build", "-buildmode=c-shared", "-o", file, ".")
	command.Dir = directory
	command.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

func TestGreeter(t *testing.T) {
	t.Parallel()
	ada := "ada"
	w := &world{
		config: map[string]string{"greeting": "good day"},
		caller: &capsulehost.Caller{Principal: &ada, SourceID: session, Timestamp: time.Unix(1, 0)},
		now:    time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC),
	}
	guest := start(t, compile(t, newHost(t), build(t, examples+"greeter")), w)
	for range 3 {
		got, err := guest.Invoke(context.Background(), "greet", []byte(`{"name":"Grace"}`))
		want := capsulehost.Result{Data: []byte(`{"at":"09:30","for":"ada","say":"good day, Grace"}`)}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v, -want +got\n%s", err, diff)
		}
	}
	if diff := cmp.Diff([]string{"INFO greeting Grace for ada", "INFO greeting Grace for ada", "INFO greeting Grace for ada"}, w.lines); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	got, err := guest.Invoke(context.Background(), "greet", []byte(`{}`))
	if diff := cmp.Diff(capsulehost.Result{Action: capsulehost.Deny, Data: []byte("nobody to greet")}, got); err != nil || diff != "" {
		t.Errorf("%v, -want +got\n%s", err, diff)
	}
	var failed *capsulehost.GuestError
	if _, err := guest.Invoke(context.Background(), "greet", []byte(`nonsense`)); !errors.As(err, &failed) || !strings.HasPrefix(failed.Text, "read the payload: ") {
		t.Errorf("a payload that is not JSON: %v", err)
	}
	if _, err := guest.Invoke(context.Background(), "other", nil); !errors.As(err, &failed) || failed.Text != `no handler for action "other"` {
		t.Errorf("another action: %v", err)
	}
}

func TestGuardian(t *testing.T) {
	t.Parallel()
	w := &world{config: map[string]string{"forbidden": "password,secret"}}
	guest := start(t, compile(t, newHost(t), build(t, examples+"guardian")), w)
	for _, tt := range []struct {
		payload string
		want    capsulehost.Result
	}{
		{`{"text":"the Secret is"}`, capsulehost.Result{Action: capsulehost.Deny, Data: []byte(`the text holds "secret"`)}},
		{`{"text":"be kind","source":"` + session + `"}`, capsulehost.Result{Data: []byte(`{"allow":true,"opinions":2}`)}},
		{`{"text":"be kind","source":"6ba7b810-9dad-41d1-80b4-00c04fd430c9"}`, capsulehost.Result{Action: capsulehost.Deny, Data: []byte("the capsule may not put text into prompts")}},
		{`{"text":"be kind"}`, capsulehost.Result{Data: []byte(`{"allow":true,"opinions":2}`)}},
	} {
		got, err := guest.Invoke(context.Background(), "judge", []byte(tt.payload))
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v, -want +got\n%s", tt.payload, err, diff)
		}
	}
	want := []string{
		`guard.opinion {"source":"` + session + `","text":"be kind"}`,
		`guard.opinion {"source":"","text":"be kind"}`,
	}
	if diff := cmp.Diff(want, w.topics); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// loop is a world whose run loop reports its progress to the test.
type loop struct {
	world
	said chan string
}

func (l *loop) SignalReady()                               { l.said <- "ready" }
func (l *loop) Log(_ capsulehost.LogLevel, message string) { l.said <- message }

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	module := compile(t, newHost(t), build(t, examples+"heartbeat"))
	if !module.RunLoop() {
		t.Error("it is no run-loop capsule")
	}
	l := &loop{world: world{config: map[string]string{"interval": "1ms"}}, said: make(chan string)}
	guest := start(t, module, l)
	ctx, stop := context.WithCancelCause(context.Background())
	ended := make(chan error)
	go func() { ended <- guest.Run(ctx) }()
	if first := <-l.said; first != "ready" {
		t.Errorf("it first said %q", first)
	}
	for range 3 {
		if line := <-l.said; !strings.HasPrefix(line, "up for ") {
			t.Errorf("it said %q", line)
		}
	}
	why := errors.New("enough")
	stop(why)
	var err error
	for err == nil {
		select {
		case <-l.said:
		case err = <-ended:
		}
	}
	var failure *capsulehost.Failure
	if !errors.As(err, &failure) || failure.Kind != capsulehost.KindCancelled || !errors.Is(err, why) {
		t.Errorf("it ended with %v", err)
	}

	// Without an interval it fails with an error.
	l.config = nil
	var failed *capsulehost.GuestError
	if err := start(t, module, l).Run(context.Background()); !errors.As(err, &failed) || !strings.HasPrefix(failed.Text, "read interval: ") {
		t.Errorf("without an interval: %v", err)
	}
}

func TestMisbehave(t *testing.T) {
	t.Parallel()
	module := compile(t, newHost(t), build(t, "testdata/misbehave"))
	t.Run("faults", func(t *testing.T) { testGoFaults(t, module) })
	t.Run("surroundings", func(t *testing.T) { testGoSurroundings(t, module) })
}

// The host reports each way in which a Go guest can die.
func testGoFaults(t *testing.T, module *capsulehost.Module) {
	for _, tt := range []struct {
		action  string
		kind    capsulehost.Kind
		message string
	}{
		{"panic", capsulehost.KindTrap, "; its last word: panic: a bug in Go"},
		{"nil", capsulehost.KindTrap, "; its last word: panic: runtime error: invalid memory address or nil pointer dereference"},
		{"goroutine", capsulehost.KindTrap, "; its last word: panic: a bug elsewhere"},
		{"deadlock", capsulehost.KindTrap, "; its last word: fatal error: all goroutines are asleep - deadlock!"},
		{"exit", capsulehost.KindExit, "exited with code 3"},
		{"memory", capsulehost.KindMemoryLimit, "limit of 67108864 bytes; its last word: fatal error: out of memory"},
		{"recurse", capsulehost.KindStackOverflow, "recursion without end?"},
		{"spin", capsulehost.KindTimeout, "deadline exceeded"},
		{"sleep", capsulehost.KindTimeout, "deadline exceeded"},
	} {
		t.Run(tt.action, func(t *testing.T) {
			guest := start(t, module, &world{})
			ctx := context.Background()
			if tt.kind == capsulehost.KindTimeout {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
			}
			_, err := guest.Invoke(ctx, tt.action, nil)
			var failure *capsulehost.Failure
			if !errors.As(err, &failure) || failure.Kind != tt.kind {
				t.Fatalf("got %v, want %s", err, tt.kind)
			}
			if !strings.Contains(err.Error(), tt.message) {
				t.Errorf("got %v, want %q\n%s", err, tt.message, failure.Stderr)
			}
		})
	}
}

// The environment of a Go capsule: a clock that may not advance, the host's limits, and
// nothing of the machine.
func testGoSurroundings(t *testing.T, module *capsulehost.Module) {
	w := &world{now: time.Date(2026, 3, 1, 9, 30, 0, 123_456_789, time.UTC)}
	guest := start(t, module, w)
	payload, err := json.Marshal(strings.Repeat("x", 1<<20-2))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		action, payload, want string
	}{
		{"clock", "", `["2026-03-01T09:30:00.123Z","2026-03-01T09:30:00.123Z"]`},
		{"surroundings", "", `{"args":1,"env":0,"files":false}`},
		{"size", string(payload), `1048576`},
		{"trigger", "", `[1,{"é":[null]}]`},
		{"log", "", ""},
	} {
		got, err := guest.Invoke(context.Background(), tt.action, []byte(tt.payload))
		if err != nil || string(got.Data) != tt.want {
			t.Errorf("%s: got %s, %v; want %s", tt.action, got.Data, err, tt.want)
		}
	}
	if len(w.lines) != 1 || len(w.lines[0]) != len("INFO ")+64<<10 {
		t.Errorf("a long line was not cut to the limit: %d lines", len(w.lines))
	}
	if len(w.topics) != 1 || len(w.topics[0]) != len(`a ""`)+1<<20-len(`{"hook":"a","payload":""}`) {
		t.Errorf("a request at the limit did not arrive: %d", len(w.topics))
	}
}
