package actors

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
)

// Random trees, deaths, commands and moments. After each step: a slot has one instance
// at most, starts and halts are in order, no budget is exceeded; and when all that is
// under way has ended, no slot waits.
func TestStrategyInvariants(t *testing.T) {
	seeds := 2000
	if n, err := strconv.Atoi(os.Getenv("STRATEGY_SEEDS")); err == nil {
		seeds = n
	}
	for seed := range seeds {
		newStorm(t, uint64(seed)).run()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// storm is one random run.
type storm struct {
	*grove
	rand     *rand.Rand
	starting []*slot
	halting  []*slot
	deaths   map[*group][]monotime.Time // that count, since the group was made anew
}

func newStorm(t *testing.T, seed uint64) *storm {
	r := rand.New(rand.NewPCG(seed, 17))
	names := 0
	policy := RestartPolicy{Budget: 1 + r.IntN(3), Window: 10 * time.Second, InitialBackoff: []time.Duration{-1, time.Second}[r.IntN(2)]}
	w := &storm{grove: plant(t, randomTree(r, 0, &names), policy), rand: r, deaths: map[*group][]monotime.Time{}}
	w.slow = true
	return w
}

// randomTree writes the children of one group, at most four levels deep.
func randomTree(r *rand.Rand, depth int, names *int) string {
	var b strings.Builder
	for range 1 + r.IntN(4) {
		*names++
		name := *names
		mark := []string{"", "", "!"}[r.IntN(3)]
		if depth < 4 && r.IntN(3) == 0 {
			strategy := []Strategy{OneForOne, OneForAll, RestForOne}[r.IntN(3)]
			auto := []AutoShutdown{ShutdownNever, ShutdownAny, ShutdownAll}[r.IntN(3)]
			fmt.Fprintf(&b, " g%d%s:%s/%s[%s]", name, mark, strategy, auto, randomTree(r, depth+1, names))
		} else {
			fmt.Fprintf(&b, " c%d%s%s", name, []string{"", "?", "~"}[r.IntN(3)], mark)
		}
	}
	return b.String()
}

func (w *storm) run() {
	w.turn()
	for range 60 {
		switch s := w.slots[w.rand.IntN(len(w.slots))]; w.rand.IntN(7) {
		case 0, 1:
			if w.live[s] {
				w.dies(s)
			}
		case 2:
			w.ends()
		case 3:
			w.serves()
		case 4:
			w.now = w.now.Add(time.Duration(w.rand.IntN(4)) * time.Second)
			w.due()
		case 5:
			w.command(s)
		}
		w.turn()
	}
	for i := 0; len(w.starting)+len(w.halting)+len(w.holds) > 0; i++ {
		w.ends()
		w.serves()
		if len(w.holds) > 0 {
			w.now = max(w.now, w.holds[0].due)
		}
		w.due()
		w.turn()
	}
	for _, s := range w.slots {
		if s.state != slotUp && s.state != slotEnded || s.doomed || w.live[s] != (s.state == slotUp) {
			w.t.Errorf("%s is left in state %d, doomed %v, with an instance: %v", s.path(), s.state, s.doomed, w.live[s])
		}
	}
}

// turn does what next says, and checks its order.
func (w *storm) turn() {
	for _, m := range w.top.members {
		out := next(m, w.now)
		for _, s := range out.halt {
			w.halt(s)
			w.halting = append(w.halting, s)
			w.nothingAfter(s)
		}
		for _, s := range out.start {
			w.start(s)
			w.starting = append(w.starting, s)
			w.allBefore(s)
		}
	}
}

// nothingAfter: a slot is halted after those behind it that are to be halted with it.
func (w *storm) nothingAfter(s *slot) {
	after := false
	for _, other := range w.slots {
		if after && tied(s, other) && (other.doomed || other.state == slotHalting) {
			w.t.Errorf("%s is halted before %s", s.path(), other.path())
		}
		after = after || other == s
	}
}

// allBefore: a slot starts after those before it serve, and after every one that is tied
// to it has been halted.
func (w *storm) allBefore(s *slot) {
	before := true
	for _, other := range w.slots {
		before = before && other != s
		if other == s || !tied(s, other) {
			continue
		}
		serves := other.state == slotUp || other.state == slotEnded
		if before && !serves || other.doomed || other.state == slotHalting {
			w.t.Errorf("%s starts before %s", s.path(), other.path())
		}
	}
}

// tied reports whether two slots belong to one sweep.
func tied(a, b *slot) bool {
	return a.scope != nil && b.scope != nil && (b.parent.within(a.scope) || a.parent.within(b.scope))
}

// dies kills an instance, and keeps an account of its own: each death counts at its
// supervisor, which either restarts or fails, and its failure counts at the next.
func (w *storm) dies(s *slot) {
	d := death{clean: w.rand.IntN(3) == 0, blameless: w.rand.IntN(6) == 0, permanent: w.rand.IntN(12) == 0, now: w.now}
	w.starting, w.halting = without(w.starting, s), without(w.halting, s)
	w.live[s] = false
	for g := range w.deaths {
		if g.last == monotime.None { // it was made anew
			delete(w.deaths, g)
		}
	}
	out := s.died(d)
	if out.hold != nil {
		w.holds = append(w.holds, out.hold)
	}
	if out.absorbed || out.ended || out.exit || d.permanent || d.blameless {
		return
	}
	g := s.parent
	for _, f := range out.failed {
		if f.group != g {
			w.t.Errorf("%s fails, and not %s", f.group.path(), g.path())
		}
		if n := len(w.recent(g)); g == s.parent && n < g.policy.Budget {
			w.t.Errorf("%s fails after %d deaths in its window, budget %d", g.path(), n, g.policy.Budget)
		}
		g = g.parent
	}
	if g.parent == nil {
		return // the top has no common budget
	}
	if w.deaths[g] = append(w.recent(g), w.now); len(w.deaths[g]) > g.policy.Budget {
		w.t.Errorf("%s has restarted after %d deaths in its window, budget %d", g.path(), len(w.deaths[g]), g.policy.Budget)
	}
}

// recent returns the deaths in a group's window.
func (w *storm) recent(g *group) []monotime.Time {
	var out []monotime.Time
	for _, at := range w.deaths[g] {
		if w.now.Sub(at) < g.policy.Window {
			out = append(out, at)
		}
	}
	return out
}

// ends ends what is being halted.
func (w *storm) ends() {
	for _, s := range w.halting {
		w.live[s] = false
		s.halted()
	}
	w.halting = nil
}

// serves has the next one that starts be ready.
func (w *storm) serves() {
	if len(w.starting) > 0 {
		w.starting[0].serves()
		w.starting = w.starting[1:]
	}
}

// due ends the backoffs that are over.
func (w *storm) due() {
	var left []*hold
	for _, h := range w.holds {
		if w.now < h.due {
			left = append(left, h)
			continue
		}
		h.over(w.top)
	}
	w.holds = left
}

// command stops, starts or restarts a capsule's group.
func (w *storm) command(s *slot) {
	if s.parent.parent == nil {
		return
	}
	switch w.rand.IntN(3) {
	case 0:
		s.parent.stop()
	case 1:
		s.parent.startAll()
	case 2:
		s.parent.restartAll()
	}
}

func without(slots []*slot, s *slot) []*slot {
	var out []*slot
	for _, other := range slots {
		if other != s {
			out = append(out, other)
		}
	}
	return out
}
