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
			rank: 0, Path: r.Directory, Trouble: "rejected", Grade: "bad", Since: f.tree.Started,
			Cause: r.Problem, Decision: "it is not started", Next: "Nothing: mend its manifest, and start the daemon again.",
		})
	}
	slices.SortStableFunc(found, func(a, b *attention) int { return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.Path, b.Path)) })
	return found
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
		if c.LastFailure != nil && c.LastFailure.Kind == "bad_manifest" {
			a.Next = "Nothing: mend its manifest, and start the daemon again."
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
