package supervisor

import (
	"context"
	"maps"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/messages"
)

// record is the one source of what is seen from outside: each event is entered
// once, and in that moment gets its number, changes what snapshots show, and
// wakes whoever reads along. Its methods may be called from any goroutine, and
// never wait for a reader.
type record struct {
	log zerolog.Logger

	mu        sync.Mutex
	live      live              // what else snapshots ask; nil before Serve
	kept      []*messages.Event // the last ones, oldest first at kept[oldest]
	oldest    int
	capacity  int
	sequence  uint64
	settings  *messages.Settings // never changed
	principal string
	changed   chan struct{} // closed at the next event
	ended     bool          // Serve has returned: no event will come until it is called again

	started    time.Time
	stopping   bool
	restarts   map[string]uint64 // of our own actors
	lost       uint64            // events that readers came too late for
	file       func() uint64     // events that the events file has lost; nil without one
	capsules   map[string]*capsuleRecord
	order      []string                    // capsule ids in start order
	rejected   []*messages.CapsuleRejected // what is none of capsules; never changed
	undecided  int
	allDecided chan struct{} // closed once undecided is 0

	traffic  actors.Traffic
	triggers atomic.Uint64 // from outside, accepted
	open     atomic.Int64
	process  process
}

// live is what a snapshot asks of the tree that runs. It must not block.
type live interface {
	queue(id string) int
	awaited() int
}

// rejectedShown is how many of what can't become a capsule snapshots show.
const rejectedShown = 100

// capsuleRecord is what the events have told of one capsule.
type capsuleRecord struct {
	shown    *messages.Capsule         // never handed out: snapshots copy it
	ready    time.Time                 // zero unless Ready
	spent    []time.Duration           // the restarts of its budget that count: what up was when each was scheduled
	up       time.Duration             // how much it has been up, before ready
	rejected bool                      // it is only shown: there is nothing to start
	failures []*messages.FailureRecord // the last ones, oldest first; entries are replaced, not changed
	log      logTail
	activity actors.Activity

	unreported uint64    // suppressed log lines that no event has told of yet
	reported   time.Time // when one last did
}

func newRecord(kept int, log zerolog.Logger) *record {
	r := &record{
		log: log, capacity: kept, changed: make(chan struct{}), restarts: map[string]uint64{},
		capsules: map[string]*capsuleRecord{}, allDecided: make(chan struct{}),
	}
	r.traffic.Observe = r.observe
	return r
}

// enter makes a capsule known, in start order, before anything happens to it.
func (r *record) enter(c *messages.Capsule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.capsules[c.GetId()] != nil {
		return
	}
	r.capsules[c.GetId()] = &capsuleRecord{shown: c}
	r.order = append(r.order, c.GetId())
	r.undecided++
}

// observe enters an event, which belongs to the record from then on.
func (r *record) observe(e *messages.Event) {
	now := time.Now()
	r.mu.Lock()
	r.sequence++
	e.Sequence, e.At = r.sequence, timestamppb.New(now)
	r.applyLocked(e, now)
	if len(r.kept) < r.capacity {
		r.kept = append(r.kept, e)
	} else {
		r.kept[r.oldest] = e
		r.oldest = (r.oldest + 1) % r.capacity
	}
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
	logEvent(&r.log, e)
}

