package sim

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/metrics"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// audit follows the events with a model of its own: what may follow what, how
// much of its budget a capsule has spent, when it is due. Its methods may be
// called from any goroutine; those that answer catch up first.
type audit struct {
	w *world

	mu       sync.Mutex
	last     uint64 // the last event that was read
	at       time.Time
	began    time.Time
	started  bool
	ended    bool
	capsules map[string]*account
	sessions map[string]*session
	all      []string // the sessions, in the order of their beginning
	story    []string // the events as lines
}

// session is what one session UUID stands for.
type session struct {
	of         *account
	generation uint64
	over       bool
}

// account is what the events have told of one capsule.
type account struct {
	*capsule
	state      messages.CapsuleState
	generation uint64
	session    string
	sequence   uint64
	starts     int // Loading events that are called for, and have not come
	failure    *messages.CapsuleFailure
	readyAt    time.Time
	decided    bool
	restarts   uint64
	spentShown uint32
	history    []stateAt
	settledAt  time.Time         // when its first start came to hold up nobody any more
	crashes    map[string]uint64 // by kind
	restartsBy map[string]uint64 // the same, an operator's under "operator"

	// Of what is due.
	due    time.Time // the next load; zero where nobody can know
	cause  string    // of that
	stopAt time.Time // when an operator's command, or the end of all, came to end the instance; zero where none did

	// The account of its policy.
	up      time.Duration
	spent   []time.Duration
	attempt int
	spell   time.Duration // how long the last instance was up
}

func (a *account) String() string {
	return fmt.Sprintf("%s/%d %s", a.id, a.generation, a.state.Word())
}

func (a *account) isDown() bool {
	return a.state == messages.CapsuleState_CAPSULE_STATE_STOPPED || a.state == messages.CapsuleState_CAPSULE_STATE_FAILED
}

// stateAt is the state that an event has put a capsule into.
type stateAt struct {
	sequence uint64
	at       time.Time
	state    messages.CapsuleState
}

func newAudit(w *world) *audit {
	a := &audit{w: w, capsules: map[string]*account{}, sessions: map[string]*session{}}
	for _, c := range w.capsules {
		a.capsules[c.id] = &account{
			capsule: c, state: messages.CapsuleState_CAPSULE_STATE_LOADING, starts: 1,
			crashes: map[string]uint64{}, restartsBy: map[string]uint64{},
		}
	}
	return a
}

// catchUp reads the events that there are.
func (a *audit) catchUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
}

func (a *audit) catchUpLocked() {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	for e := range a.w.sys.Events(now, a.last) {
		if e.GetSequence() != a.last+1 {
			a.w.fail("event %d follows %d", e.GetSequence(), a.last)
		}
		if at := e.GetAt().AsTime(); at.Before(a.at) {
			a.w.fail("event %d is older than the one before it", e.GetSequence())
		}
		a.last, a.at = e.GetSequence(), e.GetAt().AsTime()
		a.story = append(a.story, fmt.Sprintf("%v %s %s", a.at.Sub(a.began), e.GetPath(), supervisortest.Line(e)))
		a.enter(e)
	}
}

func (a *audit) enter(e *messages.Event) {
	if a.ended {
		a.w.fail("event %d after the end: %v", e.GetSequence(), e)
	}
	switch what := e.GetWhat().(type) {
	case *messages.Event_SystemStarted:
		a.started = true
		return
	case *messages.Event_SystemStopping:
		if !a.w.stopping.Load() {
			a.w.fail("it stops, and nobody has told it to")
		}
		return
	case *messages.Event_SystemStopped:
		a.ended = true
		if left := what.SystemStopped.GetLeftRunning(); len(left) > 0 {
			a.w.fail("left running: %v", left)
		}
		return
	case *messages.Event_ActorRestarted, *messages.Event_TriggerAnswered:
		return
	}
	id, _ := strings.CutPrefix(e.GetPath(), "capsules/")
	c := a.capsules[id]
	if c == nil {
		a.w.fail("event %d is about nobody: %v", e.GetSequence(), e)
		return
	}
	c.sequence = e.GetSequence()
	defer func() {
		c.history = append(c.history, stateAt{e.GetSequence(), a.at, c.state})
		switch e.GetWhat().(type) {
		case *messages.Event_CapsuleReady, *messages.Event_ReadinessTimedOut, *messages.Event_CapsuleCrashed,
			*messages.Event_CapsuleFailed, *messages.Event_CapsuleStopped:
			if !c.settled() {
				c.settledAt = a.at
			}
		}
	}()
	a.w.tally.add("event " + strings.TrimPrefix(fmt.Sprintf("%T", e.GetWhat()), "*messages.Event_"))
	if problem := a.capsuleEvent(c, e); problem != "" {
		a.w.fail("%s after %v: %s", supervisortest.Line(e), c, problem)
	}
}

