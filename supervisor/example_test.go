package supervisor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// A program runs capsules from directories, and triggers them.
func Example() {
	home, err := os.MkdirTemp("", "example") // without Home it is $ASTRID_HOME, or ~/.astrid
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(home)
	fmt.Println(ask(context.Background(), home))
	// Output:
	// echo continue {"name":"Ada"}
	// <nil>
}

//nolint:forbidigo // part of an Example
func ask(ctx context.Context, home string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	sup, err := supervisor.New(supervisor.Config{Home: home, CapsuleDirs: []string{"../test/capsules/echo"}})
	if err != nil {
		return err // every problem at once, each with its capsule and field
	}
	done := make(chan error, 1)
	go func() { done <- sup.Serve(ctx) }() // blocks until ctx ends; nil after a clean stop
	if err := sup.AwaitStarted(ctx); err != nil {
		return err
	}

	reply, err := sup.Trigger(ctx, supervisor.TriggerRequest{Topic: "test.echo", Payload: json.RawMessage(`{"name":"Ada"}`)})
	if err != nil {
		return err // it was not accepted, or ctx was cancelled
	}
	for _, leg := range reply.Legs {
		fmt.Println(leg.Capsule, leg.Outcome, string(leg.Value)) // echo continue {"name":"Ada"}
	}

	stop()
	return <-done
}

// greeter is an instance of a capsule written in Go.
type greeter struct{}

func (greeter) Invoke(_ context.Context, _ string, payload []byte) (capsulehost.Result, error) {
	if string(payload) == "null" {
		return capsulehost.Result{}, errors.New("no name") // the leg is OutcomeFailed; the instance goes on
	}
	return capsulehost.Result{Data: fmt.Appendf(nil, `"Hello, %s"`, strings.Trim(string(payload), `"`))}, nil
}
func (greeter) Run(context.Context) error   { return nil }
func (greeter) RunLoop() bool               { return false }
func (greeter) MemoryBytes() uint64         { return 0 }
func (greeter) Close(context.Context) error { return nil }

// serveGreeter serves a greeter, for the examples below.
func serveGreeter() (sup *supervisor.Supervisor, stop func()) {
	home, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	sup, err = supervisor.New(supervisor.Config{Home: home, Capsules: []supervisor.Capsule{{
		Manifest: `
[package]
name = "greeter"
version = "1.0.0"
[[component]]
id = "main"
file = "greeter.wasm"
[[interceptor]]
event = "greet.*"
action = "greet"
`,
		Load: func(context.Context, capsulehost.HostAPI) (supervisor.Guest, error) { return greeter{}, nil },
	}}})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sup.Serve(ctx) }()
	if err := sup.AwaitStarted(ctx); err != nil {
		panic(err)
	}
	return sup, func() {
		cancel()
		if err := <-done; err != nil {
			panic(err)
		}
		_ = os.RemoveAll(home)
	}
}

// New reports every problem of a configuration at once.
func ExampleNew() {
	_, err := supervisor.New(supervisor.Config{Home: "/nonexistent", Queue: -1, Restart: supervisor.RestartPolicy{Mode: "always"}})
	fmt.Println(err)
	// Output:
	// config: Queue is -1: it can't be negative
	// config: Restart.Mode is "always": it is one of permanent, transient, temporary
}

// Serve blocks until its context ends. It may be called again.
func ExampleSupervisor_Serve() {
	sup, err := supervisor.New(supervisor.Config{Home: os.TempDir(), CapsuleDirs: []string{"../test/capsules/echo"}})
	if err != nil {
		panic(err)
	}
	for range 2 {
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			_ = sup.AwaitStarted(ctx)
			cancel()
		}()
		fmt.Println(sup.Serve(ctx), sup.Snapshot().Capsules[0].State)
	}
	// Output:
	// <nil> stopped
	// <nil> stopped
}

