package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// clerk is an instance of a capsule written in Go, which answers with its version.
type clerk string

func (c clerk) Invoke(context.Context, string, []byte) (capsulehost.Result, error) {
	return capsulehost.Result{Data: fmt.Appendf(nil, "%q", c)}, nil
}
func (clerk) Run(context.Context) error   { return nil }
func (clerk) RunLoop() bool               { return false }
func (clerk) MemoryBytes() uint64         { return 0 }
func (clerk) Close(context.Context) error { return nil }

// clerkIn returns a version of the capsule; err is why it does not load.
func clerkIn(version string, err error) supervisor.Capsule {
	return supervisor.Capsule{
		Manifest: fmt.Sprintf(`
[package]
name = "clerk"
version = %q
[[component]]
id = "main"
file = "clerk.wasm"
[[interceptor]]
event = "ask"
action = "ask"
`, version),
		Load: func(context.Context, capsulehost.HostAPI) (supervisor.Guest, error) { return clerk(version), err },
	}
}

// serveHome serves what there is in a home.
func serveHome(home string) (sup *supervisor.Supervisor, stop func()) {
	sup, err := supervisor.New(supervisor.Config{Home: home})
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
	}
}

//nolint:forbidigo // part of an Example
func askClerk(sup *supervisor.Supervisor) {
	reply, err := sup.Trigger(context.Background(), supervisor.TriggerRequest{Topic: "ask"})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(reply.Responses))
}

// A program adds a capsule to a running system, upgrades it, and removes it.
func ExampleSupervisor_Upgrade() {
	home, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(home)
	sup, stop := serveHome(home)
	defer stop()
	ctx := context.Background()

	fmt.Println(sup.Add(ctx, clerkIn("1.0.0", nil)))
	askClerk(sup)

	fmt.Println(sup.Upgrade(ctx, clerkIn("2.0.0", nil))) // the running call ends on 1.0.0
	askClerk(sup)

	// A version that does not load changes nothing.
	change, err := sup.Upgrade(ctx, clerkIn("3.0.0", errors.New("no paper")))
	fmt.Println(change, errors.Is(err, supervisor.ErrUpgradeFailed))
	askClerk(sup)
	// Output:
	// added clerk 1.0.0 <nil>
	// ["1.0.0"]
	// upgraded clerk 1.0.0 -> 2.0.0 <nil>
	// ["2.0.0"]
	// rejected clerk: no paper true
	// ["2.0.0"]
}

// Remove stops a capsule and takes it out of the system.
func ExampleSupervisor_Remove() {
	home, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(home)
	sup, stop := serveHome(home)
	defer stop()
	ctx := context.Background()
	if _, err := sup.Add(ctx, clerkIn("1.0.0", nil)); err != nil {
		panic(err)
	}
	askClerk(sup)
	fmt.Println(sup.Remove(ctx, "clerk"))
	askClerk(sup)
	fmt.Println(errors.Is(sup.Remove(ctx, "clerk"), supervisor.ErrNotFound))
	// Output:
	// ["1.0.0"]
	// <nil>
	// []
	// true
}

// Reload makes a running system what its directories say.
func ExampleSupervisor_Reload() {
	home, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(home)
	sup, stop := serveHome(home)
	defer stop()

	installed := sup.InstallDir("echo")
	if err := os.MkdirAll(filepath.Dir(installed), 0o700); err != nil {
		panic(err)
	}
	if err := os.CopyFS(installed, os.DirFS("../test/capsules/echo")); err != nil {
		panic(err)
	}
	for range 2 {
		changes, err := sup.Reload(context.Background()) // all; or the ids that are given
		fmt.Println(changes, err)
	}
	if err := os.RemoveAll(installed); err != nil {
		panic(err)
	}
	changes, err := sup.Reload(context.Background())
	fmt.Println(changes, err)
	// Output:
	// [added echo 1.0.0] <nil>
	// [unchanged echo] <nil>
	// [removed echo] <nil>
}
