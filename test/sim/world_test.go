package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// world is one simulation.
type world struct {
	seed  uint64
	cfg   supervisor.Config
	drawn []*drawn
	// harsh: the system's own actors may also fail on a message, which is lost.
	harsh  bool
	lives  bool     // its set of capsules changes
	broken []string // the actors that must fail; belongs to the saboteur

	tally    *tally
	capsules []*capsule
	sys      *supervisortest.System
	audit    *audit
	bus      *busAudit

	calm     atomic.Bool // faults have ended
	stopping atomic.Bool
	inFlight atomic.Int64
	answered atomic.Uint64
	tick     atomic.Uint64

	mu       sync.Mutex
	problems []string
	cleanups []func()
	home     string
}

func newWorld(seed uint64, home string, t *tally) *world {
	w := &world{seed: seed, home: home, tally: t}
	w.drawSystem()
	w.cfg.Home = home
	w.cfg.Log = slog.New(slog.NewJSONHandler(logWatch{w}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	for n, d := range w.drawn {
		c := &capsule{drawn: d, w: w, index: n, last: map[string]turn{}}
		w.capsules = append(w.capsules, c)
		if c.life.absent = d.spare; !d.spare {
			w.cfg.Capsules = append(w.cfg.Capsules, c.of(&version{number: "1.0.0"}))
		}
	}
	w.audit, w.bus = newAudit(w), newBusAudit(w)
	w.cfg.Store = &fenced{store.NewMemory(), w}
	return w
}

// fail records a broken promise.
func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.problems) < 20 {
		w.problems = append(w.problems, fmt.Sprintf(format, args...))
	}
}

func (w *world) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.problems) > 0
}

// The world is the supervisortest.TB of its system: the failures that it reports are
// recorded like others, and its clean-ups run inside the bubble.

func (w *world) Helper()                           {}
func (w *world) Errorf(format string, args ...any) { w.fail(format, args...) }
func (w *world) Fatalf(format string, args ...any) { w.fail(format, args...); panic(errFatal) }
func (w *world) Cleanup(f func())                  { w.cleanups = append(w.cleanups, f) }
func (w *world) TempDir() string                   { return w.home }

var errFatal = errors.New("the simulation can't go on")

// run runs the whole simulation, inside a bubble.
func (w *world) run() {
	defer func() {
		if reason := recover(); reason != nil && reason != errFatal { //nolint:errorlint // the value with which Fatalf panics
			panic(reason)
		}
		for _, f := range w.cleanups {
			f()
		}
	}()
	w.sys = supervisortest.New(w, w.cfg)
	w.sys.Patience = time.Hour
	w.audit.began = time.Now()
	w.sys.Launch()
	r := w.rng("world", 0)
	var actors sync.WaitGroup
	for n := range 1 + r.IntN(5) {
		actors.Go(func() { w.client(n) })
	}
	actors.Go(w.operator)
	if w.lives {
		actors.Go(w.living)
	}
	actors.Go(w.publisher)
	var letters sync.WaitGroup // it ends with Serve
	letters.Go(func() { w.letters(context.Background()) })
	actors.Go(w.saboteur)
	early := chance(r, 30) // the end comes in the middle of it
	for range 2 + r.IntN(8) {
		w.sleep(context.Background(), r, pick(r, 10*ms, 500*ms, 3*time.Second))
		w.check()
		if w.failed() {
			break
		}
	}
	if !early && !w.failed() {
		actors.Wait()
		w.recover()
	}
	w.shutdown()
	actors.Wait()
	letters.Wait()
	w.check()
	if w.seed%8 == 0 {
		w.audit.metrics(w.sys)
	}
}

// check runs between two steps: nothing else runs.
func (w *world) check() {
	synctest.Wait()
	tree := w.sys.Snapshot()
	w.audit.compare(tree)
	w.audit.checkStarts()
	w.audit.checkDenials()
	w.bus.checkSkips()
	if open, inFlight := tree.OpenTriggers, w.inFlight.Load(); int64(open) != inFlight {
		w.fail("%d triggers are open, and %d are not answered", open, inFlight)
	}
	if got, want := tree.Triggers, w.answered.Load()+uint64(w.inFlight.Load()); got != want {
		w.fail("%d triggers were accepted, and %d answered or in flight", got, want)
	}
}

