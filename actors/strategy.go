package actors

import (
	"fmt"
	"slices"
	"time"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
)

// Strategy says which of its children a supervisor restarts when one dies: OTP's words.
type Strategy string

// The strategies.
const (
	OneForOne  Strategy = "one_for_one"  // that child
	OneForAll  Strategy = "one_for_all"  // all children
	RestForOne Strategy = "rest_for_one" // that child and those after it, in start order
)

// AutoShutdown says when a supervisor stops because significant children have ended by
// themselves, and are not restarted.
type AutoShutdown string

// The settings of automatic shutdown.
const (
	ShutdownNever AutoShutdown = "never"
	ShutdownAny   AutoShutdown = "any" // when the first significant child has ended
	ShutdownAll   AutoShutdown = "all" // when all have
)

// This file decides what follows the death of a capsule in a tree of supervisors: it
// restarts some children, or a supervisor fails, which is a death for the one above.
// sweep.go has the order in which that is done. Both are plain state of one goroutine;
// time is an argument.

// node is what a supervisor knows of any child, capsule or supervisor.
type node struct {
	name        string
	parent      *group // nil: it is the top
	significant bool
	restarts    restarts // of this child by its parent
}

func (n *node) base() *node { return n }

// member is a *slot or a *group.
type member interface {
	base() *node
	// each visits the slots, in start order.
	each(visit func(*slot))
}

// group is a supervisor. Its failure is a death for its parent; the top has none, and
// no common budget: there each child has its own.
type group struct {
	node
	strategy Strategy
	auto     AutoShutdown
	policy   RestartPolicy // of its children that are groups; capsules have their own
	exits    bool          // the top's: a child that fails for good ends the system
	members  []member      // in start order

	crew *crew // nil unless it is a pool: the instances of one capsule

	deaths restarts      // of all children, by the clock: the group's budget
	last   monotime.Time // when deaths was last brought up to date
	up     monotime.Time // since when no slot waits for its order; None if some do
}

// newGroup returns a supervisor without children. The policy has its defaults.
func newGroup(name string, parent *group, strategy Strategy, policy RestartPolicy) *group {
	policy.Mode = Permanent
	g := &group{node: node{name: name, parent: parent}, strategy: strategy, policy: policy, deaths: restarts{policy: policy}}
	if parent != nil {
		g.restarts.policy = parent.policy
		parent.members = append(parent.members, g)
	}
	return g
}

func (g *group) each(visit func(*slot)) {
	for _, m := range g.members {
		m.each(visit)
	}
}

// within reports whether g is other or below it.
func (g *group) within(other *group) bool {
	for ; g != nil; g = g.parent {
		if g == other {
			return true
		}
	}
	return false
}

// outermost returns the group below the top that n belongs to; nil if there is none.
func (n *node) outermost() *group {
	var outer *group
	for g := n.parent; g != nil && g.parent != nil; g = g.parent {
		outer = g
	}
	return outer
}

// path returns the names of the groups around n and its own, separated by slashes.
func (n *node) path() string {
	path := n.name
	for g := n.parent; g != nil && g.parent != nil; g = g.parent {
		if g.crew == nil { // the name of an instance says which pool it is in
			path = g.name + "/" + path
		}
	}
	return path
}

// slot is the place of one capsule in its group. It has one instance at most.
type slot struct {
	node

	state  slotState
	doomed bool      // it is to be halted when its turn comes
	then   slotState // its state once it has been halted: slotPending or slotEnded
	stays  bool      // ended for good: only an operator starts it again
	scope  *group    // whose order it keeps; nil if it keeps none
	hold   *hold     // its start waits for this backoff; nil for none
}

func (s *slot) each(visit func(*slot)) { visit(s) }

type slotState uint8

const (
	slotEnded    slotState = iota // it has no instance and gets none
	slotWaiting                   // for capsules that it imports from, before its first start
	slotPending                   // to be started when its turn comes
	slotStarting                  // it was told to start
	slotUp                        // it serves, or others have waited long enough for it
	slotHalting                   // it was told to give its instance up
)

// hold is one backoff, of all slots that are restarted together.
type hold struct {
	delay time.Duration
	due   monotime.Time
}

// death is the end of a capsule's instance.
type death struct {
	uptime    time.Duration
	clean     bool // it ended by itself without an error
	permanent bool // no restart helps
	blameless bool // it counts against no budget
	now       monotime.Time
	jitter    float64
}

// decision is what follows a death.
type decision struct {
	verdict             // on the child that by restarts; without a restart the child fails for good
	by       *group     // the supervisor that restarts a child, or keeps one that has failed
	child    member     // the child of by that died
	absorbed bool       // the slot was to be halted: nothing else follows
	ended    bool       // the slot ends for good, and its group does not fail
	failed   []*failure // the supervisors that fail, innermost first
	shutdown []*group   // those that stop because of a significant child
	moved    []*slot    // other slots that are halted or started, in start order
	hold     *hold      // the backoff before the restart; nil for none
	exit     bool       // the system is to end
	why      string     // a restart is refused: which budget is spent
}

// failure tells why a supervisor fails.
type failure struct {
	group *group
	why   string
}

