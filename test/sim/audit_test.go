package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// audit follows the events with its own model: which event may follow which, how much of
// its budget a capsule has spent, when a restart is due. Its methods may be called from
// any goroutine; those that return values read new events first.
type audit struct {
	w *world

	mu        sync.Mutex
	last      uint64 // the last event that was read
	at        time.Time
	began     time.Time
	started   bool
	startedAt uint64 // the event
	ended     bool
	muddled   bool // an operator has restarted a capsule in its first start
	capsules  map[string]*account
	sessions  map[string]*session
	all       []string // the sessions, in the order in which they began
	denials   []denial
	story     []string // the events as lines
}

// account is the state of one capsule that the events imply.
type account struct {
	*capsule
	gone       bool   // it was removed, or not added yet
	enteredAt  uint64 // the event with which it was added; 0 at the start
	base       uint64 // its last generation before that
	version    string
	versions   map[uint64]string // by generation
	state      messages.CapsuleState
	generation uint64
	session    string
	sequence   uint64
	upgrading  int               // operators' commands under way that make instances beside the current one
	instances  map[uint64]*guest // that were asked, by generation
	starts     int               // Loading events that must come, and have not yet
	failure    messages.Failure  // the last one
	readyAt    time.Time
	decided    bool
	restarts   uint64
	counting   []time.Duration // the spent restarts that count: the value of upSince when each was scheduled
	upSince    time.Duration   // its uptime before readySince
	readySince time.Time
	history    []stateAt
	settledAt  time.Time         // when its first start stopped delaying others
	settledBy  uint64            // the upgrade that did; else 0
	crashes    map[string]uint64 // by kind
	diedAt     time.Time
	// The version that it may be rolled back to; "" is none.
	previous      string
	rollbackUntil time.Time
	callsBefore   uint64            // its calls before it was added
	restartsBy    map[string]uint64 // the same for restarts, an operator's under "operator"

	// The restart or the end that is due.
	due    time.Time // the next load; zero if it can't be known
	cause  string    // of the next load
	stopAt time.Time // when a command or the end of the system began to end the instance; zero if none did

	// The state of its restart policy.
	up      time.Duration
	spent   []time.Duration
	attempt int
	uptime  time.Duration // the uptime of the last instance
}

func (a *account) String() string {
	return fmt.Sprintf("%s/%d %s", a.id, a.generation, a.state.String())
}

func (a *account) isDown() bool {
	return a.state == messages.StateStopped || a.state == messages.StateFailed
}

// stateAt is the state of a capsule after an event.
type stateAt struct {
	sequence uint64
	at       time.Time
	state    messages.CapsuleState
}

func newAudit(w *world) *audit {
	a := &audit{w: w, capsules: map[string]*account{}, sessions: map[string]*session{}}
	for _, c := range w.capsules {
		account := newAccount(c)
		account.gone, account.version = c.spare, "1.0.0"
		a.capsules[c.id] = account
	}
	return a
}

func newAccount(c *capsule) *account {
	return &account{
		capsule: c, state: messages.StateLoading, starts: 1, instances: map[uint64]*guest{}, versions: map[uint64]string{},
		crashes: map[string]uint64{}, restartsBy: map[string]uint64{},
	}
}

// catchUp reads all new events.
func (a *audit) catchUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
}

func (a *audit) catchUpLocked() {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	for e := range a.w.sys.Events(now, a.last) {
		if e.Sequence != a.last+1 {
			a.w.fail("event %d follows %d", e.Sequence, a.last)
		}
		if at := e.At; at.Before(a.at) {
			a.w.fail("event %d is older than the one before it", e.Sequence)
		}
		a.last, a.at = e.Sequence, e.At
		a.story = append(a.story, fmt.Sprintf("%v %s %s", a.at.Sub(a.began), e.Path, supervisortest.Line(e)))
		a.enter(e)
	}
}

