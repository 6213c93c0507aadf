package web

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

const (
	// updateEvery is the shortest time between two updates of a browser.
	updateEvery = 250 * time.Millisecond
	// lookEvery is the time between two snapshots while there are no events.
	lookEvery = time.Second
	// stepEvery is the time between two points of a curve, and between two snapshots
	// while no browser watches.
	stepEvery = 5 * time.Second
	// steps is the number of points of a curve.
	steps = 60
)

// frame is a snapshot with the numbers computed from it. It is immutable.
type frame struct {
	tree      *messages.Tree
	taken     monotime.Time // not affected by changes of the wall clock
	now       time.Time     // by the wall clock, as all times in tree
	byID      map[string]*messages.Capsule
	groups    map[string]*messages.Supervisor // by name
	triggers  float64                         // a second
	calls     map[string]float64              // a second, by capsule; without entries of 0
	restarts  uint64                          // in the last hour
	attention []*attention
	trouble   map[string]*attention // by capsule
	next      chan struct{}         // closed when there is a newer frame
}

// watch takes the snapshots that all browsers share, and keeps the history that a
// snapshot does not contain: rates, and call durations over time.
type watch struct {
	supervisor *supervisor.Supervisor
	watchers   atomic.Int64
	wake       chan struct{} // there was an event, or a browser has connected

	mu      sync.Mutex
	current *frame
	bases   [2]*messages.Tree // rates count from the first, which is at least one step old after two steps
	curves  map[string]*curve
	totals  []total // of restarts, a minute apart, of the last hour
	facts   map[string]*facts
	ours    map[string]ownFailure // the last failure of each of the system's own actors, by path

	upgrades map[string]attention // of capsules that do not run what their files say, by id
}

// ownFailure is a failure of one of the system's own actors.
type ownFailure struct {
	at time.Time
	messages.ActorRestarted
}

// curve holds a capsule's call durations over time, oldest first, one point a step.
type curve struct {
	points []point
}

// point is one step of a curve.
type point struct {
	calls    uint64
	p50, p99 time.Duration
}

type total struct {
	at       time.Time
	restarts uint64
}

// facts are settings from a capsule's manifest, as of one generation.
type facts struct {
	generation uint64
	queue      uint32
	call       time.Duration // its limit; 0 means none
	stop       time.Duration
	module     string
}

func newWatch(s *supervisor.Supervisor) *watch {
	w := &watch{
		supervisor: s, wake: make(chan struct{}, 1), curves: map[string]*curve{}, facts: map[string]*facts{},
		ours: map[string]ownFailure{}, upgrades: map[string]attention{},
	}
	w.look()
	return w
}

