package supervisortest

import (
	"context"
	"fmt"
	"strings"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// Await waits for an event, or finds it among those kept since New, and
// returns it. Match must not call the System.
func (s *System) Await(what string, match func(supervisor.Event) bool) supervisor.Event {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), s.patience())
	defer cancel()
	for e := range s.Events(ctx, 0) {
		if match(e) {
			return e
		}
	}
	s.tb.Fatalf("no event %q %s; what happened instead:%s", what, s.waited(ctx), s.latest(""))
	return supervisor.Event{}
}

// AwaitState waits until a capsule is in a state, and returns its status. A state that
// passes quickly can be missed: await its event instead.
func (s *System) AwaitState(capsule string, state supervisor.CapsuleState) *supervisor.CapsuleStatus {
	s.tb.Helper()
	return s.awaitCapsule(capsule, state.String(), func(c *supervisor.CapsuleStatus) bool { return c.State == state })
}

// AwaitReady waits until a capsule is Ready in at least that generation, and returns its
// status. Generations count its loads, from 1.
func (s *System) AwaitReady(capsule string, generation uint64) *supervisor.CapsuleStatus {
	s.tb.Helper()
	return s.awaitCapsule(capsule, fmt.Sprintf("ready in generation %d", generation), func(c *supervisor.CapsuleStatus) bool {
		return c.State == messages.StateReady && c.Generation >= generation
	})
}

func (s *System) awaitCapsule(id, what string, match func(*supervisor.CapsuleStatus) bool) *supervisor.CapsuleStatus {
	s.tb.Helper()
	s.watched("await "+what, id)
	ctx, cancel := context.WithTimeout(context.Background(), s.patience())
	defer cancel()
	for {
		tree := s.Snapshot()
		c := find(tree, id)
		if match(c) {
			return c
		}
		changed := false
		for range s.Events(ctx, tree.Sequence) {
			changed = true
			break
		}
		if !changed {
			s.tb.Fatalf("capsule %q is %s, and not %s %s; what happened to it:%s", id, describe(c), what, s.waited(ctx), s.latest(id))
			return nil
		}
	}
}

// waited explains why the wait ended.
func (s *System) waited(ctx context.Context) string {
	if ctx.Err() == nil {
		return "when Serve returned"
	}
	return fmt.Sprintf("after %v", s.patience())
}

// Capsule returns the current status of a capsule.
func (s *System) Capsule(id string) *supervisor.CapsuleStatus {
	s.tb.Helper()
	s.watched("Capsule", id)
	return find(s.Snapshot(), id)
}