func (a *audit) enter(e supervisor.Event) {
	if a.ended {
		a.w.fail("event %d after the end: %v", e.Sequence, e)
	}
	switch d := e.Detail.(type) {
	case messages.SystemStarted:
		a.started, a.startedAt = true, e.Sequence
		return
	case messages.SystemStopping:
		if !a.w.stopping.Load() {
			a.w.fail("it stops, and nobody has told it to")
		}
		return
	case messages.SystemStopped:
		a.ended = true
		if left := d.LeftRunning; len(left) > 0 {
			a.w.fail("left running: %v", left)
		}
		return
	case messages.ActorRestarted, messages.TriggerAnswered, messages.DeadLetter:
		return
	}
	id, _ := strings.CutPrefix(e.Path, "capsules/")
	c := a.capsules[id]
	if c == nil {
		a.w.fail("event %d is about nobody: %v", e.Sequence, e)
		return
	}
	switch d := e.Detail.(type) {
	case messages.CapsuleAdded:
		if !c.gone {
			a.w.fail("%v is added, and there already", c)
		}
		c = a.entered(c, e.Sequence)
		c.version = d.Version
	case messages.CapsuleRemoved:
		if c.gone || !c.isDown() {
			a.w.fail("%v is removed", c)
		}
		c.gone = true
		if !c.settled() {
			c.settledAt = a.at
		}
	default:
		if c.gone {
			a.w.fail("event %d is about %v, which is not there: %v", e.Sequence, c, e)
		}
	}
	c.sequence = e.Sequence
	defer func() {
		c.history = append(c.history, stateAt{e.Sequence, a.at, c.state})
		switch e.Detail.(type) {
		case messages.CapsuleReady, messages.CapsuleUpgraded, messages.ReadinessTimedOut, messages.CapsuleCrashed,
			messages.CapsuleFailed, messages.CapsuleStopped:
			if !c.settled() {
				c.settledAt = a.at
				if _, ok := e.Detail.(messages.CapsuleUpgraded); ok {
					c.settledBy = e.Generation
				}
			}
		case messages.CapsuleStarting:
			if c.settledBy == e.Generation { // it took over, and is not ready
				c.settledAt, c.settledBy = time.Time{}, 0
			}
		}
	}()
	a.w.tally.add("event " + e.Name())
	if problem := a.capsuleEvent(c, e); problem != "" {
		a.w.fail("%s after %v: %s", supervisortest.Line(e), c, problem)
	}
}