// capsuleEvent enters one event of a capsule, and says what is wrong with it.
func (a *audit) capsuleEvent(c *account, e *messages.Event) string {
	const (
		loading  = messages.CapsuleState_CAPSULE_STATE_LOADING
		starting = messages.CapsuleState_CAPSULE_STATE_STARTING
		ready    = messages.CapsuleState_CAPSULE_STATE_READY
		crashed  = messages.CapsuleState_CAPSULE_STATE_CRASHED
		failed   = messages.CapsuleState_CAPSULE_STATE_FAILED
		stopping = messages.CapsuleState_CAPSULE_STATE_STOPPING
		stopped  = messages.CapsuleState_CAPSULE_STATE_STOPPED
	)
	was := c.state
	at := e.GetAt().AsTime()
	in := func(states ...messages.CapsuleState) bool { return slices.Contains(states, was) }
	problem := ""
	check := func(ok bool, format string, args ...any) {
		if !ok && problem == "" {
			problem = fmt.Sprintf(format, args...)
		}
	}
	if e.GetCapsuleLoading() == nil {
		check(e.GetGeneration() == c.generation, "it is about generation %d", e.GetGeneration())
	}
	switch what := e.GetWhat().(type) {
	case *messages.Event_CapsuleLoading:
		check(e.GetGeneration() == c.generation+1, "generation %d follows %d", e.GetGeneration(), c.generation)
		check(c.starts > 0, "nobody has decided that")
		slack := time.Duration(0)
		if c.failure.GetKind() == "panic" { // then the instance is closed only now, which takes its time
			slack = 20 * ms
		}
		if late := at.Sub(c.due); !c.due.IsZero() && (late < 0 || late > slack) {
			check(false, "it was due %v ago", late)
		}
		check(c.cause != "" || a.mayStart(c), "it waits for others") // unless an operator starts it
		a.interruptedBy(c, at, check)
		a.close(c)
		c.starts, c.due = 0, time.Time{}
		c.state, c.generation = loading, e.GetGeneration()
	case *messages.Event_CapsuleStarting:
		check(in(loading) && c.loop, "a capsule that is no loop, or does not load")
		c.state = starting
		a.open(c, what.CapsuleStarting.GetSession())
	case *messages.Event_CapsuleReady:
		s := what.CapsuleReady.GetSession()
		if c.loop {
			check(in(starting) && s == c.session, "a loop that does not start, or has another session")
		} else {
			check(in(loading), "it does not load")
			a.open(c, s)
		}
		c.state, c.readyAt, c.decided = ready, at, true
	case *messages.Event_ReadinessTimedOut:
		check(in(starting), "it does not start")
		c.decided = true
	case *messages.Event_CapsuleCrashed:
		check(in(loading, starting, ready, stopping), "it does not live")
		a.close(c)
		c.failure = what.CapsuleCrashed.GetFailure()
		c.crashes[c.failure.GetKind()]++
		c.spell = 0
		if !c.readyAt.IsZero() && c.failure.GetKind() != "panic" {
			c.spell = at.Sub(c.readyAt)
		}
		c.state, c.readyAt = crashed, time.Time{}
	case *messages.Event_RestartScheduled:
		s := what.RestartScheduled
		c.cause = s.GetCause()
		if c.cause == "an operator's command" {
			c.spent, c.attempt, c.due = nil, 0, time.Time{}
			c.readyAt = time.Time{}
			check(s.GetDelay().AsDuration() == 0 && s.GetBudgetSpent() == 0, "an operator's restart waits, or costs")
			check(!in(stopping), "it is stopping")
			c.starts, c.stopAt = 1, at
			c.restartsBy["operator"]++
		} else {
			check(in(crashed), "it has not crashed")
			c.restarts++
			c.starts++
			c.restartsBy[c.failure.GetKind()]++
			c.due = at.Add(s.GetDelay().AsDuration())
			a.checkRestart(c, s, check)
		}
		c.spentShown = s.GetBudgetSpent()
	case *messages.Event_CapsuleFailed:
		check(in(crashed), "it has not crashed")
		check(c.starts == 0, "a restart was scheduled")
		restart, _ := a.verdict(c, true)
		check(!restart && !(c.ownEnd() && c.policy.Mode != supervisor.Permanent), "the policy would restart it: %d spent of %d", len(c.spent), c.policy.Budget)
		c.state, c.decided = failed, true
	case *messages.Event_CapsuleStopping:
		check(!in(failed, stopped, stopping), "it does not live")
		c.state, c.starts, c.due, c.stopAt = stopping, 0, time.Time{}, at
	case *messages.Event_CapsuleStopped:
		switch {
		case in(crashed) && strings.HasPrefix(what.CapsuleStopped.GetCause(), "it ended by itself"):
			check(c.ownEnd() && c.policy.Mode != supervisor.Permanent, "it did not end by itself")
		case in(loading) && c.generation == 0: // it has never started
		case in(stopping), in(crashed):
		default:
			check(false, "it is not stopping")
		}
		a.interruptedBy(c, at, check)
		a.close(c)
		c.state, c.readyAt, c.starts, c.due, c.decided = stopped, time.Time{}, 0, time.Time{}, true
	default:
		check(false, "unknown")
	}
	return problem
}

