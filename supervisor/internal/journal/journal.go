package journal

import (
	"context"
	"maps"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/messages"
)

// Journal is the single source of snapshots and events. Each event is entered once: it
// then receives its number, changes the snapshots, and wakes the readers. Its methods
// may be called from any goroutine, and never wait for a reader.
type Journal struct {
	cfg Config

	mu       sync.Mutex
	live     Live             // nil before Serve
	kept     []messages.Event // the last events; kept[oldest] is the oldest
	oldest   int
	sequence uint64
	epoch    string
	changed  chan struct{} // closed at the next event
	ended    bool          // Serve has returned: no event comes until it is called again

	started     time.Time
	stopping    bool
	restarts    map[string]uint64 // of our own actors
	lost        uint64            // events that readers were too late for
	capsules    map[string]*capsule
	groups      map[string]*group // by path
	groupOrder  []*group
	order       []string                   // capsule ids in start order
	rejected    []messages.CapsuleRejected // directories that are rejected
	generations map[string]uint64          // of capsules that were removed: if they are added again, these go on
	histories   map[string]*history        // of the versions of capsules, by id, also of those that were removed
	undecided   int
	allDecided  chan struct{} // closed once undecided is 0, or Serve has returned before
	unfinished  error         // why it was closed before; else nil

	triggers atomic.Uint64 // accepted triggers from outside
	open     atomic.Int64
	process  process

	// Triggers counts the triggers that were sent.
	Triggers actors.TriggerStats
	// Bus counts the messages of the event bus.
	Bus actors.BusStats
}

// Config describes a journal.
type Config struct {
	// Kept is the number of past events that readers can read.
	Kept int
	// Settings and Principal are copied into snapshots.
	Settings  messages.Settings
	Principal string
	// FileLost returns how many events the events file has lost; nil if there is no
	// file.
	FileLost func() uint64
}

// Live returns the parts of a snapshot that come from the running tree. It must not
// block.
type Live interface {
	// Queue returns how many calls wait at a capsule.
	Queue(id string) int
	// InstanceQueue returns how many calls wait at one instance of a pool.
	InstanceQueue(id string, number int) int
	// Awaited returns how many legs capsules wait for.
	Awaited() int
	// ShowBus fills in the subscriptions of the event bus.
	ShowBus(b *messages.Bus)
	// ShowState adds how much durable state a capsule keeps.
	ShowState(c *messages.Capsule)
	// ShowStore adds the store of all durable state.
	ShowStore(t *messages.Tree)
}

// rejectedShown limits the rejected directories in a snapshot.
const rejectedShown = 100

// capsule is one capsule's state, as its events imply it.
type capsule struct {
	shown    *messages.Capsule        // never handed out: snapshots copy it
	ready    time.Time                // zero unless Ready
	spent    []time.Duration          // the restarts that count against its budget: its uptime when each was scheduled
	uptime   time.Duration            // of earlier times in Ready
	rejected bool                     // it is only listed, and can't be started
	failures []messages.FailureRecord // the last ones, oldest first
	log      LogTail
	stats    actors.CallStats

	instances []*capsule  // of a pool, by number; nil without one
	parent    *capsule    // the pool whose instance it is; nil without one
	gone      bool        // it is an instance that its pool does not have now
	spentAt   []time.Time // a pool's restarts that count against its budget

	unreported uint64    // suppressed log lines that no event has reported yet
	reported   time.Time // when the last such event was entered
}

// New returns a journal without events.
func New(cfg Config) *Journal {
	j := &Journal{
		cfg: cfg, epoch: uuid.NewString(), changed: make(chan struct{}), restarts: map[string]uint64{},
		capsules: map[string]*capsule{}, groups: map[string]*group{}, generations: map[string]uint64{}, histories: map[string]*history{}, allDecided: make(chan struct{}),
	}
	j.Triggers.Observe, j.Bus.Observe = j.Observe, j.Observe
	return j
}

// Enter adds a capsule, in start order, before its first event: in place of one that was
// only listed as rejected.
func (j *Journal) Enter(c *messages.Capsule) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if old := j.capsules[c.ID]; old != nil {
		if !old.rejected {
			return
		}
		j.removeLocked(old, 0)
	}
	c.Generation = j.generations[c.ID]
	delete(j.generations, c.ID)
	if c.Version != "" {
		j.historyLocked(c.ID).add(messages.VersionRecord{At: time.Now(), Change: added, Version: c.Version})
	}
	j.capsules[c.ID] = &capsule{shown: c}
	j.order = append(j.order, c.ID)
	j.undecided++
}