// capsuleEvent enters one event of a capsule, and returns its problem, or "".
func (a *audit) capsuleEvent(c *account, e supervisor.Event) string {
	const (
		loading  = messages.StateLoading
		starting = messages.StateStarting
		ready    = messages.StateReady
		crashed  = messages.StateCrashed
		failed   = messages.StateFailed
		stopping = messages.StateStopping
		stopped  = messages.StateStopped
	)
	was := c.state
	at := e.At
	in := func(states ...messages.CapsuleState) bool { return slices.Contains(states, was) }
	problem := ""
	check := func(ok bool, format string, args ...any) {
		if !ok && problem == "" {
			problem = fmt.Sprintf(format, args...)
		}
	}
	scheduled, isRestart := e.Detail.(messages.RestartScheduled)
	late := isRestart && scheduled.Cause == messages.CauseOperator && e.Generation+1 == c.generation // it was on its way already
	if e.Name() != "capsule_added" && e.Name() != "capsule_loading" && e.Name() != "capsule_upgraded" && !late {
		check(e.Generation == c.generation, "it is about generation %d", e.Generation)
	}
	switch d := e.Detail.(type) {
	case messages.CapsuleAdded, messages.CapsuleRemoved:
	case messages.CapsuleLoading:
		check(e.Generation > c.generation, "generation %d follows %d", e.Generation, c.generation) // between them: those of upgrades that failed
		check(c.starts > 0, "nobody has decided that")
		slack := time.Duration(0)
		if c.failure.Kind == "panic" { // then the instance is closed only now, which takes a while
			slack = slowClose
			if c.loop { // it may have to end a trigger first
				slack += nestedInline
			}
		}
		if late := at.Sub(c.due); !c.due.IsZero() && (late < 0 || late > slack) {
			check(false, "it was due %v ago", late)
		}
		check(c.cause != "" || a.mayStart(c), "it waits for others") // unless an operator starts it
		a.interruptedBy(c, at, check)
		a.close(c)
		c.starts, c.due = 0, time.Time{}
		c.state, c.generation = loading, e.Generation
		if d.Version != c.version { // it was given another one while it did not run
			check(c.life.version(d.Version) != nil, "there is no version %s", d.Version)
			c.previous = ""
		}
		c.becomes(d.Version)
	case messages.CapsuleStarting:
		tookOver := in(ready) && d.Session == c.session // without having signalled
		check((in(loading) || tookOver) && c.loop, "a capsule that is no loop, or does not load")
		if !tookOver {
			a.open(c, d.Session)
		}
		c.state = starting
	case messages.CapsuleReady:
		s := d.Session
		if c.loop {
			check(in(starting) && s == c.session, "a loop that does not start, or has another session")
		} else {
			check(in(loading), "it does not load")
			a.open(c, s)
		}
		c.state, c.readyAt, c.decided = ready, at, true
	case messages.CapsuleUpgraded:
		check(e.Generation > c.generation, "generation %d follows %d", e.Generation, c.generation)
		check(in(loading, starting, ready) || in(crashed, stopped, failed) && c.starts > 0, "it does not run, and nobody has started it")
		if in(loading, starting, ready) {
			c.restartsBy["operator"]++
		}
		a.interruptedBy(c, at, check)
		if s := a.sessions[c.session]; s != nil {
			s.ending(at.Add(-slowClose)) // the old instance is closed before the event
		}
		a.close(c)
		a.open(c, d.Session)
		c.spent, c.attempt, c.counting = nil, 0, nil
		c.state, c.generation, c.starts, c.due, c.cause = ready, e.Generation, 0, time.Time{}, messages.CauseOperator
		c.readyAt, c.decided = at, true
		c.upgraded(d, at, check)
	case messages.CapsuleRolledBack:
		c.rolledBack(d, check)
	case messages.UpgradeFailed:
		check(in(loading, starting, ready, crashed, failed, stopped), "there is nothing to upgrade") // it may have ended by itself meanwhile
	case messages.ReadinessTimedOut:
		check(in(starting), "it does not start")
		c.decided = true
	case messages.CapsuleCrashed:
		check(in(loading, starting, ready, stopping), "it does not live")
		a.close(c)
		c.failure = d.Failure
		c.crashes[c.failure.Kind]++
		c.uptime = 0
		if !c.readyAt.IsZero() {
			c.uptime = at.Sub(c.readyAt)
		}
		c.state, c.readyAt, c.diedAt = crashed, time.Time{}, at
	case messages.RestartScheduled:
		s := d
		c.cause = s.Cause
		a.w.tally.add("restart after " + s.Cause)
		if c.cause == messages.CauseOperator {
			c.spent, c.attempt, c.due = nil, 0, time.Time{}
			c.readyAt = time.Time{}
			check(s.Delay == 0 && s.BudgetSpent == 0, "an operator's restart waits, or costs")
			check(!in(stopping), "it is stopping")
			if s := a.sessions[c.session]; s != nil {
				s.ending(at)
			}
			if !late {
				c.starts, c.stopAt = 1, at
			}
			c.restartsBy["operator"]++
			// The supervisor may not have processed its first instance yet, and waits
			// for the next.
			a.muddled = a.muddled || !c.settled() || at.Sub(c.settledAt) <= slowClose
		} else {
			check(in(crashed), "it has not crashed")
			check(!c.mustRollBack(s.Cause), "it should be rolled back to %s", c.previous)
			c.restarts++
			c.starts++
			c.restartsBy[c.failure.Kind]++
			c.due = at.Add(s.Delay)
			a.checkRestart(c, s, check)
		}
		if c.cause == messages.CauseCrash {
			c.counting = append(c.counting, c.upSince)
		}
		for len(c.counting) > 0 && (c.cause == messages.CauseOperator || c.upSince-c.counting[0] >= c.policy.Window) {
			c.counting = c.counting[1:]
		}
		check(len(c.counting) == int(s.BudgetSpent), "%d restarts count, %d are spent", len(c.counting), s.BudgetSpent)
	case messages.CapsuleFailed:
		check(in(crashed), "it has not crashed")
		check(c.starts == 0, "a restart was scheduled")
		check(!c.mustRollBack(messages.CauseCrash), "it should be rolled back to %s", c.previous)
		restart, _ := a.verdict(c, true)
		check(c.permanent() || (!restart && !(c.ownEnd() && c.policy.Mode != supervisor.Permanent)), "the policy would restart it: %d spent of %d", len(c.spent), c.policy.Budget)
		c.state, c.decided = failed, true
	case messages.CapsuleStopping:
		check(!in(failed, stopped, stopping), "it does not live")
		c.state, c.starts, c.due, c.stopAt = stopping, 0, time.Time{}, at
		if s := a.sessions[c.session]; s != nil {
			s.ending(at)
		}
	case messages.CapsuleStopped:
		switch {
		case in(crashed) && strings.HasPrefix(d.Cause, "it ended by itself"):
			check(c.ownEnd() && c.policy.Mode != supervisor.Permanent, "it did not end by itself")
		case in(loading) && c.generation == c.base: // it has never started
		case in(stopping), in(crashed):
		default:
			check(false, "it is not stopping")
		}
		a.interruptedBy(c, at, check)
		a.close(c)
		c.state, c.readyAt, c.starts, c.due, c.decided = stopped, time.Time{}, 0, time.Time{}, true
	default:
		check(false, "unknown")
	}
	switch {
	case was != ready && c.state == ready:
		c.readySince = at
	case was == ready && c.state != ready:
		c.upSince += at.Sub(c.readySince)
	}
	return problem
}

// spentNow returns how many of the spent restarts count now.
func (a *account) spentNow() (n uint32) {
	up := a.upSince
	if a.state == messages.StateReady {
		up += time.Since(a.readySince)
	}
	for _, at := range a.counting {
		if up-at < a.policy.Window {
			n++
		}
	}
	return n
}
