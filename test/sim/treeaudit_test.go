package sim

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// treeAudit follows the events of a forest with a model of its own: which instance each
// place has, which are to be halted and started, and in which order.
//
// A death is followed by its decision: the groups that fail, innermost first; the restarts
// of the others that the strategy concerns; the restart of the dead itself. These events
// come from one goroutine. Those of instances (loading, ready, crashed) come from theirs,
// so that an event may be older than it seems: the checks allow for that by comparing when
// something was decided.
type treeAudit struct {
	f     *forest
	began time.Time

	mu        sync.Mutex
	last      uint64
	at        time.Time
	started   bool
	escalated bool
	ending    bool // the system stops
	byPath    map[string]*place
	groups    map[string]*treeGroup // by path; pools, too
	decisions int
	chain     []*treeGroup // that have failed in the current decision
	victims   []*place     // that are restarted by it
	orders    *treeGroup   // what an operator's command names that is under way; nil for none
	causeAt   int64        // in Unix nanoseconds, as dues
	causeOf   string
	dues      map[int64]bool // when backoffs end
	blurred   bool           // two causes came at one moment
	story     []string
	broken    []int // where in it
}

// place is that of one instance.
type place struct {
	c      *treeCapsule
	number int // in a pool; else 0
	path   string
	group  *treeGroup // a pool's own, or the one around the capsule

	since      time.Time // its start, or end, began then; zero if none is under way
	alive      bool      // an instance loads or serves
	generation uint64
	crashed    bool // it died, and what follows was not decided yet
	absorbable bool // its death may be absorbed by an operator's command, and not be decided on
	retiring   bool // its pool does not need it
	// doomed and pending are numbers of decisions: to halt its instance, and to start one.
	doomed, pending int
	forGood         bool // doomed, and not to be started again
	ended, stays    bool // it has no instance and gets none; only an operator starts it
	gone            bool // its pool has no such instance any more
	scope           *treeGroup
	notBefore       time.Time // the end of its backoff
	restarts        deaths

	refuses   bool      // calls may be refused
	refusedAt time.Time // the last moment at which they may have been
}

func (p *place) String() string { return p.path }

func newTreeAudit(f *forest) *treeAudit {
	a := &treeAudit{f: f, byPath: map[string]*place{}, groups: map[string]*treeGroup{}, dues: map[int64]bool{}, decisions: 1}
	for _, g := range f.groups {
		a.groups[g.path()] = g
	}
	for _, c := range f.capsules {
		if c.pool == nil {
			a.add(c, 0)
			continue
		}
		a.groups[c.pool.path()] = c.pool
		for n := range c.least {
			a.add(c, n+1)
		}
	}
	for _, p := range a.byPath {
		p.pending, p.refuses = 1, true
		for g := p.group; g != nil && g.parent != nil; g = g.parent {
			p.scope = g
		}
	}
	return a
}

// add enters the place of an instance.
func (a *treeAudit) add(c *treeCapsule, number int) *place {
	p := &place{c: c, number: number, group: c.parent}
	p.path = c.parent.path() + "/" + c.id
	if c.parent.parent == nil {
		p.path = "capsules/" + c.id
	}
	if number > 0 {
		p.group, p.path = c.pool, p.path+"#"+strconv.Itoa(number)
	}
	a.byPath[p.path] = p
	at, found := slices.BinarySearchFunc(c.all, number, func(p *place, n int) int { return p.number - n })
	if found {
		c.all[at] = p
	} else {
		c.all = slices.Insert(c.all, at, p)
	}
	return p
}

// fail reports a broken promise, at its place in the story.
func (a *treeAudit) fail(format string, args ...any) {
	if a.blurred {
		return
	}
	a.f.Errorf(format, args...)
	a.broken = append(a.broken, len(a.story))
	a.story = append(a.story, "BROKEN: "+fmt.Sprintf(format, args...))
}

// cause records that something happens by itself. If another thing does at the same moment,
// the model can't know which of the events that follow belongs to which: it gives up.
// Each clock has its own moments, but timers of the host may meet.
func (a *treeAudit) cause(of string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	a.at = time.Now()
	a.causeLocked(of)
}