// Observe enters an event, which the journal owns from then on.
func (j *Journal) Observe(e messages.Event) {
	now := time.Now()
	j.mu.Lock()
	j.sequence++
	e.Sequence, e.At = j.sequence, now
	j.applyLocked(&e, now)
	if len(j.kept) < j.cfg.Kept {
		j.kept = append(j.kept, e)
	} else {
		j.kept[j.oldest] = e
		j.oldest = (j.oldest + 1) % j.cfg.Kept
	}
	close(j.changed)
	j.changed = make(chan struct{})
	j.mu.Unlock()
}

// applyLocked updates the state that snapshots copy.
func (j *Journal) applyLocked(e *messages.Event, now time.Time) {
	switch e.Detail.(type) {
	case messages.SystemStarted:
		j.idlePoolsLocked(e, now)
		j.decideLocked(nil)
		return
	case messages.TriggerAnswered, messages.LogSuppressed, messages.DeadLetter, messages.ApprovalRequested, messages.ApprovalDecided:
		return
	case messages.SystemStopping:
		j.stopping = true
		return
	case messages.ActorRestarted:
		j.restarts[e.Path]++
		return
	}
	if g := j.groups[e.Path]; g != nil {
		g.apply(e, now)
		return
	}
	j.countDeathLocked(e, now)
	j.rememberLocked(e)
	c := j.capsules[e.Child()]
	if c == nil {
		if rejected, ok := e.Detail.(messages.CapsuleRejected); ok && len(j.rejected) < rejectedShown {
			j.rejected = append(j.rejected, rejected)
		}
		return
	}
	if _, removed := e.Detail.(messages.CapsuleRemoved); removed {
		j.removeLocked(c, e.Generation)
		return
	}
	if n := e.Instance(); n > 0 && c.isPool() {
		c.shown.Generation = max(c.shown.Generation, e.Generation)
		if _, loads := e.Detail.(messages.CapsuleLoading); loads {
			c.shown.State = messages.StateLoading // it may have failed before
		}
		c = c.instance(n)
		c.gone = false
	}
	m, whole := c.shown, c.whole()
	m.Generation = max(m.Generation, e.Generation)
	switch what := e.Detail.(type) {
	case messages.CapsuleRejected:
		m.LastFailure = &messages.Failure{Kind: "bad_manifest", Message: what.Problem, At: e.At}
		c.rejected = true
		j.moveLocked(c, messages.StateFailed, "its manifest was rejected", e, now)
	case messages.CapsuleLoading:
		m.RestartAt, m.Session = time.Time{}, ""
		j.moveLocked(c, messages.StateLoading, "", e, now)
	case messages.CapsuleStarting:
		m.Session = what.Session
		m.RunLoop = true
		j.moveLocked(c, messages.StateStarting, "", e, now)
	case messages.CapsuleReady:
		m.Session = what.Session
		j.moveLocked(c, messages.StateReady, "", e, now)
	case messages.ReadinessTimedOut:
		j.decideLocked(c)
	case messages.CapsuleUpgraded:
		m.Session, m.RestartAt = what.Session, time.Time{}
		if m.State != messages.StateCrashed && m.State != messages.StateStopped && m.State != messages.StateFailed {
			count(&whole.shown.RestartsByKind, kindOperator) // else it was scheduled as a restart
		}
		c.spent, whole.spentAt = nil, nil
		j.moveLocked(c, messages.StateReady, "", e, now)
	case messages.CapsuleRolledBack:
		whole.decided("rolled back to version " + what.To)
	case messages.CapsuleCrashed:
		m.Session, m.LastFailure = "", &what.Failure
		whole.shown.LastFailure = m.LastFailure
		whole.crashed(e.Generation, what)
		j.moveLocked(c, messages.StateCrashed, what.Failure.Message, e, now)
	case messages.RestartScheduled:
		s := what
		if s.Cause == messages.CauseCrash { // no other cause counts against the budget
			c.spent = append(c.spent, c.uptime)
			whole.spentAt = append(whole.spentAt, now)
		}
		whole.spentAt = whole.spentAt[max(0, len(whole.spentAt)-int(s.BudgetSpent)):]
		c.spent = c.spent[max(0, len(c.spent)-int(s.BudgetSpent)):]
		if e.Generation == m.Generation { // else the event was on its way already
			m.RestartAt = (now.Add(s.Delay))
		}
		kind := kindOperator
		whole.shown.Because = ""
		switch s.Cause {
		case messages.CauseOperator:
		case messages.CauseStrategy:
			whole.shown.Restarts++
			whole.shown.Because = s.Because()
			kind = kindStrategy
		default:
			whole.shown.Restarts++
			kind = "" // for example a deadline before any failure
			if m.LastFailure != nil {
				kind = m.LastFailure.Kind
			}
			whole.decided(restartDecision(s))
		}
		count(&whole.shown.RestartsByKind, kind)
	case messages.PoolScaled:
		if n := int(what.Instance); n > 0 {
			c.scaled(n, int(what.Instances))
		}
		if what.Instances == 0 && (what.Instance == 0 || m.State != messages.StateStopped && m.State != messages.StateFailed) {
			j.moveLocked(c, messages.StateReady, idleReason, e, now)
		}
	case messages.CapsuleFailed:
		m.LastFailure = &what.Failure
		whole.decided(what.Decision)
		j.moveLocked(c, messages.StateFailed, what.Decision, e, now)
	case messages.CapsuleStopping:
		m.RestartAt = time.Time{}
		j.moveLocked(c, messages.StateStopping, what.Cause, e, now)
	case messages.CapsuleStopped:
		m.Session, m.RestartAt = "", time.Time{}
		j.moveLocked(c, messages.StateStopped, what.Cause, e, now)
	}
}