// mayStart says whether all that a capsule waits for has had its first start.
func (a *audit) mayStart(c *account) bool {
	for n, other := range a.w.capsules {
		if (slices.Contains(c.imports, n) || (other.uplink && !c.uplink)) && !a.capsules[other.id].settled() {
			return false
		}
	}
	return true
}

// settled says whether the first start holds up nobody any more.
func (a *account) settled() bool { return !a.settledAt.IsZero() }

// checkStarts checks, when nothing else runs, that nobody waits without need.
func (a *audit) checkStarts() {
	a.mu.Lock()
	defer a.mu.Unlock()
	places, waiting, all := 2*runtime.GOMAXPROCS(0), 0, true
	for _, c := range a.capsules {
		switch {
		case c.settled():
			if time.Since(c.settledAt) <= 20*ms {
				return // it may be closing still, and its supervisor not know
			}
			continue
		case len(c.history) > 0:
			places--
			if at := c.history[len(c.history)-1]; c.state == messages.CapsuleState_CAPSULE_STATE_STARTING && time.Since(at.at) > a.w.cfg.ReadyTimeout {
				a.w.fail("%v has been so for %v, and nobody said that it is not ready in time", c, time.Since(at.at))
			}
		case a.mayStart(c):
			waiting++
		}
		all = false
	}
	if a.w.stopping.Load() {
		return
	}
	if places > 0 && waiting > 0 {
		a.w.fail("%d capsules could start, there are %d places, and they do not", waiting, places)
	}
	if all != a.started {
		a.w.fail("all first starts are settled: %v; the event says %v", all, a.started)
	}
}

// interruptedBy checks that what had to end has ended within its stop time-out.
// Some guests do not heed it for 300 ms, and take 20 ms to close.
func (a *audit) interruptedBy(c *account, at time.Time, check func(bool, string, ...any)) {
	if took := at.Sub(c.stopAt); !c.stopAt.IsZero() && took > c.stopTimeout+320*ms {
		check(false, "it has taken %v to end, with a stop time-out of %v", took, c.stopTimeout)
	}
	c.stopAt = time.Time{}
}

// ownEnd says whether the capsule ended by itself without an error.
func (a *account) ownEnd() bool {
	f := a.failure
	return f.GetKind() == "exit" && (strings.Contains(f.GetMessage(), "ended by itself") || f.GetMessage() == "exit: exit 0")
}

// checkRestart holds a restart after a death against the policy.
func (a *audit) checkRestart(c *account, s *messages.RestartScheduled, check func(bool, string, ...any)) {
	blameless := s.GetCause() == "a trigger's deadline"
	check(blameless == strings.HasSuffix(c.failure.GetMessage(), "the trigger's deadline passed"), "the cause is not why it died: %s", c.failure.GetMessage())
	if blameless {
		a.verdict(c, true)
		check(s.GetDelay().AsDuration() == 0, "it waits, and is not to blame")
		return
	}
	restart, delay := a.verdict(c, false)
	check(restart && !(c.ownEnd() && c.policy.Mode == supervisor.Transient), "the policy does not restart it: %d spent of %d, %s", len(c.spent), c.policy.Budget, c.policy.Mode)
	check(int(s.GetBudgetSpent()) == len(c.spent) && int(s.GetBudget()) == c.policy.Budget, "spent %d of %d, the model says %d of %d",
		s.GetBudgetSpent(), s.GetBudget(), len(c.spent), c.policy.Budget)
	check(int(s.GetAttempt()) == c.attempt, "attempt %d, the model says %d", s.GetAttempt(), c.attempt)
	got := s.GetDelay().AsDuration()
	check(got <= delay && got >= delay-delay/5, "the delay is %v, the model says %v less a fifth at most", got, delay)
}

