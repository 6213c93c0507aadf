package web

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// Short names of the states.
const (
	loading  = messages.StateLoading
	starting = messages.StateStarting
	ready    = messages.StateReady
	crashed  = messages.StateCrashed
	failed   = messages.StateFailed
	stopping = messages.StateStopping
	stopped  = messages.StateStopped
)

// Limits beyond which a capsule that serves has a trouble.
const (
	longCall    = 10 * time.Second // after which a guest may be stuck
	nearlyFull  = 0.8              // of a queue
	nearlyOut   = 0.9              // of a memory limit
	loopingFrom = 2                // restarts in a window

	ourFaultShown = 10 * time.Minute // how long the failure of one of the system's own actors is shown
)

// attention describes a trouble, nearly always of a capsule: its cause, the decision,
// and the next step.
type attention struct {
	rank int // lower is worse
	// Capsule is nil if the trouble is not of a capsule; Path then names the source.
	Capsule *messages.Capsule
	Path    string
	// Group is the one that it is about, nil for none.
	Group *messages.Supervisor
	// Rejected is true for a directory that can't become a capsule.
	Rejected bool
	// Trouble is a short name: "crash loop", or the state if that is clear enough.
	Trouble string
	// Grade is "bad" or "warn".
	Grade string
	// Cause, Decision and Next are sentences. Part of Cause comes from the guest.
	Cause, Decision, Next string
	// Due is the time of Next; zero if there is none.
	Due time.Time
	// Since is the time when it began.
	Since time.Time
}

// attentionLocked returns all troubles, the worst first.
func (w *watch) attentionLocked(f *frame) []*attention {
	var found []*attention
	for _, c := range f.tree.Capsules {
		if calm(c, f.now) {
			continue
		}
		if a := diagnose(c, w.factLocked(c), f.tree.Settings, f.now); a != nil {
			a.Capsule, a.Path, a.Since = c, c.Path, c.Since
			f.trouble[c.ID] = a
			found = append(found, a)
		}
	}
	for path, failure := range w.ours {
		if f.now.Sub(failure.at) < ourFaultShown {
			found = append(found, &attention{
				rank: 1, Path: path, Trouble: "actor failed", Grade: "warn", Since: failure.at,
				Cause: failure.Cause, Decision: failure.Decision,
				Next: "Nothing: it works again. This is a fault of ours, not of a capsule: please report it.",
			})
		}
	}
	for _, r := range f.tree.Rejected {
		found = append(found, &attention{
			rank: 0, Path: r.Directory, Trouble: "rejected", Grade: "bad", Since: f.tree.Started, Rejected: true,
			Cause: r.Problem, Decision: "it is not started", Next: nextRejected,
		})
	}
	for _, g := range f.tree.Supervisors {
		if a := diagnoseGroup(g); a != nil {
			found = append(found, a)
		}
	}
	for id, a := range w.upgrades {
		if c := f.byID[id]; c != nil && f.trouble[id] == nil {
			a.Capsule = c
			f.trouble[id] = &a
			found = append(found, &a)
		}
	}
	slices.SortStableFunc(found, func(a, b *attention) int { return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.Path, b.Path)) })
	return found
}

// nextRejected is what follows for a directory that can't become a capsule.
const nextRejected = "Nothing: mend it, and reload."

// rejected reports whether a capsule is only listed, because its manifest was rejected.
func rejected(c *messages.Capsule) bool {
	return c.State == failed && c.LastFailure != nil && c.LastFailure.Kind == "bad_manifest"
}

// diagnoseGroup describes the trouble of a group; nil if it has none.
func diagnoseGroup(g *messages.Supervisor) *attention {
	a := &attention{Group: g, Path: g.Path, Since: g.Since, Trouble: g.State, Grade: "bad", Cause: g.Reason}
	switch g.State {
	case messages.SupervisorHasFailed:
		a.Decision, a.Next = "give up: its capsules are stopped", "Nothing: it stays down until it is started."
	case messages.SupervisorRestarting:
		a.rank, a.Grade = 1, "warn"
		a.Decision, a.Next = "its supervisor restarts it", "Its capsules start in order."
	default:
		if g.Budget == 0 || g.BudgetSpent < g.Budget {
			return nil
		}
		a.rank, a.Grade, a.Trouble = 2, "warn", "budget spent"
		a.Cause = fmt.Sprintf("%d of %d deaths in %s", g.BudgetSpent, g.Budget, age(g.Window))
		a.Decision, a.Next = "none yet", "The next death fails the group, which is a death for the supervisor around it."
	}
	return a
}

// calm reports, by a cheap check, that a capsule can have no trouble. It holds for
// nearly all of them.
func calm(c *messages.Capsule, now time.Time) bool {
	switch c.State {
	case ready, stopped:
		return c.Busy == 0 && c.Queue == 0 && c.MemoryBytes < c.MemoryLimitBytes/2 && !looping(c, now)
	}
	return false
}