// Redescribe records that a known capsule has another version: what its manifest says,
// and the hash of its module.
func (j *Journal) Redescribe(now *messages.Capsule, hash string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.capsules[now.ID]
	if c == nil {
		return
	}
	m := c.shown
	m.Version, m.Directory, m.Interceptors, m.ModuleHash = now.Version, now.Directory, now.Interceptors, hash
	m.Restart, m.Budget, m.Window, m.MemoryLimitBytes = now.Restart, now.Budget, now.Window, now.MemoryLimitBytes
	m.InstancesMin, m.InstancesMax = now.InstancesMin, now.InstancesMax
}

// Reject enters the event that a directory can't become a capsule, and lists it, unless
// the journal has it already with the same problem.
func (j *Journal) Reject(r messages.CapsuleRejected) {
	j.mu.Lock()
	if c := j.capsules[r.ID]; c != nil && c.rejected && c.shown.LastFailure.Message == r.Problem {
		j.mu.Unlock()
		return
	}
	j.mu.Unlock()
	j.Enter(&messages.Capsule{Path: actors.CapsulePath(r.ID), ID: r.ID, Directory: r.Directory})
	j.Observe(messages.Event{Path: actors.CapsulePath(r.ID), Detail: r})
}

// Unreject forgets the directories that were rejected, and are not any more.
func (j *Journal) Unreject(still func(dir string) bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rejected = slices.DeleteFunc(j.rejected, func(r messages.CapsuleRejected) bool { return !still(r.Directory) })
	for _, c := range j.capsules {
		if c.rejected && !still(c.shown.Directory) {
			j.removeLocked(c, 0)
		}
	}
}

// Unlist forgets a capsule that is only listed as rejected.
func (j *Journal) Unlist(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if c := j.capsules[id]; c != nil && c.rejected {
		j.removeLocked(c, 0)
	}
}

// Withdraw forgets a capsule that was entered, and then could not be added.
func (j *Journal) Withdraw(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if c := j.capsules[id]; c != nil {
		j.removeLocked(c, c.shown.Generation)
	}
}

// removeLocked forgets a capsule. Its log ends.
func (j *Journal) removeLocked(c *capsule, generation uint64) {
	id := c.shown.ID
	if generation > 0 {
		j.generations[id] = generation
	}
	j.decideLocked(c)
	c.log.end(true)
	delete(j.capsules, id)
	j.order = slices.DeleteFunc(j.order, func(other string) bool { return other == id })
}

// moveLocked changes a capsule's state.
func (j *Journal) moveLocked(c *capsule, state messages.CapsuleState, reason string, e *messages.Event, now time.Time) {
	c.shown.State, c.shown.Since, c.shown.Reason = state, e.At, reason
	c.uptime, c.ready = c.upLocked(now), time.Time{}
	switch state {
	case messages.StateReady:
		c.ready = now
		j.decideLocked(c)
	case messages.StateFailed, messages.StateStopped:
		c.shown.RestartAt = time.Time{}
		j.decideLocked(c)
	}
}

// upLocked returns how long the capsule has been up, over all its instances.
func (c *capsule) upLocked(now time.Time) time.Duration {
	if c.ready.IsZero() {
		return c.uptime
	}
	return c.uptime + now.Sub(c.ready)
}

// spentLocked returns how many of the spent restarts still count: those within the last
// window of uptime.
func (c *capsule) spentLocked(now time.Time) uint32 {
	up, window := c.upLocked(now), c.shown.Window
	over := sort.Search(len(c.spent), func(i int) bool { return up-c.spent[i] < window })
	return uint32(len(c.spent) - over) //nolint:gosec // a count
}

