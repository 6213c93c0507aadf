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
	// updateEvery is how often at most browsers hear of what has happened.
	updateEvery = 250 * time.Millisecond
	// lookEvery is how often numbers are looked at while nothing happens.
	lookEvery = time.Second
	// stepEvery is how far apart the points of a curve are, and how often we look
	// where nobody watches.
	stepEvery = 5 * time.Second
	// steps is how many points a curve has.
	steps = 60
)

// frame is what is known at one moment. It is never changed.
type frame struct {
	tree      *messages.Tree
	taken     monotime.Time // which the wall clock does not change
	now       time.Time     // by the wall clock, as all times in tree
	byID      map[string]*messages.Capsule
	triggers  float64            // a second
	calls     map[string]float64 // a second, by capsule; those without are left out
	restarts  uint64             // in the last hour
	attention []*attention
	trouble   map[string]*attention // the same, by capsule
	next      chan struct{}         // closed when there is a newer frame
}

// watch takes the snapshots that all browsers share, and remembers what a
// snapshot can't tell: rates, and how call durations have been.
type watch struct {
	supervisor *supervisor.Supervisor
	watchers   atomic.Int64
	wake       chan struct{} // something has happened, or somebody has come

	mu      sync.Mutex
	current *frame
	bases   [2]*messages.Tree // rates are counted from the first, which is at least one step old once it can be
	curves  map[string]*curve
	totals  []total // of restarts, a minute apart, of the last hour
	facts   map[string]*facts
	ours    map[string]*messages.Event // when an actor of the system itself last failed, by path
}

// curve is how a capsule's calls were, oldest first, one point a step.
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

// facts are what a capsule's manifest says, as of one generation.
type facts struct {
	generation uint64
	queue      uint32
	call       time.Duration // its limit; 0 is none
	stop       time.Duration
	module     string
}

func newWatch(s *supervisor.Supervisor) *watch {
	w := &watch{
		supervisor: s, wake: make(chan struct{}, 1), curves: map[string]*curve{}, facts: map[string]*facts{},
		ours: map[string]*messages.Event{},
	}
	w.look()
	return w
}

// run looks until ctx ends: at once where something has happened and somebody
// watches, but never more than a tenth of the time.
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