// applyLocked changes what snapshots show.
func (r *record) applyLocked(e *messages.Event, now time.Time) {
	switch e.GetWhat().(type) {
	case *messages.Event_SystemStarted, *messages.Event_TriggerAnswered, *messages.Event_LogSuppressed:
		return
	case *messages.Event_SystemStopping:
		r.stopping = true
		return
	case *messages.Event_ActorRestarted:
		r.restarts[e.GetPath()]++
		return
	}
	c := r.capsules[capsuleID(e.GetPath())]
	if c == nil {
		if rejected := e.GetCapsuleRejected(); rejected != nil && len(r.rejected) < rejectedShown {
			r.rejected = append(r.rejected, rejected)
		}
		return
	}
	m := c.shown
	m.Generation = max(m.GetGeneration(), e.GetGeneration())
	switch what := e.GetWhat().(type) {
	case *messages.Event_CapsuleRejected:
		m.LastFailure = &messages.CapsuleFailure{Kind: "bad_manifest", Message: what.CapsuleRejected.GetProblem(), At: e.GetAt()}
		c.rejected = true
		r.moveLocked(c, messages.CapsuleState_CAPSULE_STATE_FAILED, "its manifest was rejected", e, now)
	case *messages.Event_CapsuleLoading:
		m.RestartAt, m.Session = nil, ""
		r.moveLocked(c, messages.CapsuleState_CAPSULE_STATE_LOADING, "", e, now)
	case *messages.Event_CapsuleStarting:
		m.Session = what.CapsuleStarting.GetSession()
		m.RunLoop = true
		r.moveLocked(c, messages.CapsuleState_CAPSULE_STATE_STARTING, "", e, now)
	case *messages.Event_CapsuleReady:
		m.Session = what.CapsuleReady.GetSession()
		r.moveLocked(c, messages.CapsuleState_CAPSULE_STATE_READY, "", e, now)
	case *messages.Event_ReadinessTimedOut:
		r.decideLocked(c)
	case *messages.Event_CapsuleCrashed:
		m.Session, m.LastFailure = "", what.CapsuleCrashed.GetFailure()
		c.crashed(e.GetGeneration(), what.CapsuleCrashed)
		r.moveLocked(c, messages.CapsuleState_CAPSULE_STATE_CRASHED, what.CapsuleCrashed.GetFailure().GetMessage(), e, now)
	case *messages.Event_RestartScheduled:
		s := what.RestartScheduled
		if s.GetCause() == causeCrash { // no other costs one
			c.spent = append(c.spent, c.up)
		}
		c.spent = c.spent[max(0, len(c.spent)-int(s.GetBudgetSpent())):]
		if e.GetGeneration() == m.GetGeneration() { // else it was on its way already, and has come
			m.RestartAt = timestamppb.New(now.Add(s.GetDelay().AsDuration()))
		}
		kind := kindOperator
		if s.GetCause() != causeOperator {
			m.Restarts++
			kind = m.GetLastFailure().GetKind()
			c.decided(restartDecision(s))
		}
		count(&m.RestartsByKind, kind)
	case *messages.Event_CapsuleFailed:
		m.LastFailure = what.CapsuleFailed.GetFailure()
		c.decided(what.CapsuleFailed.GetDecision())
		r.moveLocked(c, messages.CapsuleState_CAPSULE_STATE_FAILED, what.CapsuleFailed.GetDecision(), e, now)
	case *messages.Event_CapsuleStopping:
		m.RestartAt = nil
		r.moveLocked(c, messages.CapsuleState_CAPSULE_STATE_STOPPING, what.CapsuleStopping.GetCause(), e, now)
	case *messages.Event_CapsuleStopped:
		m.Session, m.RestartAt = "", nil
		r.moveLocked(c, messages.CapsuleState_CAPSULE_STATE_STOPPED, what.CapsuleStopped.GetCause(), e, now)
	}
}

// moveLocked puts a capsule into a state.
func (r *record) moveLocked(c *capsuleRecord, state messages.CapsuleState, reason string, e *messages.Event, now time.Time) {
	c.shown.State, c.shown.Since, c.shown.Reason = state, e.GetAt(), reason
	c.up, c.ready = c.upLocked(now), time.Time{}
	switch state {
	case messages.CapsuleState_CAPSULE_STATE_READY:
		c.ready = now
		r.decideLocked(c)
	case messages.CapsuleState_CAPSULE_STATE_FAILED, messages.CapsuleState_CAPSULE_STATE_STOPPED:
		c.shown.RestartAt = nil
		r.decideLocked(c)
	}
}

// upLocked is how long the capsule has been up, all its lives together.
func (c *capsuleRecord) upLocked(now time.Time) time.Duration {
	if c.ready.IsZero() {
		return c.up
	}
	return c.up + now.Sub(c.ready)
}

// spentLocked is how many of the spent restarts still count: those of the last
// window of time up.
func (c *capsuleRecord) spentLocked(now time.Time) uint32 {
	up, window := c.upLocked(now), c.shown.GetWindow().AsDuration()
	over := sort.Search(len(c.spent), func(i int) bool { return up-c.spent[i] < window })
	return uint32(len(c.spent) - over) //nolint:gosec // a count
}

// decideLocked notes that a capsule's first start has been decided.
func (r *record) decideLocked(c *capsuleRecord) {
	if c != nil && !c.shown.GetDecided() {
		c.shown.Decided = true
		r.undecided--
	}
	select {
	case <-r.allDecided:
	default:
		if r.undecided == 0 && !r.started.IsZero() {
			close(r.allDecided)
		}
	}
}