// died decides what follows the death of a slot's instance, and marks the slots that
// are to be halted and started: see next.
func (s *slot) died(d death) *decision {
	out := &decision{}
	if s.doomed || s.state == slotHalting {
		s.halted()
		out.absorbed = true
		return out
	}
	switch {
	case d.blameless:
		s.restarts.ran(d.uptime)
		out.verdict = verdict{restart: true}
	case !d.permanent:
		out.verdict = s.restarts.died(d.uptime, d.clean, d.jitter)
	}
	mode := s.restarts.policy.Mode
	if byItself := d.clean && mode == Transient; byItself || mode == Temporary && !d.blameless {
		s.set(slotEnded)
		out.ended = true
		if s.significant {
			s.parent.significantEnded(out)
		}
		return out
	}
	if !out.restart {
		out.why = spentBudget(s.restarts.policy)
		if d.permanent {
			out.why = "it can't load until its files change"
		}
	}
	out.climb(s, d)
	if out.restart {
		out.apply(s, d.now)
	} else {
		out.giveUp(s)
	}
	return out
}

// climb finds the supervisor that restarts a child after the death of s: the first one
// that has budget left. Those below it fail.
func (o *decision) climb(s *slot, d death) {
	o.child = s
	for o.by = s.parent; ; o.by = o.by.parent {
		g := o.by
		isTop := g.parent == nil
		if o.restart && !isTop && !d.blameless {
			o.spend(g, d)
		}
		if o.restart || isTop {
			return
		}
		o.failed = append(o.failed, &failure{g, o.why})
		if !d.permanent && g.crew == nil { // a pool is a capsule: it fails for good
			o.verdict = g.restarts.died(g.uptime(d.now), false, d.jitter)
			if !o.restart {
				o.why = spentBudget(g.restarts.policy)
			}
		}
		o.child = g
	}
}

// apply restarts what the strategy of o.by says.
func (o *decision) apply(dead *slot, now monotime.Time) {
	if o.delay > 0 {
		o.hold = &hold{delay: o.delay, due: now.Add(o.delay)}
	}
	g := o.by
	at := slices.Index(g.members, o.child)
	from, to, scope := at, at+1, g
	switch g.strategy {
	case OneForAll:
		from, to = 0, len(g.members)
	case RestForOne:
		to = len(g.members)
	default:
		scope, _ = o.child.(*group) // nil: a capsule alone keeps no order
	}
	dead.set(slotPending)
	dead.scope, dead.hold = scope, o.hold
	for _, m := range g.members[from:to] {
		sub, isGroup := m.(*group)
		if isGroup {
			sub.renew()
		}
		m.each(func(s *slot) {
			if s != dead && s.restart(scope, o.hold, isGroup) {
				o.moved = append(o.moved, s)
			}
		})
	}
}

// giveUp ends a child of the top for good, and the system if it is to end with it.
func (o *decision) giveUp(dead *slot) {
	o.exit = o.by.exits
	dead.set(slotEnded)
	dead.stays = true
	scope, _ := o.child.(*group)
	o.child.each(func(s *slot) {
		if s != dead && s.end(scope) {
			o.moved = append(o.moved, s)
		}
		s.stays = true
	})
}

// significantEnded stops a group whose significant children have ended, as its
// setting says, and those above it to which it is significant.
func (g *group) significantEnded(o *decision) {
	if g.auto != ShutdownAny && (g.auto != ShutdownAll || !g.allSignificantEnded()) {
		return
	}
	o.shutdown = append(o.shutdown, g)
	g.each(func(s *slot) {
		if s.end(g) && !slices.Contains(o.moved, s) {
			o.moved = append(o.moved, s)
		}
	})
	if g.significant {
		g.parent.significantEnded(o)
	}
}

func (g *group) allSignificantEnded() bool {
	for _, m := range g.members {
		if m.base().significant && !ending(m) {
			return false
		}
	}
	return true
}

// ending reports whether no slot of m has a future.
func ending(m member) bool {
	all := true
	m.each(func(s *slot) { all = all && s.ends() })
	return all
}

// spend takes one death off a group's budget. Strategies that restart children together
// wait for the group's own backoff, too.
func (o *decision) spend(g *group, d death) {
	v := g.deaths.died(g.elapsed(d.now), false, d.jitter)
	switch {
	case !v.restart:
		o.restart, o.why = false, spentBudget(g.policy)
	case g.strategy != OneForOne:
		o.delay = max(o.delay, v.delay)
	}
}

// elapsed returns the time since it was last called.
func (g *group) elapsed(now monotime.Time) time.Duration {
	last := g.last
	g.last = now
	if last == monotime.None {
		return 0
	}
	return now.Sub(last)
}

// uptime returns how long all of the group has been up.
func (g *group) uptime(now monotime.Time) time.Duration {
	if g.up == monotime.None {
		return 0
	}
	return now.Sub(g.up)
}

// renew gives a group and all in it full budgets: it is made anew.
func (g *group) renew() {
	g.deaths.reset()
	g.last, g.up = monotime.None, monotime.None
	for _, m := range g.members {
		m.base().restarts.reset()
		if sub, ok := m.(*group); ok {
			sub.renew()
		}
	}
}

func spentBudget(p RestartPolicy) string {
	return fmt.Sprintf("restart budget spent: %d in %v", p.Budget, p.Window)
}