func (a *treeAudit) causeLocked(of string) {
	now := a.at.UnixNano()
	if !a.ending && !a.blurred && (now == a.causeAt && of != a.causeOf || a.dues[now] && of != dueCause) {
		a.blurred = true
		a.f.tally.add("given up")
		a.story = append(a.story, "GIVEN UP: "+of+", "+a.causeOf)
	}
	a.causeAt, a.causeOf = now, of
}

// late: an instance is up, or has ended. It is a cause unless that took no time.
func (a *treeAudit) late(p *place) {
	if !p.since.IsZero() && p.since.Before(a.at) {
		a.causeLocked(p.c.id)
	}
	p.since = time.Time{}
}

// dueCause is the end of a backoff.
const dueCause = "due"

func (a *treeAudit) catchUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
}

func (a *treeAudit) catchUpLocked() {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	for e := range a.f.sys.Events(now, a.last) {
		if e.Sequence != a.last+1 {
			a.fail("event %d follows %d", e.Sequence, a.last)
		}
		a.last, a.at = e.Sequence, e.At
		a.story = append(a.story, fmt.Sprintf("%v %s %s", a.at.Sub(a.began), e.Path, supervisortest.Line(e)))
		a.enter(e)
	}
}

// isStarted reports whether all first starts have been decided.
func (a *treeAudit) isStarted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	return a.started
}

func (a *treeAudit) isEscalated() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	return a.escalated
}

// command records that an operator's command is under way, and returns what records its
// end. Budgets are given back at a moment in between.
func (a *treeAudit) command(do, name string) func(stopped bool) {
	target := a.f.group(name)
	if target == nil {
		target = a.f.capsule(name).alone()
	}
	begin := func(on *treeGroup) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.catchUpLocked()
		if a.at = time.Now(); on != nil {
			a.causeLocked("command")
			a.story = append(a.story, fmt.Sprintf("%v a command: %s %s", a.at.Sub(a.began), do, name))
		}
		a.orders = on
		target.budgets((*deaths).maybeRenewed)
		target.failures.maybeRenewed()
		target.places(func(p *place) { p.notBefore = time.Time{} })
	}
	begin(target)
	return func(stopped bool) {
		if begin(nil); stopped {
			a.commandStopped(target)
		}
	}
}

// commandStopped: an operator has stopped a group. Of those that waited for their start no
// event tells.
func (a *treeAudit) commandStopped(g *treeGroup) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g.places(func(p *place) {
		if !p.alive && p.pending > 0 {
			a.end(p)
			p.stays = true
		}
	})
}

// alone returns a capsule as a group.
func (c *treeCapsule) alone() *treeGroup {
	if c.pool != nil {
		return c.pool
	}
	return &treeGroup{parent: c.parent, members: []treeMember{c}}
}

func (a *treeAudit) enter(e supervisor.Event) {
	switch d := e.Detail.(type) {
	case messages.ActorRestarted: // the router hears that those between two instances do not serve
		for _, p := range a.byPath {
			p.refuses = p.refuses || p.pending > 0
			p.note(a.at)
		}
		return
	case messages.SystemStarted:
		a.started = true
		return
	case messages.SystemStopping:
		a.ending = true
		return
	case messages.SystemStopped:
		if left := d.LeftRunning; len(left) > 0 {
			a.fail("left running: %v", left)
		}
		return
	}
	if p := a.byPath[e.Path]; p != nil {
		p.note(a.at)
		a.enterPlace(p, e)
		p.note(a.at)
		return
	}
	g := a.groups[e.Path]
	switch d := e.Detail.(type) {
	case messages.PoolScaled:
		a.scaled(g, &d)
	case messages.SupervisorFailed:
		a.f.tally.add("supervisor failed")
		a.failed(g, d.Restarted)
	case messages.CapsuleFailed: // a pool
		a.f.tally.add("pool failed")
		a.failed(g, true) // what follows says more
	case messages.SupervisorStopped:
		a.stopped(g, &d)
	case messages.CapsuleStopped: // a pool without instances
	}
}