// rejection is why a capsule that is only shown can't be started; "" for others.
func (r *record) rejection(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.capsules[id]; c != nil && c.rejected {
		return c.shown.GetLastFailure().GetMessage()
	}
	return ""
}

// openTrigger and closeTrigger count triggers; full says that too many are open.
func (r *record) openTrigger(limit int64) (full bool) {
	for open := r.open.Load(); ; open = r.open.Load() {
		if open >= limit {
			return true
		}
		if r.open.CompareAndSwap(open, open+1) { // never seen above the limit
			break
		}
	}
	r.triggers.Add(1)
	return false
}

func (r *record) closeTrigger() { r.open.Add(-1) }

// begin and end frame one Serve.
func (r *record) begin(live live) {
	r.mu.Lock()
	defer r.mu.Unlock()
	again := !r.started.IsZero()
	r.live = live
	r.started, r.stopping, r.ended = time.Now(), false, false
	r.endLogsLocked()
	for _, c := range r.capsules {
		c.spent = nil // every Serve begins with whole budgets
	}
	if again && r.undecided == 0 {
		r.allDecided = make(chan struct{})
		for _, c := range r.capsules {
			if !c.rejected {
				c.shown.Decided = false
				r.undecided++
			}
		}
	}
	r.decideLocked(nil)
}

func (r *record) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.endLogsLocked()
	close(r.changed)
	r.changed = make(chan struct{})
}

// snapshot copies what there is to see now.
func (r *record) snapshot() *messages.Tree {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	tree := &messages.Tree{
		At: timestamppb.New(now), Sequence: r.sequence, Stopping: r.stopping,
		Triggers: r.triggers.Load(), OpenTriggers: uint64(max(0, r.open.Load())),
		EventsLost: r.lost, Settings: r.settings, Principal: r.principal,
		SystemRestarts: make(map[string]uint64, len(r.restarts)),
		Capsules:       make([]*messages.Capsule, 0, len(r.order)),
		Rejected:       slices.Clone(r.rejected),
	}
	if !r.started.IsZero() {
		tree.Started = timestamppb.New(r.started)
	}
	maps.Copy(tree.SystemRestarts, r.restarts)
	for _, id := range r.order {
		c := r.capsules[id]
		shown := r.copyLocked(c, now)
		tree.Capsules = append(tree.Capsules, shown)
		tree.LogSuppressed += shown.GetLogSuppressed()
	}
	r.traffic.Show(tree)
	r.process.show(tree)
	if r.live != nil {
		tree.WaitEdges = uint64(r.live.awaited()) //nolint:gosec // a count
	}
	if r.file != nil {
		tree.EventsFileLost = r.file()
	}
	return tree
}

func (r *record) copyLocked(c *capsuleRecord, now time.Time) *messages.Capsule {
	m := c.shown
	out := &messages.Capsule{
		Path: m.Path, Id: m.Id, Version: m.Version, State: m.State, Generation: m.Generation, Session: m.Session,
		Restarts: m.Restarts, LastFailure: m.LastFailure, Since: m.Since, Interceptors: m.Interceptors,
		RunLoop: m.RunLoop, Restart: m.Restart, Budget: m.Budget, BudgetSpent: c.spentLocked(now), Window: m.Window,
		RestartAt: m.RestartAt, Decided: m.Decided, Reason: m.Reason,
		Crashes: maps.Clone(m.Crashes), RestartsByKind: maps.Clone(m.RestartsByKind),
		LogSuppressed: m.LogSuppressed, ModuleHash: m.ModuleHash, Directory: m.Directory,
		MemoryLimitBytes: m.MemoryLimitBytes,
	}
	if !c.ready.IsZero() {
		out.Uptime = durationpb.New(now.Sub(c.ready))
	}
	c.activity.Show(out)
	if r.live != nil {
		out.Queue = uint32(r.live.queue(out.Id)) //nolint:gosec // a count
	}
	return out
}

// awaitStarted waits until every capsule's first start has been decided.
func (r *record) awaitStarted(ctx context.Context) error {
	r.mu.Lock()
	allDecided := r.allDecided
	r.mu.Unlock()
	select {
	case <-allDecided:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
