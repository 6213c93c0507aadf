package journal

import (
	"path"
	"slices"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// group is a group of capsules, as its events imply it.
type group struct {
	shown  *messages.Supervisor // never handed out: snapshots copy it
	spent  []time.Time          // the deaths that count against its budget
	parent *group               // nil if it is in no other
}

// EnterGroup adds a group, before those in it and before its first event.
func (j *Journal) EnterGroup(s *messages.Supervisor) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s.State = messages.SupervisorStarting
	g := &group{shown: s, parent: j.groups[path.Dir(s.Path)]}
	j.groups[s.Path] = g
	j.groupOrder = append(j.groupOrder, g)
}

// begin begins one Serve.
func (g *group) begin(now time.Time) {
	g.spent = nil
	g.move(messages.SupervisorStarting, "", now)
}

func (g *group) move(state, reason string, now time.Time) {
	g.shown.State, g.shown.Reason, g.shown.Since = state, reason, now
}

// apply updates a group by an event of its own.
func (g *group) apply(e *messages.Event, now time.Time) {
	switch d := e.Detail.(type) {
	case messages.SupervisorStarted:
		g.move(messages.SupervisorRunning, "", now)
	case messages.SupervisorStopped:
		if d.Cause == messages.CauseOperator {
			g.spent = nil
		}
		g.move(messages.SupervisorHasStopped, d.Cause, now)
	case messages.SupervisorFailed:
		g.spent = nil // it is made anew
		state := messages.SupervisorHasFailed
		if d.Restarted {
			g.shown.Restarts++
			state = messages.SupervisorRestarting
		}
		g.move(state, d.Cause+": "+d.CausePath+" was the last to die", now)
		if g.parent != nil {
			g.parent.spent = append(g.parent.spent, now)
		}
	}
}

// countDeathLocked counts a capsule's death for its group, unless the group fails of it. The
// groups between a capsule and the one that restarts it are made anew, with full budgets.
func (j *Journal) countDeathLocked(e *messages.Event, now time.Time) {
	d, ok := e.Detail.(messages.RestartScheduled)
	if !ok || d.Supervisor == "" {
		return
	}
	around := path.Dir(e.Path)
	for ; around != d.Supervisor && j.groups[around] != nil; around = path.Dir(around) {
		j.groups[around].spent = nil
	}
	if g := j.groups[d.Supervisor]; g != nil && d.Cause == messages.CauseCrash && d.Supervisor == path.Dir(e.Path) {
		g.spent = append(g.spent, now)
	}
}

// copy returns a deep copy for a snapshot.
func (g *group) copy(now time.Time) *messages.Supervisor {
	g.spent = slices.DeleteFunc(g.spent, func(at time.Time) bool { return now.Sub(at) >= g.shown.Window })
	out := *g.shown
	out.Children, out.Significant = slices.Clone(out.Children), slices.Clone(out.Significant)
	out.BudgetSpent = uint32(len(g.spent)) //nolint:gosec // a count
	return &out
}
