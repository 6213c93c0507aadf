package actors

import (
	"slices"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
)

// This file keeps order while slots are halted and started: a sweep halts in reverse
// start order, one slot after the other, and starts in start order, each slot when the
// one before it serves. Sweeps may overlap: each slot keeps the order of its scope, the
// outermost group that is being swept around it. Two slots order each other if one is
// in the other's scope.

// set moves a slot to a state in which it keeps no order, and waits for no backoff.
func (s *slot) set(state slotState) {
	s.state, s.doomed, s.scope, s.hold = state, false, nil, nil
	s.stays = s.stays && state == slotEnded
}

// await makes a slot wait for its first start, or for one after its end; blocked says
// that it also waits for what it imports from.
func (s *slot) await(blocked bool) {
	s.set(slotPending)
	if blocked {
		s.state = slotWaiting
	}
	s.scope = s.outermost()
}

// started records that a slot was told to start, in its turn or out of it.
func (s *slot) started() {
	if s.state != slotStarting {
		s.set(slotStarting)
	}
}

// restart marks a slot to be halted and started again, or to be started if it has
// ended by itself. Anew says that its group is made anew, too. It returns false if
// nothing changes for the slot.
func (s *slot) restart(scope *group, h *hold, anew bool) bool {
	temporary := s.restarts.policy.Mode == Temporary && !anew
	switch s.state {
	case slotEnded:
		if s.stays || temporary {
			return false
		}
		s.state = slotPending
	case slotStarting, slotUp, slotHalting:
		if s.stays && s.ends() {
			s.widen(scope)
			return false
		}
		s.doomed, s.then = s.state != slotHalting, slotPending
		if temporary {
			s.then = slotEnded
		}
	}
	s.widen(scope)
	s.hold = h
	return true
}

// endsNow records that a slot was told to end for good, in its turn or out of it. What
// keeps order with it waits for its end.
func (s *slot) endsNow() {
	s.doomed, s.state, s.then, s.hold = false, slotHalting, slotEnded, nil
}

// ends reports whether a slot has no future.
func (s *slot) ends() bool {
	return s.state == slotEnded || (s.doomed || s.state == slotHalting) && s.then == slotEnded
}

// end marks a slot to be halted for good. It returns false if it has no future.
func (s *slot) end(scope *group) bool {
	switch s.state {
	case slotEnded:
		return false
	case slotWaiting, slotPending:
		s.set(slotEnded)
		return true
	}
	s.doomed, s.then, s.hold = s.state != slotHalting, slotEnded, nil
	s.widen(scope)
	return true
}

// widen makes a slot keep the order of scope, unless it keeps that of one around it.
func (s *slot) widen(scope *group) {
	if s.scope == nil || s.scope.within(scope) {
		s.scope = scope
	}
}

// serves records that a slot's instance serves, or that others have waited long enough.
func (s *slot) serves() {
	if s.state != slotStarting {
		return
	}
	s.state = slotUp
	if !s.doomed {
		s.scope = nil
	}
}

// halted records that a slot that was to be halted has no instance any more.
func (s *slot) halted() {
	then, stays := s.then, s.stays
	if then == slotPending {
		s.state, s.doomed = slotPending, false
		return
	}
	s.set(slotEnded)
	s.stays = stays
}

// isSwept reports whether a slot of the group is to be halted in its turn.
func (g *group) isSwept() bool {
	swept := false
	g.each(func(s *slot) { swept = swept || s.scope != nil && (s.doomed || s.state == slotHalting) })
	return swept
}

// turns is what next returns.
type turns struct {
	halt, start []*slot
	up          []*group // no slot of theirs keeps an order any more
}

// next returns the slots among those of m whose turn has come, in order, and marks them
// as told. m is all that orders itself: an outermost group, or a slot that has none.
func next(m member, now monotime.Time) turns {
	var out turns
	units := unitsOf(m)
	halting, starting := newBlockers(), newBlockers()
	for _, unit := range slices.Backward(units) {
		for _, s := range unit {
			if s.doomed && !halting.block(s) {
				s.doomed, s.state = false, slotHalting
				out.halt = append(out.halt, s)
			}
		}
		for _, s := range unit {
			if s.doomed || s.state == slotHalting {
				halting.add(s)
			}
		}
	}
	for _, unit := range units {
		for _, s := range unit {
			if !s.doomed && s.state == slotPending && s.hold == nil && !halting.block(s) && !starting.block(s) {
				s.state = slotStarting
				out.start = append(out.start, s)
			}
		}
		for _, s := range unit {
			if !s.doomed && (s.state == slotPending || s.state == slotWaiting || s.state == slotStarting) {
				starting.add(s)
			}
		}
	}
	if g, ok := m.(*group); ok {
		out.settle(g, halting, starting, now)
	}
	return out
}

// unitsOf returns the slots of m in start order. Those of a unit do not wait for each
// other: the instances of a pool, or one slot alone.
func unitsOf(m member) [][]*slot {
	var slots []*slot
	m.each(func(s *slot) { slots = append(slots, s) })
	var units [][]*slot
	for from := 0; from < len(slots); {
		to := from + 1
		for g := slots[from].parent; g != nil && g.crew != nil && to < len(slots) && slots[to].parent == g; {
			to++
		}
		units = append(units, slots[from:to])
		from = to
	}
	return units
}

// settle records which groups have become quiet.
func (t *turns) settle(g *group, halting, starting *blockers, now monotime.Time) {
	for _, m := range g.members {
		if sub, ok := m.(*group); ok {
			t.settle(sub, halting, starting, now)
		}
	}
	switch quiet := !halting.inside[g] && !starting.inside[g]; {
	case !quiet:
		g.up = monotime.None
	case g.up == monotime.None:
		g.up = now
		t.up = append(t.up, g)
	}
}

// over ends a backoff for the slots of m that wait for it.
func (h *hold) over(m member) {
	m.each(func(s *slot) {
		if s.hold == h {
			s.hold = nil
		}
	})
}

// blockers are slots that others must wait for.
type blockers struct {
	scopes map[*group]bool // those of the blockers
	inside map[*group]bool // the groups with a blocker in them
}

func newBlockers() *blockers { return &blockers{map[*group]bool{}, map[*group]bool{}} }

func (b *blockers) add(s *slot) {
	if s.scope == nil {
		return
	}
	b.scopes[s.scope] = true
	for g := s.parent; g != nil; g = g.parent {
		b.inside[g] = true
	}
}

// block reports whether s has to wait for one of them.
func (b *blockers) block(s *slot) bool {
	if s.scope == nil {
		return false
	}
	if b.inside[s.scope] {
		return true
	}
	for g := s.parent; g != nil; g = g.parent {
		if b.scopes[g] {
			return true
		}
	}
	return false
}

// stop halts all of a group for good, until an operator starts it.
func (g *group) stop() {
	g.renew()
	g.each(func(s *slot) {
		s.end(g)
		s.stays = true
	})
}

// startAll starts those of a group that have ended, with full budgets.
func (g *group) startAll() {
	g.renew()
	g.each(func(s *slot) {
		s.stays = false
		if s.ends() {
			s.restart(g, nil, true)
		}
	})
}

// restartAll halts and starts all of a group, with full budgets.
func (g *group) restartAll() {
	g.renew()
	g.each(func(s *slot) {
		s.stays = false
		s.restart(g, nil, true)
	})
}