// note records whether calls may be refused now.
func (p *place) note(now time.Time) {
	if p.refuses || p.crashed {
		p.refusedAt = now
	}
}

func (a *treeAudit) enterPlace(p *place, e supervisor.Event) {
	switch d := e.Detail.(type) {
	case messages.CapsuleLoading:
		if a.dues[a.at.UnixNano()] {
			a.causeLocked(dueCause)
		}
		p.since = a.at
		a.loading(p, e.Generation)
	case messages.CapsuleReady:
		a.late(p)
		if !p.alive || p.generation != e.Generation {
			a.fail("%v is ready as generation %d, and has no such instance", p, e.Generation)
		}
		if p.doomed == 0 {
			p.pending, p.refuses, p.scope = 0, false, nil
		}
	case messages.CapsuleUpgraded: // a start of a capsule that waits for its backoff
		p.alive, p.generation, p.crashed, p.pending, p.refuses, p.ended, p.stays = true, e.Generation, false, 0, false, false, false
		p.notBefore, p.restarts = time.Time{}, deaths{}
	case messages.CapsuleCrashed:
		if p.doomed > 0 {
			a.late(p)
		} else {
			p.since = time.Time{}
			a.causeLocked(p.path)
		}
		if !p.alive || p.generation != e.Generation {
			a.fail("%v crashes as generation %d, and has no such instance", p, e.Generation)
		}
		p.alive = false
		if p.doomed > 0 { // what was decided goes on
			p.halted()
		} else {
			p.crashed = !p.ended
			p.absorbable = a.orders != nil && p.group.within(a.orders)
		}
	case messages.RestartScheduled:
		a.f.tally.add("restart after " + d.Cause)
		switch d.Cause {
		case messages.CauseStrategy:
			p.notBefore = time.Time{} // the decision has one for all
			a.victims = append(a.victims, p)
		case messages.CauseOperator:
			p.crashed, p.ended, p.stays, p.notBefore, p.restarts = false, false, false, time.Time{}, deaths{}
			p.pending, p.scope = a.decisions, nil
		default:
			a.restarted(p, &d)
		}
	case messages.CapsuleFailed:
		a.end(p)
		a.chain = nil
		p.stays = p.c.mode != supervisor.Temporary
		if p.stays && !a.f.stopping.Load() && p.c.parent.parent == nil && a.f.cfg.OnFailure == supervisor.Exit {
			a.escalated = true
		}
	case messages.CapsuleStopping:
		p.since = a.at
		if d.Cause == "idle" {
			a.causeLocked("idle " + p.c.id)
			p.retiring, p.forGood, p.doomed, p.pending, p.scope = true, true, a.decisions, 0, nil
		}
		a.halting(p, d.Cause)
	case messages.CapsuleStopped:
		a.late(p)
		switch {
		case strings.HasPrefix(d.Cause, "it ended by itself"):
			if p.c.mode == supervisor.Permanent {
				a.fail("%v has ended by itself, and is permanent", p)
			}
			a.end(p)
		case d.Cause == "stopped by an operator":
			a.end(p)
			p.stays = true
		case p.doomed > 0 || p.pending > 0:
			p.alive = false
			p.halted()
		default:
			p.alive = false
			a.end(p)
		}
	}
}

// halted: the instance that was to be halted is gone.
func (p *place) halted() {
	p.doomed, p.crashed = 0, false
	if p.forGood {
		p.ended, p.pending, p.scope, p.forGood = true, 0, nil, false
	}
}

// end: a place has no instance and gets none. If it is significant, its group stops.
func (a *treeAudit) end(p *place) {
	byItself := p.crashed
	p.alive, p.crashed, p.ended, p.forGood, p.refuses = false, false, true, false, true
	p.doomed, p.pending, p.scope = 0, 0, nil
	g := p.c.parent
	if !byItself || a.orders != nil || a.ending || !g.significant[p.c.id] {
		return
	}
	if g.auto == "any" || g.allSignificantEnd() {
		a.f.tally.add("auto_shutdown")
		g.places(func(other *place) {
			if !other.ends() {
				a.fail("%v has ended and is significant, and %v does not end", p, other)
			}
		})
	}
}