func find(tree *supervisor.Tree, id string) *supervisor.CapsuleStatus {
	for _, c := range tree.Capsules {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// describe returns a capsule's state as text.
func describe(c *supervisor.CapsuleStatus) string {
	text := fmt.Sprintf("%s in generation %d", c.State.String(), c.Generation)
	if c.Reason != "" {
		text += fmt.Sprintf(" (%s)", c.Reason)
	}
	return text
}

// states returns every capsule's state, one a line.
func (s *System) states() string {
	var b strings.Builder
	for _, c := range s.Snapshot().Capsules {
		fmt.Fprintf(&b, "\n\t%s %s", c.ID, describe(c))
	}
	return b.String()
}

// latest returns the last events, of one capsule or of all, one a line.
func (s *System) latest(capsule string) string {
	const most = 20
	lines := s.timeline(capsule)
	var b strings.Builder
	if n := len(lines); n > most {
		fmt.Fprintf(&b, "\n\t(%d earlier events)", n-most)
		lines = lines[n-most:]
	}
	for _, line := range lines {
		b.WriteString("\n\t" + line)
	}
	return b.String()
}

// Timeline returns the history of a capsule, as far back as events are kept: a
// line for each event, without times:
//
//	loading 1
//	ready 1
//	crashed 1 in call: trap
//	restart 1/5 after crash
//	loading 2
//	ready 2
//
// The numbers are generations; a restart shows how much of the budget is spent.
// Samples of normal work, as answered triggers, are left out.
func (s *System) Timeline(capsule string) []string {
	s.tb.Helper()
	s.watched("Timeline", capsule)
	return s.timeline(capsule)
}

func (s *System) timeline(capsule string) []string {
	lines := []string{}
	last := s.Snapshot().Sequence
	if last == 0 {
		return lines
	}
	for e := range s.Events(context.Background(), 0) {
		switch e.Detail.(type) {
		case messages.TriggerAnswered, messages.LogSuppressed, messages.DeadLetter: // samples of normal work
		default:
			if capsule == "" {
				lines = append(lines, strings.TrimSpace(e.Path+" "+Line(e)))
			} else if e.Child() == capsule {
				lines = append(lines, Line(e))
			}
		}
		if e.Sequence >= last {
			break
		}
	}
	return lines
}

// Line returns an event as Timeline shows it.
func Line(e supervisor.Event) string {
	switch d := e.Detail.(type) {
	case messages.SystemStarted:
		return "started"
	case messages.SystemStopping:
		return "stopping: " + d.Cause
	case messages.SystemStopped:
		return "stopped"
	case messages.ActorRestarted:
		return "restarted: " + d.Cause
	case messages.CapsuleRejected:
		return "rejected: " + d.Problem
	case messages.TriggerAnswered:
		return "answered " + d.Topic
	case messages.LogSuppressed:
		return fmt.Sprintf("suppressed %d lines", d.Lines)
	case messages.DeadLetter:
		return "dead letter " + d.Topic + ": " + d.Reason
	case messages.ApprovalRequested:
		return "asks to " + d.Action + ": " + d.Resource
	case messages.ApprovalDecided:
		return d.Decision + ": " + d.Cause
	case messages.CapsuleAdded:
		return "added " + d.Version
	case messages.CapsuleRemoved:
		return "removed"
	case messages.CapsuleUpgraded:
		return fmt.Sprintf("upgraded %d: %s -> %s", e.Generation, d.From, d.To)
	case messages.UpgradeFailed:
		return fmt.Sprintf("upgrade %s -> %s failed: %s", d.From, d.To, d.Failure.Kind)
	case messages.CapsuleRolledBack:
		return fmt.Sprintf("rolled back %s -> %s: %s", d.From, d.To, d.Failure.Kind)
	case messages.CapsuleLoading:
		return fmt.Sprintf("loading %d", e.Generation)
	case messages.CapsuleStarting:
		return fmt.Sprintf("starting %d", e.Generation)
	case messages.CapsuleReady:
		return fmt.Sprintf("ready %d", e.Generation)
	case messages.ReadinessTimedOut:
		return fmt.Sprintf("not ready in time %d", e.Generation)
	case messages.CapsuleCrashed:
		return fmt.Sprintf("crashed %d in %s: %s", e.Generation, d.During, d.Failure.Kind)
	case messages.RestartScheduled:
		return fmt.Sprintf("restart %d/%d after %s", d.BudgetSpent, d.Budget, d.Cause)
	case messages.PoolScaled:
		return fmt.Sprintf("instances %d: %s", d.Instances, d.Cause)
	case messages.SupervisorStarted:
		return fmt.Sprintf("started %d", d.Children)
	case messages.SupervisorFailed:
		return fmt.Sprintf("failed: %s: %s", d.Cause, d.Decision)
	case messages.SupervisorStopped:
		return "stopped: " + d.Cause
	case messages.CapsuleFailed:
		return "failed: " + d.Decision
	case messages.CapsuleStopping:
		return "stopping: " + d.Cause
	case messages.CapsuleStopped:
		return "stopped: " + d.Cause
	case messages.EventsLost:
		return fmt.Sprintf("(%d events are no longer kept)", d.Count)
	case messages.EpochChanged:
		return "another journal begins"
	default:
		return e.Name()
	}
}