// Each capsule that subscribes to the topic has a leg in the answer, with its outcome.
func ExampleSupervisor_Trigger() {
	sup, stop := serveGreeter()
	defer stop()
	for _, payload := range []string{`"Ada"`, ``} {
		reply, err := sup.Trigger(context.Background(), supervisor.TriggerRequest{Topic: "greet.world", Payload: json.RawMessage(payload)})
		if err != nil {
			panic(err) // it was not accepted: ErrInvalid, ErrOverloaded, ErrStopping ...
		}
		leg := reply.Legs[0]
		fmt.Printf("%s is %s: %s%s; responses %s\n", leg.Capsule, leg.Outcome, leg.Value, leg.Reason, reply.Responses)
	}
	// Output:
	// greeter is continue: "Hello, Ada"; responses ["Hello, Ada"]
	// greeter is failed: no name; responses []
}

// Events yields past events, then new ones.
func ExampleSupervisor_Events() {
	sup, stop := serveGreeter()
	defer stop()
	if err := sup.Kill(context.Background(), "greeter"); err != nil {
		panic(err)
	}
	for e := range sup.Events(context.Background(), 0) {
		switch d := e.Detail.(type) {
		case messages.CapsuleCrashed:
			fmt.Println(e.Path, e.Generation, e.Name(), "-", d.Failure.Message)
		case messages.RestartScheduled:
			fmt.Printf("%s %d %s - %d of %d restarts spent\n", e.Path, e.Generation, e.Name(), d.BudgetSpent, d.Budget)
		case messages.CapsuleReady:
			fmt.Println(e.Path, e.Generation, e.Name())
			if e.Generation == 2 {
				return
			}
		}
	}
	// Output:
	// capsules/greeter 1 capsule_ready
	// capsules/greeter 1 capsule_crashed - cancelled: killed by an operator
	// capsules/greeter 1 restart_scheduled - 1 of 5 restarts spent
	// capsules/greeter 2 capsule_ready
}

// Install puts a capsule into the principal's directory; a running system loads it at once.
func ExampleSupervisor_Install() {
	home, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(home)
	sup, err := supervisor.New(supervisor.Config{Home: home})
	if err != nil {
		panic(err)
	}
	for range 2 {
		change, err := sup.Install(context.Background(), "../test/capsules/echo", supervisor.InstallOptions{})
		if err != nil {
			panic(err) // the reason; nothing was installed
		}
		fmt.Println(change)
	}
	// Output:
	// added echo 1.0.0
	// unchanged echo
}

// TestReadme checks that the snippet in README is the Example, except for the
// directories.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, snippet, _ := strings.Cut(string(readme), "```go\nsup, err :=")
	snippet, _, found := strings.Cut("sup, err :="+snippet, "```")
	if !found {
		t.Fatal("no snippet")
	}
	snippet = strings.Replace(snippet, `CapsuleDirs: []string{"./capsules"}`, `Home: home, CapsuleDirs: []string{"../test/capsules/echo"}`, 1)
	code := strings.ReplaceAll(string(example), "\n\t", "\n")
	if !strings.Contains(code, snippet) {
		t.Errorf("the Example does not contain README's snippet:\n%s", snippet)
	}
}

// A program offers its capsules a function of its own: the capsule embedder imports
// "upper" from "example:text".
func Example_hostFunctions() {
	home, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(home)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	sup, err := supervisor.New(supervisor.Config{
		Home: home, CapsuleDirs: []string{"../test/capsules/embedder"},
		HostFunctions: []capsulehost.HostFunction{{
			Namespace: "example:text", Name: "upper", Status: true,
			Call: func(_ context.Context, c capsulehost.HostCall) ([]byte, error) {
				return bytes.ToUpper(c.Input), nil // an error would be shown to the capsule
			},
		}},
	})
	if err != nil {
		panic(err)
	}
	done := make(chan error, 1)
	go func() { done <- sup.Serve(ctx) }()
	if err := sup.AwaitStarted(ctx); err != nil {
		panic(err)
	}
	reply, err := sup.Trigger(ctx, supervisor.TriggerRequest{Topic: "test.embedder", Payload: json.RawMessage(`"hello"`)})
	if err != nil {
		panic(err)
	}
	fmt.Println(reply.Legs[0].Outcome, string(reply.Legs[0].Value))
	stop()
	fmt.Println(<-done)
	// Output:
	// continue "HELLO"
	// <nil>
}
