package supervisor

import (
	"errors"
	"testing"
)

// Serve has been called, but the tree does not run yet: every request is refused.
func TestTheFirstMomentsOfServe(t *testing.T) {
	s, err := New(Config{Home: t.TempDir(), CapsuleDirs: []string{t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	if s.tree, err = newTree(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	defer s.tree.discard()
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
