package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// TestTrees runs random trees of groups and pools. The audit (treeaudit_test.go) follows
// the events with a model of its own.
func TestTrees(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64, home string, reached *tally) {
		newForest(seed, home, reached).simulate(t)
	})
}

// forest is one simulation of a tree. It is the supervisortest.TB of its system.
type forest struct {
	seed  uint64
	cfg   supervisor.Config
	tally *tally
	home  string
	sys   *supervisortest.System
	audit *treeAudit

	top      *treeGroup
	groups   []*treeGroup
	capsules []*treeCapsule

	calm     atomic.Bool // faults have ended
	stopping atomic.Bool
	clocks   int64

	mu       sync.Mutex
	problems []string
	cleanups []func()
}

func newForest(seed uint64, home string, reached *tally) *forest {
	f := &forest{seed: seed, home: home, tally: reached}
	f.draw()
	f.audit = newTreeAudit(f)
	return f
}

func (f *forest) Helper()          {}
func (f *forest) Cleanup(g func()) { f.cleanups = append(f.cleanups, g) }
func (f *forest) TempDir() string  { return f.home }
func (f *forest) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.problems) < 20 {
		f.problems = append(f.problems, fmt.Sprintf(format, args...))
	}
}

func (f *forest) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	panic(errFatal)
}

func (f *forest) failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.problems) > 0
}

func (f *forest) rng(who string, n uint64) *rand.Rand {
	return (&world{seed: f.seed}).rng("tree "+who, n)
}

func (f *forest) simulate(t *testing.T) {
	defer func() {
		if reason := recover(); reason != nil { // a bubble in which all goroutines are blocked
			f.Errorf("%v", reason)
		}
		if f.failed() {
			story := f.audit.story
			if *seeds > 1 {
				if len(f.audit.broken) > 0 {
					story = story[:f.audit.broken[0]+1]
				}
				story = story[max(0, len(story)-40):]
			}
			t.Errorf("seed %d:\n%s\ntree:%s\nevents:\n\t%s\nagain: go test -race ./test/sim -run TestTrees -seeds 1 -first %d",
				f.seed, strings.Join(f.problems, "\n"), f.top.describe(), strings.Join(story, "\n\t"), f.seed)
		}
	}()
	synctest.Test(t, func(*testing.T) { f.run() })
}

// run runs the whole simulation, inside a bubble.
func (f *forest) run() {
	defer func() {
		if reason := recover(); reason != nil && reason != errFatal { //nolint:errorlint // the value with which Fatalf panics
			panic(reason)
		}
		for _, g := range f.cleanups {
			g()
		}
	}()
	f.sys = supervisortest.New(f, f.cfg)
	f.sys.Patience = time.Hour
	f.audit.began = time.Now()
	f.sys.Launch()
	r, clock := f.rng("world", 0), f.clock()
	var actors sync.WaitGroup
	for n := range 1 + r.IntN(4) {
		own := f.clock()
		actors.Go(func() { f.client(n, own) })
	}
	own := f.clock()
	actors.Go(func() { f.operator(own) })
	for range 2 + r.IntN(5) {
		clock.sleep(between(r, 0, 3*time.Second))
		f.check()
		if f.failed() {
			break
		}
	}
	if chance(r, 75) && !f.failed() && !f.audit.isEscalated() {
		actors.Wait()
		f.recover(clock)
	}
	f.shutdown(clock)
	actors.Wait()
	f.check()
}

// check runs between two steps: nothing else runs.
func (f *forest) check() {
	synctest.Wait()
	f.audit.compare(f.sys.Snapshot())
}

// everybody begins the names of triggers that all capsules get. No guest hangs over one: the
// deadline would end several instances at one moment.
const everybody = "all "

// client sends one trigger after another.
func (f *forest) client(n int, clock *clock) {
	r := f.rng("client", uint64(n))
	for i := range 4 + r.IntN(16) {
		clock.sleep(between(r, 0, pick(r, 10*ms, time.Second)))
		principal := pick(r, "", "ada", "bob")
		if chance(r, 40) {
			f.ask(fmt.Sprintf("%s%d.%d", everybody, n, i), "all", principal, time.Hour)
		} else {
			f.ask(fmt.Sprintf("ask %d.%d", n, i), "ask."+pick(r, f.capsules...).id, principal, ticks(between(r, 100*ms, 5*time.Second)))
		}
		if f.stopping.Load() {
			return
		}
	}
}

// ask sends one trigger, and checks that it has one answer for each leg.
func (f *forest) ask(name, topic, principal string, patience time.Duration) *supervisor.Reply {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	complete, began := f.audit.isStarted(), time.Now()
	reply, err := f.sys.Trigger(ctx, supervisor.TriggerRequest{
		Topic: topic, Payload: fmt.Appendf(nil, "%q", name), Caller: &supervisor.Caller{Principal: principal},
	})
	if late := time.Since(began) - patience; late > 0 {
		f.Errorf("%s was answered %v after its deadline", name, late)
	}
	switch {
	case errors.Is(err, supervisor.ErrStopping), errors.Is(err, supervisor.ErrNotServing):
		if !f.stopping.Load() && !f.audit.isEscalated() {
			f.Errorf("%s: %v", name, err)
		}
		return nil
	case err != nil:
		f.Errorf("%s: %v", name, err)
		return nil
	}
	var got, want []string
	for _, c := range f.capsules {
		if topic == "all" || topic == "ask."+c.id {
			want = append(want, c.id)
		}
	}
	slices.Sort(want)
	for _, leg := range reply.Legs {
		got = append(got, leg.Capsule)
		f.checkLeg(name, leg, began)
	}
	if complete && !slices.Equal(got, want) {
		f.Errorf("%s has legs of %v, not of %v", name, got, want)
	}
	return reply
}