// decideLocked records that a capsule's first start has a result.
func (j *Journal) decideLocked(c *capsule) {
	if c != nil && !c.shown.Decided {
		c.shown.Decided = true
		if c.parent != nil {
			j.decidePoolLocked(c.parent)
			return
		}
		j.undecided--
	}
	if j.undecided == 0 && !j.started.IsZero() && !isClosed(j.allDecided) {
		close(j.allDecided)
	}
}

// Rejection returns why a capsule that is only listed can't be started; "" for others.
func (j *Journal) Rejection(id string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if c := j.capsules[id]; c != nil && c.rejected {
		return c.shown.LastFailure.Message
	}
	return ""
}

// OpenTrigger counts a trigger from outside. If too many are open it returns true, and
// counts nothing.
func (j *Journal) OpenTrigger(limit int64) (full bool) {
	for open := j.open.Load(); ; open = j.open.Load() {
		if open >= limit {
			return true
		}
		if j.open.CompareAndSwap(open, open+1) { // the count never exceeds the limit
			break
		}
	}
	j.triggers.Add(1)
	return false
}

// CloseTrigger ends a trigger that OpenTrigger counted.
func (j *Journal) CloseTrigger() { j.open.Add(-1) }

// Begin begins one Serve.
func (j *Journal) Begin(live Live) {
	j.mu.Lock()
	defer j.mu.Unlock()
	again := !j.started.IsZero()
	j.live = live
	j.started, j.stopping, j.ended = time.Now(), false, false
	j.endLogsLocked()
	for _, c := range j.capsules {
		c.spent, c.spentAt = nil, nil // every Serve begins with full budgets
	}
	for _, g := range j.groupOrder {
		g.begin(j.started)
	}
	if isClosed(j.allDecided) {
		j.allDecided, j.unfinished = make(chan struct{}), nil
	}
	if again {
		j.undecided = 0
		for _, c := range j.capsules {
			for _, i := range c.instances {
				i.shown.Decided = false
			}
			if !c.rejected {
				c.shown.Decided = false
				j.undecided++
			}
		}
	}
}

// End ends one Serve: no event comes until the next Begin. err is why AwaitStarted fails
// if it still waits.
func (j *Journal) End(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended = true
	if !isClosed(j.allDecided) {
		j.unfinished = err
		close(j.allDecided)
	}
	j.endLogsLocked()
	close(j.changed)
	j.changed = make(chan struct{})
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// Snapshot returns a copy of the current state.
func (j *Journal) Snapshot() *messages.Tree {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	tree := &messages.Tree{
		At: now, Sequence: j.sequence, Epoch: j.epoch, Stopping: j.stopping,
		Triggers: j.triggers.Load(), OpenTriggers: uint64(max(0, j.open.Load())),
		EventsLost: j.lost, Settings: j.cfg.Settings, Principal: j.cfg.Principal,
		SystemRestarts: make(map[string]uint64, len(j.restarts)),
		Capsules:       make([]*messages.Capsule, 0, len(j.order)),
		Rejected:       slices.Clone(j.rejected),
	}
	if !j.started.IsZero() {
		tree.Started = (j.started)
	}
	maps.Copy(tree.SystemRestarts, j.restarts)
	for _, id := range j.order {
		c := j.capsules[id]
		shown := j.copyLocked(c, now)
		tree.Capsules = append(tree.Capsules, shown)
		tree.LogSuppressed += shown.LogSuppressed
	}
	for _, g := range j.groupOrder {
		tree.Supervisors = append(tree.Supervisors, g.copy(now))
	}
	j.Triggers.Show(tree)
	j.Bus.Show(&tree.Bus)
	j.process.show(tree)
	if j.live != nil {
		tree.WaitEdges = uint64(j.live.Awaited()) //nolint:gosec // a count
		j.live.ShowBus(&tree.Bus)
		j.live.ShowStore(tree)
	}
	if j.cfg.FileLost != nil {
		tree.EventsFileLost = j.cfg.FileLost()
	}
	return tree
}

// copyLocked returns a deep copy of one capsule's state.
func (j *Journal) copyLocked(c *capsule, now time.Time) *messages.Capsule {
	out := c.shown.Clone()
	out.BudgetSpent = c.spentLocked(now)
	if !c.ready.IsZero() {
		out.Uptime = now.Sub(c.ready)
	}
	if c.isPool() {
		j.showPoolLocked(c, out, now)
	} else {
		c.stats.Show(out)
	}
	if j.live != nil {
		out.Queue = uint32(j.live.Queue(out.ID)) //nolint:gosec // a count
		j.live.ShowState(out)
	}
	return out
}

// AwaitStarted waits until every capsule's first start has a result, or End.
func (j *Journal) AwaitStarted(ctx context.Context) error {
	j.mu.Lock()
	allDecided := j.allDecided
	j.mu.Unlock()
	select {
	case <-allDecided:
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.unfinished
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
