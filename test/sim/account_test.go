package sim

import (
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// mayStart reports whether the first starts that a capsule waits for have ended.
func (a *audit) mayStart(c *account) bool {
	for n, other := range a.w.capsules {
		on := a.capsules[other.id]
		if on.gone || on.enteredAt > c.enteredAt {
			continue
		}
		if (slices.Contains(c.imports, n) || (other.uplink && !c.uplink)) && !on.settled() {
			return false
		}
	}
	return true
}

// settled reports whether the first start delays no other any more.
func (a *account) settled() bool { return !a.settledAt.IsZero() }

// checkStarts checks, when nothing else runs, that no capsule waits without need.
func (a *audit) checkStarts() {
	a.mu.Lock()
	defer a.mu.Unlock()
	places, waiting, all := 2*runtime.GOMAXPROCS(0), 0, true
	for _, c := range a.capsules {
		switch {
		case c.gone:
			continue
		case c.settled():
			if time.Since(c.settledAt) <= slowClose {
				return // it may still be closing, before its supervisor knows
			}
			continue
		case len(c.history) > 0:
			if time.Since(c.history[0].at) <= a.w.cfg.ReadyTimeout { // later its start slot is free again
				places--
			}
			if at := c.history[len(c.history)-1]; c.state == messages.StateStarting && c.starts == 0 && time.Since(at.at) > a.w.cfg.ReadyTimeout {
				a.w.fail("%v has been so for %v, and nobody said that it is not ready in time", c, time.Since(at.at))
			}
		case a.mayStart(c):
			waiting++
		}
		all = all && a.started && c.enteredAt > a.startedAt
	}
	if a.w.stopping.Load() || a.muddled {
		return
	}
	if places > 0 && waiting > 0 {
		a.w.fail("%d capsules could start, there are %d places, and they do not", waiting, places)
	}
	if all != a.started {
		a.w.fail("all first starts are settled: %v; the event says %v", all, a.started)
	}
}

// interruptedBy checks that an instance that had to end has ended within its stop
// timeout. Some guests ignore it for 300 ms, and need 20 ms to close. A guest that
// waits for calls on its own goroutine, each within another, allows some time to each.
func (a *audit) interruptedBy(c *account, at time.Time, check func(bool, string, ...any)) {
	if took := at.Sub(c.stopAt); !c.stopAt.IsZero() && took > c.stopTimeout+320*ms+nestedInline {
		check(false, "it has taken %v to end, with a stop time-out of %v", took, c.stopTimeout)
	}
	c.stopAt = time.Time{}
}

// permanent reports whether no restart can fix the last failure.
func (a *account) permanent() bool { return a.failure.Kind == "link" }

// ownEnd reports whether the capsule ended by itself without an error.
func (a *account) ownEnd() bool {
	f := a.failure
	return f.Kind == "exit" && (strings.Contains(f.Message, "ended by itself") || f.Message == "exit: exit 0")
}

// checkRestart checks a restart after a death against the policy.
func (a *audit) checkRestart(c *account, s messages.RestartScheduled, check func(bool, string, ...any)) {
	check(!c.permanent() || s.Cause == messages.CauseRollback, "it can't load: %s", c.failure.Message)
	blameless := s.Cause == messages.CauseDeadline || s.Cause == messages.CauseAbandoned || s.Cause == messages.CauseRollback
	for cause, message := range map[string]string{
		messages.CauseDeadline: "the trigger's deadline passed", messages.CauseAbandoned: "its caller has given up",
	} {
		check((s.Cause == cause) == strings.HasSuffix(c.failure.Message, message), "the cause is not why it died: %s", c.failure.Message)
	}
	if blameless {
		a.verdict(c, true)
		check(s.Delay == 0, "it waits, and is not to blame")
		return
	}
	restart, delay := a.verdict(c, false)
	check(restart && !(c.ownEnd() && c.policy.Mode == supervisor.Transient), "the policy does not restart it: %d spent of %d, %s", len(c.spent), c.policy.Budget, c.policy.Mode)
	check(int(s.BudgetSpent) == len(c.spent) && int(s.Budget) == c.policy.Budget, "spent %d of %d, the model says %d of %d",
		s.BudgetSpent, s.Budget, len(c.spent), c.policy.Budget)
	check(int(s.Attempt) == c.attempt, "attempt %d, the model says %d", s.Attempt, c.attempt)
	got := s.Delay
	check(got <= delay && got >= delay-delay/5, "the delay is %v, the model says %v less a fifth at most", got, delay)
}

// verdict accounts for a death, and returns whether a restart is left, and its longest
// delay. It spends the restart unless look is set.
func (a *audit) verdict(c *account, look bool) (restart bool, delay time.Duration) {
	c.up += c.uptime
	if c.uptime >= c.policy.Window {
		c.attempt = 0
	}
	c.uptime = 0
	c.spent = slices.DeleteFunc(c.spent, func(at time.Duration) bool { return c.up-at >= c.policy.Window })
	if c.policy.Mode == supervisor.Temporary || len(c.spent) >= c.policy.Budget {
		return false, 0
	}
	if look {
		return true, 0
	}
	c.spent = append(c.spent, c.up)
	c.attempt++
	steps := c.attempt - 2
	if a.w.cfg.Restart.EagerBackoff {
		steps++
	}
	if steps < 0 {
		return true, 0
	}
	delay = c.policy.InitialBackoff
	for range steps {
		delay = min(2*delay, c.policy.MaxBackoff)
	}
	return true, delay
}