// follow wakes run at every event, and remembers what snapshots don't tell.
func (w *watch) follow(ctx context.Context) {
	var since uint64
	for ctx.Err() == nil {
		for e := range w.supervisor.Events(ctx, since) {
			since = e.GetSequence()
			w.note(e)
			w.poke()
		}
		select { // Serve has returned, and may be called again
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
	}
}

func (w *watch) note(e *messages.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.GetActorRestarted() != nil {
		w.ours[e.GetPath()] = e
	}
}

func (w *watch) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// enter and leave frame the time that somebody watches.
func (w *watch) enter() {
	w.watchers.Add(1)
	w.poke()
}

func (w *watch) leave() { w.watchers.Add(-1) }

// frame is the newest one.
func (w *watch) frame() *frame {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current
}

// fresh is a frame that is no older than an update.
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

// show makes a snapshot that was taken then the newest frame.
func (w *watch) show(tree *messages.Tree, taken monotime.Time) *frame {
	f := &frame{
		tree: tree, taken: taken, now: tree.GetAt().AsTime(), byID: make(map[string]*messages.Capsule, len(tree.GetCapsules())),
		calls: map[string]float64{}, trouble: map[string]*attention{}, next: make(chan struct{}),
	}
	for _, c := range tree.GetCapsules() {
		f.byID[c.GetId()] = c
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.current != nil && f.taken < w.current.taken {
		return w.current // somebody else was faster
	}
	if w.current != nil && f.now.Before(w.current.now) {
		// The clock was set back: what was counted by it is counted anew.
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

// stepLocked moves what rates and curves are counted from.
func (w *watch) stepLocked(f *frame) {
	base := w.bases[1]
	if base != nil && f.now.Sub(base.GetAt().AsTime()) < stepEvery {
		return
	}
	w.bases = [2]*messages.Tree{base, f.tree}
	if base == nil {
		return
	}
	for i, c := range f.tree.GetCapsules() {
		if i >= len(base.GetCapsules()) || base.GetCapsules()[i].GetId() != c.GetId() {
			continue // the order of capsules never changes while one program runs
		}
		since := difference(c.GetCallDuration(), base.GetCapsules()[i].GetCallDuration())
		k := w.curves[c.GetId()]
		if k == nil {
			if since.Count() == 0 {
				continue // most never had a call
			}
			k = &curve{}
			w.curves[c.GetId()] = k
		}
		p := point{calls: since.Count(), p50: since.Quantile(0.5), p99: since.Quantile(0.99)}
		k.points = append(k.points, p)
		if len(k.points) > steps {
			k.points = append(k.points[:0], k.points[1:]...)
		}
	}
}

// difference is what a histogram has counted since another one.
func difference(h, since *messages.Histogram) *messages.Histogram {
	d := &messages.Histogram{Buckets: append([]uint64(nil), h.GetBuckets()...)}
	for k, n := range since.GetBuckets() {
		if k < len(d.Buckets) {
			d.Buckets[k] -= min(n, d.Buckets[k])
		}
	}
	return d
}

func (w *watch) ratesLocked(f *frame) {
	var restarts uint64
	for _, c := range f.tree.GetCapsules() {
		restarts += c.GetRestarts()
	}
	if n := len(w.totals); n == 0 || f.now.Sub(w.totals[n-1].at) >= time.Minute {
		w.totals = append(w.totals, total{f.now, restarts})
	}
	for len(w.totals) > 1 && f.now.Sub(w.totals[0].at) > time.Hour {
		w.totals = w.totals[1:]
	}
	f.restarts = restarts
	if first := w.totals[0]; f.now.Sub(f.tree.GetStarted().AsTime()) > time.Hour {
		f.restarts -= min(first.restarts, restarts)
	}
	base := w.bases[0]
	if base == nil {
		base = w.bases[1]
	}
	seconds := f.now.Sub(base.GetAt().AsTime()).Seconds()
	if seconds < 0.2 { // too soon to tell
		return
	}
	f.triggers = float64(f.tree.GetTriggers()-min(base.GetTriggers(), f.tree.GetTriggers())) / seconds
	for i, c := range f.tree.GetCapsules() {
		if i < len(base.GetCapsules()) && base.GetCapsules()[i].GetId() == c.GetId() {
			if n := c.GetCalls() - min(c.GetCalls(), base.GetCapsules()[i].GetCalls()); n > 0 {
				f.calls[c.GetId()] = float64(n) / seconds
			}
		}
	}
}

// curve is how a capsule's calls were, oldest first.
func (w *watch) curve(id string) []point {
	w.mu.Lock()
	defer w.mu.Unlock()
	if k := w.curves[id]; k != nil {
		return append([]point(nil), k.points...)
	}
	return nil
}

// fact is what the manifest of a capsule says.
func (w *watch) fact(c *messages.Capsule) *facts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.factLocked(c)
}

func (w *watch) factLocked(c *messages.Capsule) *facts {
	if f := w.facts[c.GetId()]; f != nil && f.generation == c.GetGeneration() {
		return f
	}
	f := &facts{generation: c.GetGeneration()}
	if d, err := w.supervisor.Capsule(c.GetId()); err == nil {
		f.queue, f.module = d.GetQueueLimit(), d.GetModule()
		f.call, f.stop = d.GetCallTimeout().AsDuration(), d.GetStopTimeout().AsDuration()
	}
	w.facts[c.GetId()] = f
	return f
}

// events are the last ones that match, newest first: at most limit, and none up
// to the one numbered since.
func (w *watch) events(f *frame, limit int, since uint64, match func(*messages.Event) bool) []*messages.Event {
	last := f.tree.GetSequence()
	if last == 0 || since >= last {
		return nil
	}
	var found []*messages.Event
	for e := range w.supervisor.Events(context.Background(), since) {
		if match == nil || match(e) {
			found = append(found, e)
		}
		if e.GetSequence() >= last {
			break
		}
	}
	out := make([]*messages.Event, 0, min(limit, len(found)))
	for i := len(found) - 1; i >= 0 && len(out) < limit; i-- {
		out = append(out, found[i])
	}
	return out
}
