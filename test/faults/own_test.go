package faults

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// A failure in the system itself, while triggers are open at every depth, costs no
// capsule its life: each trigger is answered, and what the actor knew is known again.
func TestOurOwnActorsFailInMidTrigger(t *testing.T) {
	for _, path := range []string{"registry", "hook-router", "capsules"} {
		for _, next := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/next=%v", path, next), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { ownActorFails(t, path, next) })
			})
		}
	}
}

func ownActorFails(t *testing.T, path string, next bool) {
	free := make(chan struct{})
	inner := supervisortest.Func("inner", "inner", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
		<-free
		return supervisortest.JSON("in")
	})
	var session string // of the inner one
	outer := supervisortest.Func("outer", "outer", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		values := c.Trigger(ctx, "inner", nil)
		return supervisortest.JSON([]any{values, c.Peers().CheckCapability(ctx, session, "allow_prompt_injection")})
	})
	inner.Manifest += "[capabilities]\nallow_prompt_injection = true\n"
	sys := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{fixture("counter")}}, inner, outer)
	session = sys.Capsule("inner").Session

	first := sys.Begin("outer", "") // inner is busy, outer waits for it
	synctest.Wait()
	second := sys.Begin("inner", "") // waits in the queue
	synctest.Wait()
	if next {
		sys.FailActorNext(path)
	} else {
		sys.FailActor(path)
	}
	synctest.Wait()
	close(free)
	got := slices.Concat(supervisortest.Legs(first()), supervisortest.Legs(second()))
	if d := cmp.Diff([]string{`outer continue [["in"],true]`, `inner continue "in"`}, got); d != "" && !next {
		t.Errorf("-want +got\n%s", d)
	}
	// With next, the question whether something is granted may be the message that is
	// lost: fail closed.
	if next && !slices.Contains([]string{`outer continue [["in"],true]`, `outer continue [["in"],false]`}, got[0]) {
		t.Errorf("got %s", got)
	}
	if next { // it has failed by now, or does over this
		_, _ = sys.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "inner"})
		_ = sys.Stop(t.Context(), "nobody")
		synctest.Wait()
	}
	sys.Expect("outer", "", `outer continue [["in"],true]`)
	sys.Expect("test.counter", "", `counter continue {"calls":1}`)
	for _, id := range []string{"inner", "outer", "counter"} {
		if d := cmp.Diff([]string{"loading 1", "ready 1"}, sys.Timeline(id)); d != "" {
			t.Errorf("%s (-want +got):\n%s", id, d)
		}
	}
	var restarted []string
	last := sys.Snapshot().Sequence
	for e := range sys.Events(t.Context(), 0) {
		if e.Name() == "actor_restarted" {
			restarted = append(restarted, e.Path+" "+supervisortest.Line(e))
		}
		if e.Sequence >= last {
			break
		}
	}
	if d := cmp.Diff([]string{path + " restarted: injected"}, restarted); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// The capsules supervisor fails in the decision about a death: here because the
// program's logger panics. The capsule comes back all the same; where it fails again
// and again, the capsule is given up. Neither leaves it standing still for ever.
func TestADecisionThatFails(t *testing.T) {
	for _, test := range []struct {
		panics int
		during string // part of the line over which the logger panics
		want   []string
		then   string
	}{
		{1, "capsule restarts", []string{
			"loading 1", "ready 1", "crashed 1 in call: trap", "restart 1/5 after crash", "restart 2/5 after crash", "loading 2", "ready 2",
		}, "a continue true"},
		{2, "capsule restarts", []string{
			"loading 1", "ready 1", "crashed 1 in call: trap", "restart 1/5 after crash", "restart 2/5 after crash",
			"failed: its supervisor has failed twice to decide what follows",
		}, "a unavailable"},
	} {
		t.Run(fmt.Sprintf("%d times", test.panics), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &panicking{during: test.during, left: test.panics}
				sys := supervisortest.Start(t, supervisor.Config{Log: zerolog.New(w)}, well("a"), well("b"))
				sys.Inject("a", supervisortest.Fault{})
				sys.Expect("a", "", "a crashed")
				pass(time.Minute)
				sys.Expect("a", "", test.then)
				sys.Expect("b", "", "b continue true")
				if d := cmp.Diff(test.want, sys.Timeline("a")); d != "" {
					t.Errorf("-want +got\n%s", d)
				}
				if d := cmp.Diff([]string{"loading 1", "ready 1"}, sys.Timeline("b")); d != "" {
					t.Errorf("-want +got\n%s", d)
				}
				// An operator can still do what there is to do.
				if err := sys.Restart(t.Context(), "a"); err != nil {
					t.Error(err)
				}
				sys.Expect("a", "", "a continue true")
				if s := sys.Capsule("a"); s.State != messages.StateReady {
					t.Errorf("it is %s", s.State.String())
				}
			})
		})
	}
}

// well is a capsule that answers true on the topic of its name.
func well(id string) supervisor.Capsule {
	return supervisortest.Func(id, id, func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
		return supervisortest.JSON(true)
	})
}

// A capsule's actor fails by itself: its session is denied from the moment that its
// crash is told.
func TestASessionEndsBeforeTheFailureOfItsActorIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told, answered := make(chan struct{}), make(chan struct{})
		log := zerolog.New(meanwhile{during: "capsule crashed", f: func() { close(told); <-answered }})
		ant := well("ant")
		ant.Manifest += "[capabilities]\nallow_prompt_injection = true\n"
		var session string
		bee := supervisortest.Func("bee", "ask", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
			before := c.Peers().CheckCapability(ctx, session, "allow_prompt_injection")
			<-told
			defer close(answered)
			return supervisortest.JSON([]bool{before, c.Peers().CheckCapability(ctx, session, "allow_prompt_injection")})
		})
		sys := supervisortest.Start(t, supervisor.Config{Log: log}, ant, bee)
		session = sys.Capsule("ant").Session
		asked := sys.Begin("ask", "")
		synctest.Wait()
		sys.FailActor("capsules/ant")
		if d := cmp.Diff([]string{"bee continue [true,false]"}, supervisortest.Legs(asked())); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
	})
}

// A capsule's actor that fails by itself, seldom, spends no budget in the long run,
// and is replaced at once: it was up in between, as one whose guest died.
func TestSeldomFailuresOfAnActorAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := supervisortest.Start(t, supervisor.Config{Restart: supervisor.RestartPolicy{Budget: 2, Window: time.Minute}}, well("a"))
		for generation := range uint64(5) {
			pass(time.Minute)
			sys.FailActor("capsules/a")
			synctest.Wait()
			if c := sys.Capsule("a"); c.Generation != generation+2 || c.BudgetSpent != 1 {
				t.Fatalf("it is %s in generation %d, spent %d", c.State.String(), c.Generation, c.BudgetSpent)
			}
		}
		sys.Expect("a", "", "a continue true")
	})
}

// meanwhile calls f over the log's line that it waits for.
type meanwhile struct {
	during string
	f      func()
}

func (m meanwhile) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(m.during)) {
		m.f()
	}
	return len(line), nil
}

// panicking is a log that panics over some lines.
type panicking struct {
	during string

	mu   sync.Mutex
	left int
}

func (p *panicking) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left > 0 && bytes.Contains(line, []byte(p.during)) {
		p.left--
		panic("a bug in the program's log")
	}
	return len(line), nil
}
