package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

// aDaemon serves capsules of test/capsules on a socket until it is told to end.
func aDaemon(t *testing.T, socket string, capsules ...string) (sup *supervisor.Supervisor, end func()) {
	t.Helper()
	cfg := supervisor.Config{Home: t.TempDir()}
	for _, name := range capsules {
		cfg.CapsuleDirs = append(cfg.CapsuleDirs, filepath.Join("..", "..", "test", "capsules", name))
	}
	sup, err := supervisor.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := control.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	serving, cut := context.WithCancel(context.Background())
	served, answered := make(chan error, 1), make(chan error, 1)
	go func() { served <- sup.Serve(ctx) }()
	go func() { answered <- control.Serve(serving, listener, sup, slog.New(slog.DiscardHandler)) }()
	if err := sup.AwaitStarted(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sup, func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		cut()
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
}

// TestFollowGoesOn checks that a reader that reconnects misses nothing and receives
// nothing twice, even if the daemon was restarted in between.
func TestFollowGoesOn(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	client := control.Dial(socket)
	var since uint64
	var epoch string
	var got []uint64
	// read follows until an event matches, or the daemon ends.
	read := func(until func(messages.Event) bool) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		err := follow(ctx, client, &since, &epoch, func(e messages.Event) {
			if ctx.Err() == nil {
				got = append(got, e.Sequence)
			}
			if until(e) {
				cancel()
			}
		})
		if err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
	}
	started := func(e messages.Event) bool { _, ok := e.Detail.(messages.SystemStarted); return ok }

	sup, end := aDaemon(t, socket, "echo")
	epoch = sup.Snapshot().Epoch
	read(started)
	if diff := cmp.Diff([]uint64{1, 2, 3}, got); diff != "" {
		t.Errorf("at first (-want +got):\n%s", diff)
	}
	got = nil
	if err := client.Kill(t.Context(), "echo"); err != nil {
		t.Fatal(err)
	}
	read(func(e messages.Event) bool { _, ok := e.Detail.(messages.CapsuleReady); return ok })
	if diff := cmp.Diff([]uint64{4, 5, 6, 7}, got); diff != "" {
		t.Errorf("connected again (-want +got):\n%s", diff)
	}
	end()

	// This daemon has more events than the reader has received from the first.
	got = nil
	sup, end = aDaemon(t, socket, "echo", "counter", "deny", "caller")
	defer end()
	if last := sup.Snapshot().Sequence; last <= since {
		t.Fatalf("the second daemon has %d events, and the reader has seen %d", last, since)
	}
	read(started)
	want := []uint64{0} // the change of epoch
	for n := uint64(1); n <= sup.Snapshot().Sequence; n++ {
		want = append(want, n)
	}
	if diff := cmp.Diff(want, got); diff != "" || epoch != sup.Snapshot().Epoch {
		t.Errorf("after a restart, in epoch %s (-want +got):\n%s", epoch, diff)
	}
}
