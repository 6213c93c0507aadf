package sim

import (
	"slices"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// deaths are counted against a budget. An operator's command gives budgets back at a moment
// that no event tells, so there are two counts; the truth is between.
type deaths struct {
	atMost  []time.Time // since the budget was certainly full
	atLeast []time.Time // since it may have been, by a command
}

func (d *deaths) add(at time.Time) {
	d.atMost, d.atLeast = append(d.atMost, at), append(d.atLeast, at)
}

// renewed: the budget is full.
func (d *deaths) renewed() { *d = deaths{} }

// maybeRenewed: it may be, or become so, since a command is under way.
func (d *deaths) maybeRenewed() { d.atLeast = nil }

// within returns the two counts of the deaths in a window.
func (d *deaths) within(window time.Duration, now time.Time) (low, high int) {
	return recent(d.atLeast, window, now), recent(d.atMost, window, now)
}

func recent(times []time.Time, window time.Duration, now time.Time) int {
	n := 0
	for _, at := range times {
		if now.Sub(at) < window {
			n++
		}
	}
	return n
}

// budgets visits those of a group and all in it.
func (g *treeGroup) budgets(visit func(*deaths)) {
	visit(&g.spent)
	for _, m := range g.members {
		switch m := m.(type) {
		case *treeGroup:
			visit(&m.failures)
			m.budgets(visit)
		case *treeCapsule:
			if m.pool != nil {
				visit(&m.pool.spent)
			}
			for _, p := range m.all {
				visit(&p.restarts)
			}
		}
	}
}

// failed: a group has failed, because of the death under decision. If it is restarted, the
// rest of the decision follows; else it ends.
func (a *treeAudit) failed(g *treeGroup, restarted bool) {
	a.chain = append(a.chain, g)
	if restarted {
		return
	}
	a.decisions++
	g.spent.maybeRenewed() // shown as full, and full when it is started
	g.places(func(p *place) {
		if p.crashed && !a.hasCompany(p) {
			p.stays = true // the dead one: its own event follows
			return
		}
		p.doom(a.decisions, g, true)
		p.stays = true
		p.note(a.at)
	})
	if g.parent.parent == nil {
		a.f.tally.add("failed for good")
		a.chain = nil
		a.escalated = a.escalated || a.f.cfg.OnFailure == supervisor.Exit
	}
}

// hasCompany reports whether another death waits for its decision: this one may be absorbed.
func (a *treeAudit) hasCompany(p *place) bool {
	for _, other := range a.byPath {
		if other != p && other.crashed {
			return true
		}
	}
	return false
}

// restarted: a capsule that died is restarted, by the first group around it that has budget
// left; those below have failed.
func (a *treeAudit) restarted(p *place, d *messages.RestartScheduled) {
	chain, victims := a.chain, a.victims
	a.chain, a.victims = nil, nil
	a.decisions++
	blameless := d.Cause != messages.CauseCrash
	if !p.crashed {
		a.fail("%v is restarted, and has not died", p)
	}
	if !blameless {
		p.restarts.add(a.at)
	}
	by, child := p.group, treeMember(p.c)
	for n, g := range chain {
		if g != by {
			a.fail("%v has died: %s fails, and not %s", p, g.name, by.name)
			return
		}
		a.mayFail(p, n, chain)
		g.failures.add(a.at)
		by, child = g.parent, treeMember(g)
		if g == p.c.pool {
			child = p.c
		}
	}
	if len(chain) > 0 {
		a.f.tally.add("restarted by a group above")
	}
	a.mustHaveBudget(p, by, chain, blameless)
	ending := a.checkVictims(p, by, child, len(chain) > 0, victims)

	// The same now for the model.
	sweeps := []treeMember{child}
	scope := by
	switch at := slices.Index(by.members, child); {
	case p.number > 0 && by == p.group:
		sweeps, scope = nil, nil
	case by.strategy == supervisor.OneForAll:
		sweeps = by.members
	case by.strategy == supervisor.RestForOne:
		sweeps = by.members[at:]
	default:
		scope, _ = child.(*treeGroup)
		if c, ok := child.(*treeCapsule); ok && c.pool != nil {
			scope = c.pool
		}
	}
	until := a.at.Add(d.Delay)
	if d.Delay > 0 {
		a.dues[until.UnixNano()] = true
	}
	p.crashed = false
	p.pending, p.scope, p.notBefore = a.decisions, scope, until
	p.refuses = p.refuses || d.Delay > 0
	for _, v := range ending {
		v.doom(a.decisions, scope, true)
	}
	for _, v := range victims {
		v.doom(a.decisions, scope, false)
		v.notBefore = until
		v.refuses = v.refuses || d.Delay > 0
		v.note(a.at)
	}
	for _, m := range sweeps {
		switch m := m.(type) {
		case *treeGroup:
			m.budgets((*deaths).maybeRenewed)
		case *treeCapsule:
			if m.pool != nil {
				m.pool.spent.renewed()
			}
		}
	}
	for _, v := range append(victims, p) { // groups with none of them show what they did
		if v.group != by {
			v.restarts.renewed()
		}
		for g := v.group; g != by && g != nil; g = g.parent {
			if g.spent.renewed(); g.parent != by {
				g.failures.renewed()
			}
		}
	}
}

// mayFail checks that the n-th group of a chain had a reason to fail: its budget or that of
// its child is spent.
func (a *treeAudit) mayFail(p *place, n int, chain []*treeGroup) {
	g := chain[n]
	_, spent := g.spent.within(g.window, a.at)
	if spent >= g.budget {
		return
	}
	if n == 0 {
		if own := len(p.restarts.atMost); p.number > 0 || own <= p.c.budget { // this one is counted, too
			a.fail("%s fails after %d deaths in its window of %v, budget %d; %v has %d of %d", g.name, spent, g.window, g.budget, p, own, p.c.budget)
		}
		return
	}
	child := chain[n-1]
	if child == p.c.pool { // a pool fails for good
		return
	}
	if own := len(child.failures.atMost); own <= g.budget {
		a.fail("%s fails after %d deaths, budget %d; %s has failed %d times", g.name, spent, g.budget, child.name, own)
	}
}

// mustHaveBudget checks that the group that restarts had budget left, and the child, too.
func (a *treeAudit) mustHaveBudget(p *place, by *treeGroup, chain []*treeGroup, blameless bool) {
	if blameless {
		return
	}
	if by.parent != nil {
		if spent, _ := by.spent.within(by.window, a.at); spent >= by.budget {
			a.fail("%s restarts %v after %d deaths in its window of %v, budget %d", by.name, p, spent, by.window, by.budget)
		}
		by.spent.add(a.at)
	}
	switch {
	case len(chain) == 0 && p.number == 0:
		if n, _ := p.restarts.within(p.c.window, a.at); n > p.c.budget {
			a.fail("%v is restarted %d times in its window of %v, budget %d", p, n, p.c.window, p.c.budget)
		}
	case len(chain) > 0:
		child := chain[len(chain)-1]
		if n, _ := child.failures.within(by.window, a.at); n > by.budget {
			a.fail("%s is restarted %d times in a window of %v, budget %d", child.name, n, by.window, by.budget)
		}
	}
}

// checkVictims checks whom the strategy of a group restarts after the death of its child. It
// returns those that end instead.
func (a *treeAudit) checkVictims(p *place, by *treeGroup, child treeMember, failed bool, victims []*place) (ending []*place) {
	var must, may []*place
	concerned := failed // the group that was made anew
	at := slices.Index(by.members, child)
	for n, m := range by.members {
		in := n == at && concerned ||
			by.strategy == supervisor.OneForAll ||
			by.strategy == supervisor.RestForOne && n >= at
		if !in || p.number > 0 && by == p.group {
			continue
		}
		m.places(func(v *place) {
			switch {
			case v == p || v.ended && v.stays && a.orders == nil:
			case v.c.mode == supervisor.Temporary && v.group == by && v.alive: // as in OTP
				ending = append(ending, v)
			case v.ended, v.crashed, v.gone, v.retiring, v.doomed > 0, a.orders != nil:
				may = append(may, v)
			default:
				must = append(must, v)
			}
		})
	}
	for _, v := range must {
		if !slices.Contains(victims, v) {
			a.fail("%v has died, %s is %s, and %v is not restarted with it", p, by.name, by.strategy, v)
		}
	}
	for _, v := range victims {
		if !slices.Contains(must, v) && !slices.Contains(may, v) {
			a.fail("%v has died, %s is %s, and %v is restarted with it", p, by.name, by.strategy, v)
		}
	}
	if len(victims) > 0 {
		a.f.tally.add("restarted by " + string(by.strategy))
	}
	return ending
}
