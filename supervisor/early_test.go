package supervisor

import (
	"context"
	"errors"
	"runtime"
	"testing"
)

// Serve has been called, but the tree does not run yet: every request is refused.
func TestTheFirstMomentsOfServe(t *testing.T) {
	s, err := New(Config{Home: t.TempDir(), CapsuleDirs: []string{t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := newTree(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	s.tree.Store(tree)
	defer tree.discard()
	if _, err := s.Trigger(t.Context(), TriggerRequest{Topic: "a"}); !errors.Is(err, ErrNotServing) {
		t.Errorf("a trigger: %v", err)
	}
	if err := s.Restart(t.Context(), "a"); !errors.Is(err, ErrNotServing) {
		t.Errorf("a command: %v", err)
	}
	if n := s.Snapshot().OpenTriggers; n != 0 {
		t.Errorf("%d triggers are open", n)
	}
}

// Who waits for the start of a Serve that fails, or ends before, is told why.
func TestAwaitStartedEndsWithServe(t *testing.T) {
	home := t.TempDir()
	first := newSupervisor(t, home)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- first.Serve(ctx) }()
	if err := first.AwaitStarted(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := newSupervisor(t, home) // the first has locked the store of this home
	failed := second.Serve(t.Context())
	if failed == nil {
		t.Fatal("two serve the same home")
	}
	if err := second.AwaitStarted(t.Context()); !errors.Is(err, failed) {
		t.Errorf("Serve: %v; AwaitStarted: %v", failed, err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Fatal(err)
	}

	// The next Serve succeeds, and its start can be awaited again.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	go func() { served <- second.Serve(ctx) }()
	err := second.AwaitStarted(t.Context())
	for errors.Is(err, failed) { // until it has begun
		runtime.Gosched()
		err = second.AwaitStarted(t.Context())
	}
	if err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func newSupervisor(t *testing.T, home string) *Supervisor {
	t.Helper()
	sup, err := New(Config{Home: home})
	if err != nil {
		t.Fatal(err)
	}
	return sup
}