// verdict accounts for a death, and says whether a restart is left, and after
// which delay at most. It spends it unless it only looks.
func (a *audit) verdict(c *account, look bool) (restart bool, delay time.Duration) {
	c.up += c.spell
	if c.spell >= c.policy.Window {
		c.attempt = 0
	}
	c.spell = 0
	c.spent = slices.DeleteFunc(c.spent, func(at time.Duration) bool { return c.up-at >= c.policy.Window })
	if c.policy.Mode == supervisor.Temporary || len(c.spent) >= c.policy.Budget {
		return false, 0
	}
	if look {
		return true, 0
	}
	c.spent = append(c.spent, c.up)
	c.attempt++
	steps := c.attempt - 2
	if a.w.cfg.Restart.EagerBackoff {
		steps++
	}
	if steps < 0 {
		return true, 0
	}
	delay = c.policy.InitialBackoff
	for range steps {
		delay = min(2*delay, c.policy.MaxBackoff)
	}
	return true, delay
}

// open and close begin and end the session of a capsule.
func (a *audit) open(c *account, id string) {
	if id == "" || a.sessions[id] != nil {
		a.w.fail("%v has the session %q, which is not new", c, id)
	}
	c.session = id
	a.sessions[id] = &session{of: c, generation: c.generation}
	a.all = append(a.all, id)
}

func (a *audit) close(c *account) {
	if s := a.sessions[c.session]; s != nil {
		s.over = true
	}
	c.session = ""
}

// note adds a line to the story.
func (a *audit) note(line string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	a.story = append(a.story, fmt.Sprintf("%v\t%s", time.Since(a.began), line))
}

// loading: a load begins.
func (a *audit) loading(c *capsule, generation uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	if v := a.capsules[c.id]; v.generation != generation || (v.state != messages.CapsuleState_CAPSULE_STATE_LOADING && v.state != messages.CapsuleState_CAPSULE_STATE_STOPPING) {
		a.w.fail("load %d begins of %v", generation, v)
	}
}

// asked: a call begins. Only Ready capsules are asked.
func (a *audit) asked(g *guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	if v := a.capsules[g.id]; v.generation != g.generation || (v.state != messages.CapsuleState_CAPSULE_STATE_READY && v.state != messages.CapsuleState_CAPSULE_STATE_STOPPING) {
		a.w.fail("generation %d was asked of %v", g.generation, v)
	}
}

// running: a loop begins.
func (a *audit) running(g *guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	v := a.capsules[g.id]
	ok := v.state == messages.CapsuleState_CAPSULE_STATE_STARTING || v.state == messages.CapsuleState_CAPSULE_STATE_STOPPING ||
		v.state == messages.CapsuleState_CAPSULE_STATE_CRASHED // killed before it has begun
	if v.generation != g.generation || !ok {
		a.w.fail("generation %d runs of %v", g.generation, v)
	}
}

// died says whether the events tell of the end of a generation, or of its beginning.
func (a *audit) died(c *capsule, generation uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := a.capsules[c.id]
	return v.generation > generation || v.state != messages.CapsuleState_CAPSULE_STATE_READY || v.starts > 0
}

// now is the number of the last event, and whether the system had started by then.
func (a *audit) now() (sequence uint64, started bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	return a.last, a.started
}

// since returns the states that a capsule was in from an event on. Where it has
// crashed and no restart was decided, it is as good as failed.
func (a *audit) since(c *capsule, sequence uint64) []messages.CapsuleState {
	a.mu.Lock()
	defer a.mu.Unlock()
	states := []messages.CapsuleState{messages.CapsuleState_CAPSULE_STATE_LOADING}
	for _, at := range a.capsules[c.id].history {
		if at.sequence <= sequence {
			states = states[:0]
		}
		states = append(states, at.state)
	}
	if v := a.capsules[c.id]; v.state == messages.CapsuleState_CAPSULE_STATE_CRASHED && v.starts == 0 {
		states = append(states, messages.CapsuleState_CAPSULE_STATE_FAILED)
	}
	return states
}

// hadEnded says whether a capsule had ended before now, for good until now.
func (a *audit) hadEnded(c *capsule) bool {
	v := a.view(c)
	return v.isDown() && v.history[len(v.history)-1].at.Before(time.Now())
}