// ends reports whether a place has no future.
func (p *place) ends() bool { return p.ended || p.gone || p.doomed > 0 && p.forGood }

func (g *treeGroup) allSignificantEnd() bool {
	all := true
	for _, m := range g.members {
		if g.significant[m.called()] {
			m.places(func(p *place) { all = all && p.ends() })
		}
	}
	return all
}

// loading checks that an instance starts in its turn: those before it serve, and none that
// was to be halted lives.
func (a *treeAudit) loading(p *place, generation uint64) {
	switch {
	case p.alive:
		a.fail("%v loads generation %d, and generation %d lives", p, generation, p.generation)
	case p.crashed && !p.absorbable:
		a.fail("%v loads generation %d, and nobody has decided on its death", p, generation)
	case a.at.Before(p.notBefore):
		a.fail("%v loads %v before its backoff is over", p, p.notBefore.Sub(a.at))
	case p.ended && a.orders == nil && p.pending == 0 && !a.ending:
		a.fail("%v loads, and has ended", p)
	}
	if p.pending > 0 && p.scope != nil {
		before := true
		a.f.top.places(func(other *place) {
			before = before && other != p
			if !tiedPlaces(p, other) {
				return
			}
			if before && 0 < other.pending && other.pending <= p.pending && !other.ended && !other.crashed {
				a.fail("%v starts before %v serves", p, other)
			}
			if other.alive && 0 < other.doomed && other.doomed <= p.pending {
				a.fail("%v starts before %v is halted", p, other)
			}
		})
	}
	p.alive, p.generation, p.crashed, p.ended, p.stays, p.doomed = true, generation, false, false, false, 0
}

// halting checks that an instance is told to stop in its turn: none after it lives that is
// to be halted with it.
func (a *treeAudit) halting(p *place, cause string) {
	if cause == messages.CauseOperator { // it is stopped alone, out of its turn
		if p.doomed == 0 {
			p.doomed, p.scope = a.decisions, nil
		}
		p.pending, p.forGood, p.stays, p.refuses = 0, true, true, true
		return
	}
	if a.orders != nil && strings.Contains(cause, "an operator") && p.doomed == 0 {
		forGood := strings.Contains(cause, "stopped")
		a.decisions++
		a.orders.places(func(other *place) {
			other.doom(a.decisions, a.orders, forGood)
			other.stays = other.stays || forGood
		})
	}
	if p.doomed == 0 { // it is stopped alone
		p.forGood, p.refuses = true, true
		p.doomed, p.scope = a.decisions, nil
		return
	}
	p.refuses = p.refuses || p.forGood
	after := false
	a.f.top.places(func(other *place) {
		if after && tiedPlaces(p, other) && other.alive && other.doomed > 0 {
			a.fail("%v is halted before %v", p, other)
		}
		after = after || other == p
	})
}

// tiedPlaces reports whether two places belong to one sweep, and keep its order.
func tiedPlaces(a, b *place) bool {
	if a == b || a.scope == nil || b.scope == nil || a.number > 0 && a.group == b.group {
		return false
	}
	return a.group.within(b.scope) || b.group.within(a.scope)
}

// doom marks a place: its instance is to be halted, and it is to be started again unless it
// is halted for good.
func (p *place) doom(decision int, scope *treeGroup, forGood bool) {
	if p.gone || p.retiring {
		return
	}
	p.crashed = false // that death is absorbed
	if p.alive && p.doomed == 0 {
		p.doomed = decision
	}
	if forGood {
		p.pending, p.refuses = 0, true
		p.forGood = p.alive
		p.ended = !p.alive
		if p.ended {
			p.scope = nil
			return
		}
	} else {
		p.forGood, p.ended, p.stays = false, false, false
		if p.pending == 0 || p.alive {
			p.pending = decision
		}
	}
	if p.scope == nil || p.scope.within(scope) {
		p.scope = scope
	}
}

