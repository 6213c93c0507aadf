package supervisortest

import (
	"context"
	"fmt"
	"strings"

	"github.com/astrid-actors/astrid-actors/messages"
)

// Await waits for an event, or finds it among those that are kept since New, and
// returns it. Match must not call the System.
func (s *System) Await(what string, match func(*messages.Event) bool) *messages.Event {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), s.patience())
	defer cancel()
	for e := range s.Events(ctx, 0) {
		if match(e) {
			return e
		}
	}
	s.tb.Fatalf("no event %q %s; what happened instead:%s", what, s.waited(ctx), s.latest(""))
	return nil
}

// AwaitState waits until a capsule is in a state, and returns it as a snapshot
// shows it. A state that passes quickly can be missed: await its event instead.
func (s *System) AwaitState(capsule string, state messages.CapsuleState) *messages.Capsule {
	s.tb.Helper()
	return s.awaitCapsule(capsule, state.Word(), func(c *messages.Capsule) bool { return c.GetState() == state })
}

// AwaitReady waits until a capsule is Ready in at least that generation, and
// returns it as a snapshot shows it. Generations count its loads, from 1.
func (s *System) AwaitReady(capsule string, generation uint64) *messages.Capsule {
	s.tb.Helper()
	return s.awaitCapsule(capsule, fmt.Sprintf("ready in generation %d", generation), func(c *messages.Capsule) bool {
		return c.GetState() == messages.CapsuleState_CAPSULE_STATE_READY && c.GetGeneration() >= generation
	})
}

func (s *System) awaitCapsule(id, what string, match func(*messages.Capsule) bool) *messages.Capsule {
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
		for range s.Events(ctx, tree.GetSequence()) {
			changed = true
			break
		}
		if !changed {
			s.tb.Fatalf("capsule %q is %s, and not %s %s; what happened to it:%s", id, describe(c), what, s.waited(ctx), s.latest(id))
			return nil
		}
	}
}

// waited says why nothing more is awaited.
func (s *System) waited(ctx context.Context) string {
	if ctx.Err() == nil {
		return "when Serve returned"
	}
	return fmt.Sprintf("after %v", s.patience())
}

// Capsule is a capsule as a snapshot shows it now.
func (s *System) Capsule(id string) *messages.Capsule {
	s.tb.Helper()
	s.watched("Capsule", id)
	return find(s.Snapshot(), id)
}

func find(tree *messages.Tree, id string) *messages.Capsule {
	for _, c := range tree.GetCapsules() {
		if c.GetId() == id {
			return c
		}
	}
	return nil
}

// describe shows a capsule's state.
func describe(c *messages.Capsule) string {
	text := fmt.Sprintf("%s in generation %d", c.GetState().Word(), c.GetGeneration())
	if c.GetReason() != "" {
		text += fmt.Sprintf(" (%s)", c.GetReason())
	}
	return text
}

// states shows every capsule's state, a line each.
func (s *System) states() string {
	var b strings.Builder
	for _, c := range s.Snapshot().GetCapsules() {
		fmt.Fprintf(&b, "\n\t%s %s", c.GetId(), describe(c))
	}
	return b.String()
}

// latest shows the last events, of one capsule or of all, a line each.
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

// Timeline is what has happened to a capsule so far, as far back as events are
// kept, a line for each event and without times:
//
//	loading 1
//	ready 1
//	crashed 1 in call: trap
//	restart 1/5 after crash
//	loading 2
//	ready 2
//
// The numbers are generations; of a restart, what is spent of the budget. Samples of
// what it does, as answered triggers, are left out.
func (s *System) Timeline(capsule string) []string {
	s.tb.Helper()
	s.watched("Timeline", capsule)
	return s.timeline(capsule)
}

func (s *System) timeline(capsule string) []string {
	lines := []string{}
	last := s.Snapshot().GetSequence()
	if last == 0 {
		return lines
	}
	for e := range s.Events(context.Background(), 0) {
		switch path := "capsules/" + capsule; {
		case e.GetTriggerAnswered() != nil || e.GetLogSuppressed() != nil:
			// A sample of what it does, and no step of its life.
		case capsule == "":
			lines = append(lines, strings.TrimSpace(e.GetPath()+" "+Line(e)))
		case e.GetPath() == path:
			lines = append(lines, Line(e))
		}
		if e.GetSequence() >= last {
			break
		}
	}
	return lines
}

// Line shows an event as Timeline does.
func Line(e *messages.Event) string {
	switch what := e.GetWhat().(type) {
	case *messages.Event_SystemStarted:
		return "started"
	case *messages.Event_SystemStopping:
		return "stopping: " + what.SystemStopping.GetCause()
	case *messages.Event_SystemStopped:
		return "stopped"
	case *messages.Event_ActorRestarted:
		return "restarted: " + what.ActorRestarted.GetCause()
	case *messages.Event_CapsuleRejected:
		return "rejected: " + what.CapsuleRejected.GetProblem()
	case *messages.Event_TriggerAnswered:
		return "answered " + what.TriggerAnswered.GetTopic()
	case *messages.Event_LogSuppressed:
		return fmt.Sprintf("suppressed %d lines", what.LogSuppressed.GetLines())
	case *messages.Event_CapsuleLoading:
		return fmt.Sprintf("loading %d", e.GetGeneration())
	case *messages.Event_CapsuleStarting:
		return fmt.Sprintf("starting %d", e.GetGeneration())
	case *messages.Event_CapsuleReady:
		return fmt.Sprintf("ready %d", e.GetGeneration())
	case *messages.Event_ReadinessTimedOut:
		return fmt.Sprintf("not ready in time %d", e.GetGeneration())
	case *messages.Event_CapsuleCrashed:
		c := what.CapsuleCrashed
		return fmt.Sprintf("crashed %d in %s: %s", e.GetGeneration(), c.GetDuring(), c.GetFailure().GetKind())
	case *messages.Event_RestartScheduled:
		r := what.RestartScheduled
		return fmt.Sprintf("restart %d/%d after %s", r.GetBudgetSpent(), r.GetBudget(), r.GetCause())
	case *messages.Event_CapsuleFailed:
		return "failed: " + what.CapsuleFailed.GetDecision()
	case *messages.Event_CapsuleStopping:
		return "stopping: " + what.CapsuleStopping.GetCause()
	case *messages.Event_CapsuleStopped:
		return "stopped: " + what.CapsuleStopped.GetCause()
	case *messages.Event_EventsLost:
		return fmt.Sprintf("(%d events are no longer kept)", what.EventsLost.GetCount())
	default:
		return fmt.Sprintf("%T", what)
	}
}
