package supervisor_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// A call that exceeds its capsule's own limit is a crash, and counts against the restart
// budget.
func TestACallThatSpendsMoreThanItsCapsuleMay(t *testing.T) {
	dir := write(t, manifestOf("bounded", "[[interceptor]]\nevent = \"bounded\"\naction = \"ask\"\n[supervision]\ncall_reductions = 100000\n"), "spin")
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: append(capsules("echo"), dir), AllowUnverified: true})
	leg := s.Ask("bounded", "").Legs[0]
	if leg.Outcome.String() != "crashed" || !strings.Contains(leg.Reason, "more than the 100000 reductions of one call") {
		t.Errorf("%s: %s", leg.Outcome.String(), leg.Reason)
	}
	if got := leg.Reductions; got < 100_000 || got > 105_000 {
		t.Errorf("it spent %d reductions, want the 100,000 and at most a tick more", got)
	}
	s.AwaitReady("bounded", 2)
	c := s.Capsule("bounded")
	if c.LastFailure.Kind != "budget" || c.BudgetSpent != 1 {
		t.Errorf("last failure %v, %d restarts spent", c.LastFailure, c.BudgetSpent)
	}
	if c.Reductions < 100_000 {
		t.Errorf("%d reductions are counted", c.Reductions)
	}
}

// A call that exceeds its trigger's limit ends as well. It does not count against the
// restart budget. The calls that it triggers inherit the limit.
func TestATriggersBudgetIsInherited(t *testing.T) {
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: capsules("spin", "fan-out", "echo")})
	reply, err := s.Trigger(context.Background(), supervisor.TriggerRequest{Topic: "test.spin", Reductions: 50_000})
	if err != nil {
		t.Fatal(err)
	}
	if leg := reply.Legs[0]; leg.Outcome.String() != "crashed" || leg.Reason != "the trigger's budget of 50000 reductions is spent" {
		t.Errorf("%s: %s", leg.Outcome.String(), leg.Reason)
	}
	s.AwaitReady("spin", 2)
	if got := s.Capsule("spin").BudgetSpent; got != 0 {
		t.Errorf("%d restarts are counted, want none", got)
	}

	// The outer call also pays for the reductions of the inner one, and has none left.
	reply, err = s.Trigger(context.Background(), supervisor.TriggerRequest{
		Topic: "test.fan-out", Payload: json.RawMessage(`{"hook":"test.spin","payload":1}`), Reductions: 50_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.AwaitReady("spin", 3)
	if leg := reply.Legs[0]; leg.Reductions < 50_000 || leg.Reductions > 60_000 {
		t.Errorf("%s: %d reductions were paid for", leg.Outcome.String(), leg.Reductions)
	}
	s.Expect("test.echo", "1", "echo continue 1")
}

// The same calls spend the same number of reductions in every instance of a capsule.
// (The first call costs more: the guest's memory grows in it.)
func TestReductionsAreDeterministic(t *testing.T) {
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: capsules("echo")})
	spent := func() (out []uint64) {
		for range 5 {
			out = append(out, s.Ask("test.echo", `{"a":[1,2,3]}`).Legs[0].Reductions)
		}
		return out
	}
	first := spent()
	if slices.Contains(first, 0) {
		t.Fatalf("spent %v", first)
	}
	for range 3 {
		if err := s.Restart(context.Background(), "echo"); err != nil {
			t.Fatal(err)
		}
		diff(t, first, spent())
	}
}