// recover ends all faults: each capsule that has not failed for good is Ready when its
// backoff is over, and serves.
func (w *world) recover() {
	w.calm.Store(true)
	for _, path := range w.broken { // actors that must fail on a message, and have received none
		w.sys.FailActor(path)
	}
	synctest.Wait()
	longest := time.Duration(0)
	for _, c := range w.capsules {
		longest = max(longest, c.policy.MaxBackoff)
	}
	// Some calls, loops and loads still have to end.
	patience := longest + w.cfg.LoadTimeout + w.cfg.TriggerTimeout + busPatience
	var restless []*account
	// Once more for a loop that was prepared before, and has taken over since; and if an actor
	// that must fail has waited for its restart, and fails after that.
	for range 2 + 2*len(w.broken) {
		for _, c := range w.capsules {
			if c.loop { // it may hang
				_ = w.sys.Kill(context.Background(), c.id) // refused if it does not run
			}
		}
		<-time.After(patience)
		w.check()
		if restless = w.restless(); len(restless) == 0 {
			break
		}
	}
	for _, v := range restless {
		w.fail("%v, although faults have ceased long ago", v)
	}
	ready := w.ready()
	w.bus.check(ready)
	began := time.Now()
	w.probe("client-probe", 1, "probe.all", ready)
	for n, c := range ready { // one after the other: no capsule waits
		if reply := w.probe("client-fan", uint64(n+1), "fan."+c.id, ready); reply != nil {
			w.checkFan(reply, c, ready)
		}
	}
	var storm sync.WaitGroup // and all at once: each waits for all others
	for n, c := range ready {
		for i := range 2 {
			storm.Go(func() { w.probe("client-storm-"+c.id+fmt.Sprint(i), uint64(n+1), "fan."+c.id, ready) })
		}
	}
	storm.Wait()
	if took := time.Since(began); took != 0 {
		w.fail("triggers that ask for no time took %v", took)
	}
	if n := w.sys.Snapshot().WaitEdges; n != 0 {
		w.fail("all is calm, and %d legs are waited for", n)
	}
	w.check()
}

// restless returns the capsules that are neither up again nor ended for good.
func (w *world) restless() []*account {
	var out []*account
	for _, c := range w.capsules {
		if v := w.audit.view(c); !v.gone && v.state != messages.StateReady && !v.isDown() {
			out = append(out, v)
		}
	}
	return out
}

// ready returns the capsules that serve.
func (w *world) ready() []*capsule {
	var out []*capsule
	for _, c := range w.capsules {
		if v := w.audit.view(c); !v.gone && v.state == messages.StateReady && !c.loop {
			out = append(out, c)
		}
	}
	return out
}

// probe triggers while there are no faults: exactly the Ready capsules answer.
func (w *world) probe(by string, n uint64, topic string, ready []*capsule) *messages.Reply {
	reply := w.ask(nil, by, n, topic)
	if reply == nil {
		return nil
	}
	for _, leg := range reply.Legs {
		serves := false
		for _, c := range ready {
			serves = serves || c.id == leg.Capsule
		}
		answers := leg.Outcome == messages.OutcomeContinue || leg.Outcome == messages.OutcomeFinal
		if serves != answers && leg.Outcome != messages.OutcomeOverloaded {
			w.fail("all is calm: %s is %s (%s) for %s", leg.Capsule, leg.Outcome.String(), leg.Reason, topic)
		}
	}
	return reply
}

// checkFan checks that a capsule that triggered all others has answers from all.
func (w *world) checkFan(reply *messages.Reply, c *capsule, ready []*capsule) {
	var v answer
	for _, leg := range reply.Legs {
		if leg.Capsule == c.id && leg.Action == "fan" {
			_ = json.Unmarshal(leg.Value, &v) // checked before
		}
	}
	if v.Capsule == "" {
		return // its queue was full
	}
	heard := map[string]bool{}
	for _, kid := range v.Kids {
		var k answer
		_ = json.Unmarshal(kid, &k) // checked before
		heard[k.Capsule] = true
	}
	for _, other := range ready {
		if other != c && other.queue > 10 && !heard[other.id] {
			w.fail("all is calm: %s asked all, and has not heard from %s", c.id, other.id)
		}
	}
}

// shutdown ends Serve.
func (w *world) shutdown() {
	w.stopping.Store(true)
	began := time.Now()
	if err := w.sys.Close(); err != nil {
		w.fail("%v", err)
	}
	longest := w.cfg.StopTimeout
	for _, c := range w.capsules {
		longest = max(longest, c.stopTimeout)
	}
	if took := time.Since(began); took > longest+time.Second { // some guests can't be interrupted for a while
		w.fail("the shutdown took %v", took)
	}
	for _, c := range w.capsules {
		if v := w.audit.view(c); !v.gone && !v.isDown() {
			w.fail("%v after the end", v)
		}
	}
}