// looping reports whether a capsule was restarted more than once within its
// window, and died last within it.
func looping(c *messages.Capsule, now time.Time) bool {
	return c.BudgetSpent >= loopingFrom && c.LastFailure != nil &&
		now.Sub(c.LastFailure.At) < c.Window
}

// diagnose describes the trouble of a capsule; nil if it has none.
func diagnose(c *messages.Capsule, of *facts, s messages.Settings, now time.Time) *attention {
	since := now.Sub(c.Since)
	budget := fmt.Sprintf("%d of %d restarts in %s spent", c.BudgetSpent, c.Budget, age(c.Window))
	switch c.State {
	case failed:
		a := &attention{
			rank: 0, Trouble: "failed", Grade: "bad", Cause: lastCause(c), Decision: "give up: " + cmp.Or(c.Reason, "no restart is left"),
			Next: "Nothing: it stays down until it is started.",
		}
		if rejected(c) {
			a.Trouble, a.Decision, a.Next = "rejected", "it is not started", nextRejected
		}
		return a
	case crashed:
		return &attention{
			rank: 1, Trouble: "crashed", Grade: "bad", Cause: lastCause(c),
			Decision: fmt.Sprintf("restart it; %s", budget),
			Next:     fmt.Sprintf("Generation %d starts", c.Generation+1), Due: c.RestartAt,
		}
	case loading, ready:
		if looping(c, now) {
			a := &attention{
				rank: 2, Trouble: "crash loop", Grade: "warn", Cause: lastCause(c),
				Decision: fmt.Sprintf("restarted each time; %s", budget),
				Next:     "After the next crash it is restarted, later each time.",
			}
			if c.BudgetSpent >= c.Budget {
				a.Grade, a.Next = "bad", "The next crash is the last: then it is failed."
			}
			return a
		}
	case starting:
		limit := s.ReadyTimeout
		if since > limit {
			return &attention{
				rank: 3, Trouble: "not ready", Grade: "warn",
				Cause:    fmt.Sprintf("Its run loop has not signalled; others have waited %s for it", duration(limit)),
				Decision: "the others start without it",
				Next:     "It is ready as soon as it signals, however late; until then no trigger reaches it.",
			}
		}
	case stopping:
		if since > of.stop && of.stop > 0 {
			return &attention{
				rank: 3, Trouble: "stopping", Grade: "warn", Cause: fmt.Sprintf("It has not ended in %s", duration(of.stop)),
				Decision: "its running call was interrupted", Next: "It is stopped when its guest returns.",
			}
		}
	}
	return strained(c, of, s)
}

// strained describes the trouble of a capsule that serves.
func strained(c *messages.Capsule, of *facts, s messages.Settings) *attention {
	busy, queue := c.Busy, c.Queue
	limit := cmp.Or(of.queue, s.Queue)
	ends := "Nothing ends it: it has no limit."
	if of.call > 0 {
		ends = fmt.Sprintf("The call is ended with its trigger's deadline, or as a crash after %s.", age(of.call))
	}
	switch {
	case limit > 0 && float64(queue) >= nearlyFull*float64(limit):
		a := &attention{
			rank: 2, Trouble: "queue full", Grade: "bad",
			Cause:    fmt.Sprintf("%d of %d calls wait", queue, limit),
			Decision: "further calls are answered “overloaded” at once", Next: ends,
		}
		if queue < limit {
			a.Trouble, a.Grade = "queue filling", "warn"
		}
		if busy > 0 {
			a.Cause += fmt.Sprintf(", behind one that has run for %s", age(busy))
		}
		return a
	case busy >= longCall:
		return &attention{
			rank: 3, Trouble: "long call", Grade: "warn", Cause: fmt.Sprintf("One call has run for %s; %s behind it", age(busy), waits(queue)),
			Decision: "none yet", Next: ends,
		}
	case c.MemoryLimitBytes > 0 && float64(c.MemoryBytes) >= nearlyOut*float64(c.MemoryLimitBytes):
		return &attention{
			rank: 4, Trouble: "memory", Grade: "warn",
			Cause:    fmt.Sprintf("Its memory uses %s of %s", size(c.MemoryBytes), size(c.MemoryLimitBytes)),
			Decision: "none yet", Next: "An allocation beyond the limit is a crash.",
		}
	}
	return nil
}

func waits(n uint32) string {
	switch n {
	case 0:
		return "none waits"
	case 1:
		return "1 waits"
	default:
		return fmt.Sprintf("%d wait", n)
	}
}

// lastCause describes a capsule's last failure in one line.
func lastCause(c *messages.Capsule) string {
	f := c.LastFailure
	switch {
	case f == nil:
		return ""
	case f.Kind == "" || strings.HasPrefix(f.Message, f.Kind):
		return f.Message
	}
	return f.Kind + ": " + f.Message
}