// stopped: a group stops, with all in it.
func (a *treeAudit) stopped(g *treeGroup, d *messages.SupervisorStopped) {
	byItself := strings.Contains(d.Cause, "auto_shutdown")
	if byItself && g.auto != "any" && g.auto != "all" {
		a.fail("%s stops: %s", g.name, d.Cause)
	}
	a.decisions++
	g.places(func(p *place) {
		if byItself && p.crashed { // it is the one whose end is decided, or is absorbed
			return
		}
		p.doom(a.decisions, g, true)
		p.stays = !byItself
		p.note(a.at)
	})
}

// scaled: an elastic pool has got, or lost, an instance.
func (a *treeAudit) scaled(g *treeGroup, d *messages.PoolScaled) {
	c := g.members[0].(*treeCapsule)
	a.f.tally.add("pool scaled: " + d.Cause)
	if int(d.Instances) > c.most {
		a.fail("%s has %d instances, at most %d", c.id, d.Instances, c.most)
	}
	switch {
	case d.Instance == 0:
	case d.Cause == "calls wait":
		p := a.add(c, int(d.Instance))
		p.refuses = true
	default:
		at := slices.IndexFunc(c.all, func(p *place) bool { return p.number == int(d.Instance) })
		if at < 0 || c.all[at].alive {
			a.fail("%s loses instance %d: %s", c.id, d.Instance, d.Cause)
			return
		}
		c.all[at].gone = true
		delete(a.byPath, c.all[at].path)
		c.all = slices.Delete(c.all, at, at+1)
	}
}

// mayRefuse checks that a call that was refused was for a capsule with a reason to, at some
// moment since the call began: it had ended, or waited for its backoff.
func (a *treeAudit) mayRefuse(c *treeCapsule, began time.Time, what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	if c.pool != nil || a.ending || a.f.stopping.Load() {
		return
	}
	for _, p := range c.all {
		p.note(time.Now())
		if p.refusedAt.Before(began) {
			a.fail("%s, and there was no reason to", what)
		}
	}
}

// compare compares the model with a snapshot, when nothing else runs.
func (a *treeAudit) compare(tree *supervisor.Tree) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	states := map[string]messages.CapsuleState{}
	for _, c := range tree.Capsules {
		if len(c.Instances) == 0 {
			states[c.Path] = c.State
		}
		for _, i := range c.Instances {
			states[i.Path] = i.State
		}
	}
	for path, p := range a.byPath {
		state, known := states[path]
		lives := state == messages.StateReady || state == messages.StateLoading && p.generation > 0
		if !known && p.alive || p.alive && !lives && state != messages.StateStopping || p.ended && state == messages.StateReady {
			a.fail("%s is %s; alive %v, ended %v", path, state.String(), p.alive, p.ended)
		}
	}
	for _, g := range tree.Supervisors {
		own := a.groups[g.Path]
		low, high := own.spent.within(own.window, time.Now())
		if n := int(g.BudgetSpent); n < low || n > high {
			a.fail("%s has spent %d of its budget, the model says %d to %d", g.Path, n, low, high)
		}
	}
}

// settled checks, when all is calm, that no place waits.
func (a *treeAudit) settled() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for path, p := range a.byPath {
		if p.crashed || p.doomed > 0 || p.pending > 0 || p.alive == p.ended {
			a.fail("all is calm, and %s is alive %v, ended %v, crashed %v, to halt %d, to start %d", path, p.alive, p.ended, p.crashed, p.doomed, p.pending)
		}
	}
}

// smallest checks that pools have no more instances than they keep.
func (a *treeAudit) smallest() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.f.capsules {
		if len(c.all) != max(1, c.least) && c.pool == nil || c.pool != nil && len(c.all) != c.least {
			a.fail("all is idle, and %s has %d instances, not %d", c.id, len(c.all), c.least)
		}
	}
}
