package faults

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// A failure of the system's own actors, while triggers are open at every depth, kills no
// capsule: each trigger is answered, and the actor recovers its state.
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
		return supervisortest.JSON([]any{values, c.Services().Peers.CheckCapability(ctx, session, "allow_prompt_injection")})
	})
	inner.Manifest += "[capabilities]\nallow_prompt_injection = true\n"
	sys := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{fixture("counter")}}, inner, outer, well("spare"))
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
	// With next, the lost message may be the check of a capability: then it is denied.
	if next && !slices.Contains([]string{`outer continue [["in"],true]`, `outer continue [["in"],false]`}, got[0]) {
		t.Errorf("got %s", got)
	}
	if next { // it has failed by now, or fails on this message
		_, _ = sys.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "inner"})
		_ = sys.Stop(t.Context(), "nobody")
		_ = sys.Restart(t.Context(), "spare")
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

// If a program's log panics, only its line is lost.
func TestALogThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &panicking{during: "capsule restarts", left: 1}
		sys := supervisortest.Start(t, supervisor.Config{Log: slog.New(slog.NewJSONHandler(w, nil))}, well("a"), well("b"))
		for generation := range uint64(2) {
			sys.Inject("a", supervisortest.Fault{})
			sys.Expect("a", "", "a crashed")
			sys.AwaitReady("a", generation+2)
		}
		sys.Expect("a", "", "a continue true")
		synctest.Wait()
		if d := cmp.Diff([]string{
			"loading 1", "ready 1", "crashed 1 in call: trap", "restart 1/5 after crash",
			"loading 2", "ready 2", "crashed 2 in call: trap", "restart 2/5 after crash", "loading 3", "ready 3",
		}, sys.Timeline("a")); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
		if d := cmp.Diff([]string{"loading 1", "ready 1"}, sys.Timeline("b")); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
		if n := w.lines("capsule restarts"); n != 1 {
			t.Errorf("%d of two restarts are in the log, whose first line about one panicked", n)
		}
	})
}

// well returns a capsule that answers true on the topic of its name.
func well(id string) supervisor.Capsule {
	return supervisortest.Func(id, id, func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
		return supervisortest.JSON(true)
	})
}

// An actor of a capsule that seldom fails by itself spends no budget in the long run,
// and is replaced at once: it was up in between, as a capsule whose guest died.
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

// panicking is a log that panics on some lines.
type panicking struct {
	during string

	mu    sync.Mutex
	left  int
	wrote []byte
}

func (p *panicking) lines(about string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Count(p.wrote, []byte(about))
}

func (p *panicking) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left > 0 && bytes.Contains(line, []byte(p.during)) {
		p.left--
		panic("a bug in the program's log")
	}
	p.wrote = append(p.wrote, line...)
	return len(line), nil
}