// view is a copy of what is known of a capsule.
func (a *audit) view(c *capsule) *account {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	v := *a.capsules[c.id]
	return &v
}

// anySession returns one of the sessions that there ever were, and whose it was.
func (a *audit) anySession(r *rand.Rand) (string, *account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	if len(a.all) == 0 {
		return "", nil
	}
	id := a.all[max(0, len(a.all)-1-r.IntN(6))]
	return id, a.sessions[id].of
}

// holds says whether a session has not ended.
func (a *audit) holds(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	return !a.sessions[id].over
}

// lives says whether a session has not ended, and is not about to.
func (a *audit) lives(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	s := a.sessions[id]
	return !s.over && s.of.state != messages.CapsuleState_CAPSULE_STATE_STOPPING
}

// checkSessions has the registry asked for the last sessions, when nothing
// changes: it agrees with the events.
func (a *audit) checkSessions(ctx context.Context, g *guest) {
	a.mu.Lock()
	a.catchUpLocked()
	want := map[string]bool{}
	for _, id := range a.all[max(0, len(a.all)-12):] {
		want[id] = !a.sessions[id].over && a.sessions[id].of.grants
	}
	a.mu.Unlock()
	for id, allowed := range want {
		if got := g.world.Peers().CheckCapability(ctx, id, "allow_prompt_injection"); got != allowed {
			a.w.fail("all is calm: the registry says %v of a session of %v, the events %v", got, a.sessions[id].of, allowed)
		}
	}
}

// compare holds a snapshot against the events up to it. Nothing else may run.
func (a *audit) compare(tree *messages.Tree) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	if tree.GetSequence() != a.last {
		a.w.fail("the snapshot is of event %d, the last one is %d", tree.GetSequence(), a.last)
	}
	nested := uint64(0)
	for _, got := range tree.GetCapsules() {
		c := a.capsules[got.GetId()]
		nested += c.capsule.asked.Load()
		show := func(state messages.CapsuleState, generation uint64, session string, restarts uint64, spent uint32, decided bool, failure string) string {
			return fmt.Sprintf("%s, generation %d, session %q, %d restarts, %d spent, decided %v, failure %q", state.Word(), generation, session, restarts, spent, decided, failure)
		}
		g := show(got.GetState(), got.GetGeneration(), got.GetSession(), got.GetRestarts(), got.GetBudgetSpent(), got.GetDecided(), got.GetLastFailure().GetMessage())
		w := show(c.state, c.generation, c.session, c.restarts, c.spentShown, c.decided, c.failure.GetMessage())
		if g != w {
			a.w.fail("the snapshot has %s: %s\nthe events say: %s", c.id, g, w)
		}
		if due := got.GetRestartAt(); (due != nil) != (c.starts > 0 && c.generation > 0) {
			a.w.fail("the snapshot says %v for the restart of %v, of which %d are due", due, c, c.starts)
		}
		if n := int(got.GetQueue()); n > c.queue {
			a.w.fail("%d calls wait at %s, whose queue is %d", n, c.id, c.queue)
		}
		if !maps.Equal(got.GetCrashes(), c.crashes) || !maps.Equal(got.GetRestartsByKind(), c.restartsBy) {
			a.w.fail("the snapshot counts of %s the crashes %v, the restarts %v; the events %v, %v", c.id, got.GetCrashes(), got.GetRestartsByKind(), c.crashes, c.restartsBy)
		}
		if c.loop {
			continue
		}
		if n := c.capsule.calls.Load(); got.GetCalls() != n || got.GetCallDuration().Count() != n {
			a.w.fail("%d calls are counted of %s, %d timed, which were %d", got.GetCalls(), c.id, got.GetCallDuration().Count(), n)
		}
		if busy := c.inside.Load(); (got.GetBusy() != nil) != busy {
			a.w.fail("the snapshot shows %s busy for %v, and it is: %v", c.id, got.GetBusy(), busy)
		}
	}
	if got := tree.GetNestedTriggers(); got != nested {
		a.w.fail("%d nested triggers are counted, and there were %d", got, nested)
	}
}

// metrics holds what Prometheus would see against the events.
func (a *audit) metrics(source metrics.Source) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.New(metrics.Config{Source: source}))
	families, err := registry.Gather()
	if err != nil {
		a.w.fail("metrics: %v", err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "astrid_actors_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	want := map[string]float64{"triggers_open": 0, "wait_edges": 0, "triggers_total outside": float64(a.w.answered.Load())}
	for id, c := range a.capsules {
		want["capsule_state "+id+" "+c.state.Word()] = 1
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