func (f *forest) checkLeg(name string, leg messages.Leg, began time.Time) {
	f.tally.add("leg " + leg.Outcome.String())
	c := f.capsule(leg.Capsule)
	served := c.servedBy(name)
	switch {
	case served > 1:
		f.Errorf("%s was served %d times by %s", name, served, c.id)
	case leg.Outcome == messages.OutcomeContinue:
		if want := fmt.Sprintf("%q", c.id+" "+name); string(leg.Value) != want || served != 1 {
			f.Errorf("%s: %s answers %s, having served %d", name, c.id, leg.Value, served)
		}
	case leg.Outcome == messages.OutcomeUnavailable:
		if served != 0 {
			f.Errorf("%s: %s is unavailable (%s), and has served it", name, c.id, leg.Reason)
		}
		f.audit.mayRefuse(c, began, fmt.Sprintf("%s: %s is unavailable: %s", name, c.id, leg.Reason))
	case leg.Outcome == messages.OutcomePending, leg.Outcome == messages.OutcomeOverloaded, leg.Outcome == messages.OutcomeDeadlock:
		f.Errorf("%s: %s is %s: %s", name, c.id, leg.Outcome.String(), leg.Reason)
	}
}

func (f *forest) capsule(id string) *treeCapsule {
	at := slices.IndexFunc(f.capsules, func(c *treeCapsule) bool { return c.id == id })
	return f.capsules[at]
}

// operator kills instances, and stops, starts and restarts groups and capsules, one after
// the other.
func (f *forest) operator(clock *clock) {
	r := f.rng("operator", 0)
	for range 4 + r.IntN(16) {
		clock.sleep(between(r, 0, pick(r, 1*ms, 100*ms, 2*time.Second)))
		if f.stopping.Load() {
			return
		}
		name := pick(r, f.capsules...).id
		switch what := r.IntN(100); {
		case what < 55:
			if c := f.capsule(name); c.most > 0 {
				name = fmt.Sprintf("%s#%d", name, 1+r.IntN(c.most))
			}
			_ = f.sys.Kill(context.Background(), name) // refused if it does not run
			continue
		case what < 60:
			f.audit.cause("fault")
			f.sys.FailActor(pick(r, "registry", "hook-router", "capsules"))
			continue
		case what < 85 && len(f.groups) > 0:
			name = pick(r, f.groups...).name
		}
		do := pick(r, "stop", "start", "start")
		if f.group(name) != nil {
			do = pick(r, "stop", "start", "start", "restart", "restart")
		}
		_ = f.command(do, name)
	}
}

// command carries one out, and tells the audit that it is under way.
func (f *forest) command(do, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	ended := f.audit.command(do, name)
	var err error
	switch do {
	case "stop":
		err = f.sys.Stop(ctx, name)
	case "start":
		err = f.sys.Start(ctx, name)
	default:
		err = f.sys.Restart(ctx, name)
	}
	ended(do == "stop" && err == nil)
	return err
}

func (f *forest) group(name string) *treeGroup {
	for _, g := range f.groups {
		if g.name == name {
			return g
		}
	}
	return nil
}

// recover ends all faults. When all backoffs are over, each capsule is up or has ended;
// then a start brings all of them up, and each answers.
func (f *forest) recover(clock *clock) {
	f.calm.Store(true)
	clock.sleep(2 * time.Minute)
	f.check()
	f.audit.settled()
	if f.failed() || f.audit.isEscalated() {
		return
	}
	for _, m := range f.top.members {
		clock.sleep(0)
		if err := f.command("start", m.called()); err != nil {
			f.Errorf("start %s: %v", m.called(), err)
		}
	}
	f.check()
	clock.sleep(0)
	reply := f.ask(everybody+"probe", "all", "ada", 5*time.Second)
	if reply == nil {
		f.Errorf("all is calm, and nobody answers")
		return
	}
	for _, leg := range reply.Legs {
		if leg.Outcome != messages.OutcomeContinue {
			f.Errorf("all is calm: %s is %s: %s", leg.Capsule, leg.Outcome.String(), leg.Reason)
		}
	}
	for _, c := range f.capsules {
		if c.ordered {
			f.checkOrdered(c)
		}
	}
	clock.sleep(2 * time.Minute) // elastic pools shrink
	f.check()
	f.audit.smallest()
}

// checkOrdered checks that one instance serves all calls of a principal, in their order.
func (f *forest) checkOrdered(c *treeCapsule) {
	for n := range c.most { // until an elastic pool has grown
		f.ask(fmt.Sprintf("grow.%d", n), "ask."+c.id, "", 5*time.Second)
	}
	generations := map[uint64]bool{}
	for n := range 5 {
		if reply := f.ask(fmt.Sprintf("ordered.%d", n), "ask."+c.id, "ada", 5*time.Second); reply != nil {
			generations[reply.Legs[0].Generation] = true
		}
	}
	if len(generations) != 1 {
		f.Errorf("%s: generations %v have served ada", c.id, generations)
	}
}

// shutdown ends Serve.
func (f *forest) shutdown(clock *clock) {
	clock.sleep(0)
	f.stopping.Store(true)
	f.audit.catchUp()
	err := f.sys.Close()
	f.audit.catchUp()
	escalated := f.audit.isEscalated()
	if escalated {
		f.tally.add("escalated to the top")
	}
	if errors.Is(err, supervisor.ErrEscalated) != escalated || err != nil && !escalated {
		f.Errorf("escalated: %v, and Serve returned %v", escalated, err)
	}
	for _, c := range f.capsules {
		if n := c.living.Load(); n != 0 {
			f.Errorf("%d instances of %s are left", n, c.id)
		}
	}
}
