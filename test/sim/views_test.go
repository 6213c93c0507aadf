package sim

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/metrics"
)

// note adds a line to the story.
func (a *audit) note(line string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	a.story = append(a.story, fmt.Sprintf("%v\t%s", time.Since(a.began), line))
}

// loading: a load begins.
func (a *audit) loading(c *capsule, load uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	// A load in any other state is beside the instance that there is, for an upgrade.
	if v := a.capsules[c.id]; v.isDown() && v.starts == 0 && v.upgrading == 0 {
		a.w.fail("load %d begins of %v", load, v)
	}
}

// upgrading: a command has begun, or ended, that may make an instance beside the current
// one.
func (a *audit) upgrading(c *capsule, by int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.capsules[c.id].upgrading += by
}

// asked: a call begins. Only Ready capsules are invoked, and of each generation only one
// instance.
func (a *audit) asked(g *guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	v := a.capsules[g.id]
	if g.generation == 0 {
		if g.generation = v.generation; v.instances[v.generation] != nil {
			a.w.fail("two instances of %v are asked", v)
		}
		v.instances[v.generation] = g
	}
	if v.generation != g.generation || (v.state != messages.StateReady && v.state != messages.StateStopping) {
		a.w.fail("generation %d was asked of %v", g.generation, v)
	}
}

// running: a loop begins. An upgrade that is withdrawn since its capsule stops may begin
// its loop in that same moment, with its command answered already.
func (a *audit) running(g *guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	v := a.capsules[g.id]
	if v.upgrading == 0 && v.hadEnded() {
		a.w.fail("a loop runs of %v", v)
	}
}

// died reports whether the events contain the end of a generation, or its beginning.
func (a *audit) died(c *capsule, generation uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := a.capsules[c.id]
	return v.generation > generation || v.state != messages.StateReady || v.starts > 0
}

// now returns the number of the last event, and whether the system had started by then.
func (a *audit) now() (sequence uint64, started bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	return a.last, a.started
}

// since returns the states of a capsule from an event on. A crash without a scheduled
// restart counts as failed.
func (a *audit) since(c *capsule, sequence uint64) []messages.CapsuleState {
	a.mu.Lock()
	defer a.mu.Unlock()
	states := []messages.CapsuleState{messages.StateLoading}
	for _, at := range a.capsules[c.id].history {
		if at.sequence <= sequence {
			states = states[:0]
		}
		states = append(states, at.state)
	}
	if v := a.capsules[c.id]; v.state == messages.StateCrashed && v.starts == 0 {
		states = append(states, messages.StateFailed)
	}
	return states
}

// hadEnded reports whether a capsule had ended before now, and has not started again.
func (a *audit) hadEnded(c *capsule) bool {
	return a.view(c).hadEnded()
}

func (a *account) hadEnded() bool {
	return a.isDown() && a.history[len(a.history)-1].at.Before(time.Now())
}

// view returns a copy of a capsule's account.
func (a *audit) view(c *capsule) *account {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	v := *a.capsules[c.id]
	v.versions = maps.Clone(v.versions)
	return &v
}

// compare compares a snapshot with the events up to it. Nothing else may run.
func (a *audit) compare(tree *messages.Tree) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	if tree.Sequence != a.last {
		a.w.fail("the snapshot is of event %d, the last one is %d", tree.Sequence, a.last)
	}
	nested, there := uint64(0), 0
	for _, c := range a.capsules {
		nested += c.capsule.asked.Load()
		if !c.gone {
			there++
		}
	}
	if len(tree.Capsules) != there {
		a.w.fail("the snapshot has %d capsules, the events say %d", len(tree.Capsules), there)
	}
	for _, got := range tree.Capsules {
		c := a.capsules[got.ID]
		if up := c.state == messages.StateReady || c.state == messages.StateStarting; up && got.Version != c.version {
			a.w.fail("the snapshot has version %s of %v, the events say %s", got.Version, c, c.version)
		}
		show := func(state messages.CapsuleState, generation uint64, session string, restarts uint64, spent uint32, decided bool, failure string) string {
			return fmt.Sprintf("%s, generation %d, session %q, %d restarts, %d spent, decided %v, failure %q", state.String(), generation, session, restarts, spent, decided, failure)
		}
		var last messages.Failure
		if got.LastFailure != nil {
			last = *got.LastFailure
		}
		g := show(got.State, got.Generation, got.Session, got.Restarts, got.BudgetSpent, got.Decided, last.Message)
		w := show(c.state, c.generation, c.session, c.restarts, c.spentNow(), c.decided, c.failure.Message)
		if g != w {
			a.w.fail("the snapshot has %s: %s\nthe events say: %s", c.id, g, w)
		}
		if due := got.RestartAt; !due.IsZero() != (c.starts > 0 && c.generation > c.base) {
			a.w.fail("the snapshot says %v for the restart of %v, of which %d are due", due, c, c.starts)
		}
		if n := int(got.Queue); n > c.queue {
			a.w.fail("%d calls wait at %s, whose queue is %d", n, c.id, c.queue)
		}
		if !maps.Equal(got.Crashes, c.crashes) || !maps.Equal(got.RestartsByKind, c.restartsBy) {
			a.w.fail("the snapshot counts of %s the crashes %v, the restarts %v; the events %v, %v", c.id, got.Crashes, got.RestartsByKind, c.crashes, c.restartsBy)
		}
		if c.loop {
			continue
		}
		if n := c.capsule.calls.Load() - c.callsBefore; got.Calls != n || got.CallDuration.Count() != n {
			a.w.fail("%d calls are counted of %s, %d timed, which were %d", got.Calls, c.id, got.CallDuration.Count(), n)
		}
		if busy := c.inside.Load(); (got.Busy != 0) != busy {
			a.w.fail("the snapshot shows %s busy for %v, and it is: %v", c.id, got.Busy, busy)
		}
	}
	if got := tree.NestedTriggers; got != nested {
		a.w.fail("%d nested triggers are counted, and there were %d", got, nested)
	}
}

// metrics compares the metrics for Prometheus with the events.
func (a *audit) metrics(source metrics.Source) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.New(metrics.Config{Source: source}))
	families, err := registry.Gather()
	if err != nil {
		a.w.fail("metrics: %v", err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := strings.TrimPrefix(f.GetName(), "astrid_actors_")
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			got[name] = m.Counter.GetValue() + m.Gauge.GetValue()
		}
	}
	want := map[string]float64{"triggers_open": 0, "wait_edges": 0, "triggers_total outside": float64(a.w.answered.Load())}
	for id, c := range a.capsules {
		if c.gone {
			continue
		}
		want["capsule_state "+id+" "+c.state.String()] = 1
		want["capsule_generation "+id] = float64(c.generation)
		for kind, n := range c.crashes {
			want["capsule_crashes_total "+id+" "+kind] = float64(n)
		}
		for kind, n := range c.restartsBy {
			want["capsule_restarts_total "+id+" "+kind] = float64(n)
		}
	}
	for name, n := range want {
		if v, ok := got[name]; !ok || v != n {
			a.w.fail("metric %s is %v (%v), and should be %v", name, v, ok, n)
		}
	}
}