// run takes snapshots until ctx ends: at once if there was an event and a browser
// watches, but it uses at most a tenth of the time for them.
func (w *watch) run(ctx context.Context) {
	var following sync.WaitGroup
	following.Go(func() { w.follow(ctx) })
	defer following.Wait()
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	for {
		wait := stepEvery
		if w.watchers.Load() > 0 {
			wait = lookEvery
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-w.wake:
			if w.watchers.Load() == 0 {
				continue
			}
		}
		began := time.Now()
		w.look()
		timer.Reset(max(updateEvery, 10*time.Since(began)))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// follow wakes run at every event, and records those that snapshots do not show.
func (w *watch) follow(ctx context.Context) {
	var since uint64
	for ctx.Err() == nil {
		for e := range w.supervisor.Events(ctx, since) {
			since = e.Sequence
			w.note(e)
			w.poke()
		}
		select { // Serve has returned, and may be called again
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
	}
}

func (w *watch) note(e messages.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch d := e.Detail.(type) {
	case messages.ActorRestarted:
		w.ours[e.Path] = ownFailure{e.At, d}
	case messages.UpgradeFailed:
		w.upgrades[e.Child()] = attention{
			rank: 3, Path: e.Path, Trouble: "upgrade failed", Grade: "warn", Cause: d.Failure.Message, Since: e.At,
			Decision: "version " + d.From + " goes on", Next: nextRejected,
		}
	case messages.CapsuleRolledBack:
		w.upgrades[e.Child()] = attention{
			rank: 3, Path: e.Path, Trouble: "rolled back", Grade: "warn", Cause: d.From + " crashed: " + d.Failure.Message, Since: e.At,
			Decision: "version " + d.To + " runs again", Next: nextRejected,
		}
	case messages.CapsuleUpgraded, messages.CapsuleRemoved:
		delete(w.upgrades, e.Child())
	}
}

func (w *watch) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// A browser that watches calls enter first and leave last.
func (w *watch) enter() {
	w.watchers.Add(1)
	w.poke()
}

func (w *watch) leave() { w.watchers.Add(-1) }

// frame returns the newest one.
func (w *watch) frame() *frame {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current
}

// fresh returns a frame that is at most updateEvery old.
func (w *watch) fresh() *frame {
	if f := w.frame(); monotime.Now().Sub(f.taken) < updateEvery {
		return f
	}
	return w.look()
}

// look takes a snapshot and makes it the newest frame.
func (w *watch) look() *frame {
	taken := monotime.Now()
	return w.show(w.supervisor.Snapshot(), taken)
}

// show turns a snapshot taken at that time into the newest frame.
func (w *watch) show(tree *messages.Tree, taken monotime.Time) *frame {
	f := &frame{
		tree: tree, taken: taken, now: tree.At, byID: make(map[string]*messages.Capsule, len(tree.Capsules)), groups: map[string]*messages.Supervisor{},
		calls: map[string]float64{}, trouble: map[string]*attention{}, next: make(chan struct{}),
	}
	for _, c := range tree.Capsules {
		f.byID[c.ID] = c
	}
	for _, g := range tree.Supervisors {
		f.groups[g.Name] = g
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.current != nil && f.taken < w.current.taken {
		return w.current // another goroutine was faster
	}
	if w.current != nil && f.now.Before(w.current.now) {
		// The clock was set back: restart the counts that depend on it.
		w.bases, w.totals = [2]*messages.Tree{}, nil
	}
	w.stepLocked(f)
	w.ratesLocked(f)
	f.attention = w.attentionLocked(f)
	if w.current != nil {
		close(w.current.next)
	}
	w.current = f
	return f
}

// stepLocked begins a new step if one is due: rates and curves count from it.
func (w *watch) stepLocked(f *frame) {
	base := w.bases[1]
	if base != nil && f.now.Sub(base.At) < stepEvery {
		return
	}
	w.bases = [2]*messages.Tree{base, f.tree}
	if base == nil {
		return
	}
	for i, c := range f.tree.Capsules {
		if i >= len(base.Capsules) || base.Capsules[i].ID != c.ID {
			continue // the order of capsules never changes while one program runs
		}
		since := difference(c.CallDuration, base.Capsules[i].CallDuration)
		k := w.curves[c.ID]
		if k == nil {
			if since.Count() == 0 {
				continue // most capsules never had a call
			}
			k = &curve{}
			w.curves[c.ID] = k
		}
		p := point{calls: since.Count(), p50: since.Quantile(0.5), p99: since.Quantile(0.99)}
		k.points = append(k.points, p)
		if len(k.points) > steps {
			k.points = append(k.points[:0], k.points[1:]...)
		}
	}
}

// difference returns the counts of a histogram minus those of an earlier one, without a
// sum.
func difference(h, earlier messages.Histogram) messages.Histogram {
	var d messages.Histogram
	before := earlier.Buckets
	for _, b := range h.Buckets {
		for len(before) > 0 && before[0].Index < b.Index {
			before = before[1:]
		}
		if len(before) > 0 && before[0].Index == b.Index {
			b.Count -= min(b.Count, before[0].Count)
		}
		if b.Count > 0 {
			d.Buckets = append(d.Buckets, b)
		}
	}
	return d
}

func (w *watch) ratesLocked(f *frame) {
	var restarts uint64
	for _, c := range f.tree.Capsules {
		restarts += c.Restarts
	}
	if n := len(w.totals); n == 0 || f.now.Sub(w.totals[n-1].at) >= time.Minute {
		w.totals = append(w.totals, total{f.now, restarts})
	}
	for len(w.totals) > 1 && f.now.Sub(w.totals[0].at) > time.Hour {
		w.totals = w.totals[1:]
	}
	f.restarts = restarts
	if first := w.totals[0]; f.now.Sub(f.tree.Started) > time.Hour {
		f.restarts -= min(first.restarts, restarts)
	}
	base := w.bases[0]
	if base == nil {
		base = w.bases[1]
	}
	seconds := f.now.Sub(base.At).Seconds()
	if seconds < 0.2 { // too early for a rate
		return
	}
	f.triggers = float64(f.tree.Triggers-min(base.Triggers, f.tree.Triggers)) / seconds
	for i, c := range f.tree.Capsules {
		if i < len(base.Capsules) && base.Capsules[i].ID == c.ID {
			if n := c.Calls - min(c.Calls, base.Capsules[i].Calls); n > 0 {
				f.calls[c.ID] = float64(n) / seconds
			}
		}
	}
}

// curve returns a capsule's call durations over time, oldest first.
func (w *watch) curve(id string) []point {
	w.mu.Lock()
	defer w.mu.Unlock()
	if k := w.curves[id]; k != nil {
		return append([]point(nil), k.points...)
	}
	return nil
}

// fact returns the settings of a capsule.
func (w *watch) fact(c *messages.Capsule) *facts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.factLocked(c)
}

func (w *watch) factLocked(c *messages.Capsule) *facts {
	if f := w.facts[c.ID]; f != nil && f.generation == c.Generation {
		return f
	}
	f := &facts{generation: c.Generation}
	if d, err := w.supervisor.Capsule(c.ID); err == nil {
		f.queue, f.module = d.QueueLimit, d.Module
		f.call, f.stop = d.CallTimeout, d.StopTimeout
	}
	w.facts[c.ID] = f
	return f
}

// events returns the last events after since that match, newest first, at most
// limit.
func (w *watch) events(f *frame, limit int, since uint64, match func(messages.Event) bool) []messages.Event {
	last := f.tree.Sequence
	if last == 0 || since >= last {
		return nil
	}
	var found []messages.Event
	for e := range w.supervisor.Events(context.Background(), since) {
		if match == nil || match(e) {
			found = append(found, e)
		}
		if e.Sequence >= last {
			break
		}
	}
	out := make([]messages.Event, 0, min(limit, len(found)))
	for i := len(found) - 1; i >= 0 && len(out) < limit; i-- {
		out = append(out, found[i])
	}
	return out
}
