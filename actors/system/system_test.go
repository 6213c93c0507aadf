package system_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/astrid-actors/astrid-actors/actors/system"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answered is a reason to fail that needs no answer.
type answered struct{}

func (answered) Answered() {}

type urgent string

func (urgent) Urgent() {}

// journal is an actor that notes what it is told, can be held up, and fails on demand.
type journal struct {
	mu    sync.Mutex
	lines []string
	hold  chan struct{} // "hold" waits for it
}

func (j *journal) note(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) read() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.lines...)
}

func (j *journal) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		j.note("started")
	case *actor.Stopped:
		j.note("stopped")
	case urgent:
		j.note("!" + string(m))
	case string:
		switch m {
		case "hold":
			<-j.hold
		case "fail":
			panic("as told")
		case "fail answered":
			ctx.Respond("answered")
			panic(answered{})
		case "exit":
			runtime.Goexit()
		case "echo":
			ctx.Respond("echoed")
		default:
			j.note(m)
		}
	}
}

// parent restarts its one child when it is told to, never by itself.
type parent struct {
	child   *actor.Props
	spawned chan *actor.PID
	failed  chan any
}

func (p *parent) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		pid, err := ctx.SpawnNamed(p.child, "child")
		if err != nil {
			panic(err)
		}
		p.spawned <- pid
	case *actor.PID:
		ctx.(actor.Supervisor).RestartChildren(m)
	}
}

func (p *parent) HandleFailure(_ *actor.ActorSystem, _ actor.Supervisor, _ *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	p.failed <- reason
}

// start runs a journal below a parent, with a mailbox that notes what it refuses.
func start(t *testing.T, sys *system.System, capacity int) (j *journal, box *system.Mailbox, p *parent, parentPID, pid *actor.PID) {
	t.Helper()
	j = &journal{hold: make(chan struct{})}
	box = system.NewMailbox(capacity, func(m any, sender *actor.PID, why system.Refusal) bool {
		if m == "unanswerable" {
			return false
		}
		j.note(fmt.Sprintf("refused %v: %d", m, why))
		if sender != nil {
			sys.Send(sender, why)
		}
		return true
	})
	p = &parent{
		child:   sys.Props(func() actor.Actor { return j }, box),
		spawned: make(chan *actor.PID, 1), failed: make(chan any, 1),
	}
	parentPID, err := sys.Spawn("parent", sys.Props(func() actor.Actor { return p }, system.NewMailbox(0, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return j, box, p, parentPID, <-p.spawned
}

func stop(t *testing.T, sys *system.System, pid *actor.PID) {
	t.Helper()
	if err := sys.AwaitStopped(t.Context(), pid); err != nil {
		t.Error(err)
	}
	sys.Close()
}

func want(t *testing.T, j *journal, lines ...string) {
	t.Helper()
	if diff := cmp.Diff(lines, j.read()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestUrgentMessagesOvertake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(zerolog.Nop())
		j, _, _, parentPID, pid := start(t, sys, 0)
		for _, m := range []any{"hold", "a", "b", urgent("u")} {
			sys.Send(pid, m)
		}
		synctest.Wait()
		close(j.hold)
		synctest.Wait()
		want(t, j, "started", "!u", "a", "b")
		stop(t, sys, parentPID)
	})
}

func TestAFullMailboxRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(zerolog.Nop())
		j, box, _, parentPID, pid := start(t, sys, 2)
		sys.Send(pid, "hold")
		synctest.Wait()
		for _, m := range []any{"a", "b", "c", "unanswerable", urgent("u")} {
			sys.Send(pid, m)
		}
		if got := box.UserMessageCount(); got != 3 {
			t.Errorf("%d messages wait, want a, b and the one that nobody can be told about", got)
		}
		answer, err := sys.Ask(t.Context(), pid, "echo")
		if err != nil || answer != system.Full {
			t.Errorf("a question to a full mailbox was answered %v, %v; want Full", answer, err)
		}
		close(j.hold)
		synctest.Wait()
		want(t, j, "started", "refused c: 0", "refused echo: 0", "!u", "a", "b", "unanswerable")
		stop(t, sys, parentPID)
	})
}

func TestAClosedMailboxAnswersWhatWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(zerolog.Nop())
		j, box, _, parentPID, pid := start(t, sys, 0)
		sys.Send(pid, "hold")
		sys.Send(pid, "a")
		synctest.Wait()
		box.Close()
		sys.Send(pid, "b")
		sys.Send(pid, "unanswerable")
		close(j.hold)
		synctest.Wait()
		want(t, j, "started", "refused a: 1", "refused b: 1")
		stop(t, sys, parentPID)
		want(t, j, "started", "refused a: 1", "refused b: 1", "stopped")
	})
}

func TestQueuedMessagesSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(zerolog.Nop())
		j, _, p, parentPID, pid := start(t, sys, 0)
		sys.Send(pid, "hold")
		for _, m := range []any{"a", "fail", "b"} {
			sys.Send(pid, m)
		}
		close(j.hold)
		if reason := <-p.failed; reason != "as told" {
			t.Errorf("the supervisor heard of %v", reason)
		}
		sys.Send(pid, "c")
		synctest.Wait()
		want(t, j, "started", "a", "refused fail: 2")
		sys.Send(parentPID, pid)
		synctest.Wait()
		want(t, j, "started", "a", "refused fail: 2", "started", "b", "c")
		stop(t, sys, parentPID)
	})
}

// Whoever asks an actor that fails over the question, or stops before it gets to
// it, is told so.
func TestQuestionsToActorsThatFailOrStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(zerolog.Nop())
		// The mailbox knows no answer to these; the parent restarts nothing by itself.
		box := system.NewMailbox(0, nil)
		j := &journal{hold: make(chan struct{})}
		p := &parent{child: sys.Props(func() actor.Actor { return j }, box), spawned: make(chan *actor.PID, 1), failed: make(chan any, 3)}
		parentPID, err := sys.Spawn("parent", sys.Props(func() actor.Actor { return p }, system.NewMailbox(0, nil)))
		if err != nil {
			t.Fatal(err)
		}
		pid := <-p.spawned
		for _, test := range []struct {
			question string
			want     error
			reason   string
		}{
			{"fail", system.ErrFailed, "as told"},
			{"exit", system.ErrFailed, "its goroutine was ended by runtime.Goexit"},
			{"fail answered", nil, "{}"},
		} {
			answer, err := sys.Ask(t.Context(), pid, test.question)
			if !errors.Is(err, test.want) || (err == nil && answer != "answered") {
				t.Errorf("%s: %v, %v", test.question, answer, err)
			}
			if reason := fmt.Sprint(<-p.failed); reason != test.reason {
				t.Errorf("%s: the supervisor heard of %s", test.question, reason)
			}
			sys.Send(parentPID, pid)
			if answer, err := sys.Ask(t.Context(), pid, "echo"); answer != "echoed" || err != nil {
				t.Errorf("after %q: %v, %v", test.question, answer, err)
			}
		}
		sys.Send(pid, "hold")
		synctest.Wait()
		errs := make(chan error, 1)
		go func() {
			_, err := sys.Ask(context.Background(), pid, "echo")
			errs <- err
		}()
		synctest.Wait()
		sys.Stop(pid)
		close(j.hold)
		if err := <-errs; !errors.Is(err, system.ErrNoActor) {
			t.Errorf("a question that waited when its actor stopped: %v", err)
		}
		stop(t, sys, parentPID)
	})
}

// A restart that comes behind a stop does not bring an actor back to life.
func TestNoRestartAfterAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(zerolog.Nop())
		j, _, _, parentPID, pid := start(t, sys, 0)
		sys.Send(pid, "hold")
		synctest.Wait()
		sys.Stop(pid)
		sys.Send(parentPID, pid) // restart
		synctest.Wait()
		close(j.hold)
		synctest.Wait()
		want(t, j, "started", "stopped")
		stop(t, sys, parentPID)
	})
}

// A direct actor runs on its senders' goroutines, one message at a time, in each
// sender's order; who sends for long is relieved.
func TestDirectActors(t *testing.T) {
	sys := system.New(zerolog.Nop())
	const senders, each = 8, 500
	last := make([]int, senders)
	var inside atomic.Int32
	pid, err := sys.Spawn("direct", sys.DirectProps(func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case [2]int:
				if inside.Add(1) != 1 {
					t.Error("two messages at once")
				}
				if m[1] != last[m[0]]+1 {
					t.Errorf("sender %d: %d after %d", m[0], m[1], last[m[0]])
				}
				last[m[0]] = m[1]
				inside.Add(-1)
			case string:
				ctx.Respond(m)
			}
		})
	}, system.NewMailbox(0, nil)))
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	for s := range senders {
		done.Go(func() {
			for i := range each {
				sys.Send(pid, [2]int{s, i + 1})
			}
			if answer, err := sys.Ask(context.Background(), pid, "x"); answer != "x" || err != nil {
				t.Errorf("Ask = %v, %v", answer, err)
			}
		})
	}
	done.Wait()
	for s, n := range last {
		if n != each {
			t.Errorf("sender %d: %d of %d arrived", s, n, each)
		}
	}
	stop(t, sys, pid)
}

// An actor that blocks holds up no other, however many do.
func TestBlockedActorsHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(zerolog.Nop())
		hold := make(chan struct{})
		var arrived atomic.Int32
		var pids []*actor.PID
		const many = 600 // more than are parked
		for i := range many {
			pid, err := sys.Spawn(fmt.Sprint(i), sys.Props(func() actor.Actor {
				return actor.ReceiveFunc(func(ctx actor.Context) {
					if ctx.Message() == "block" {
						arrived.Add(1)
						<-hold
					}
				})
			}, system.NewMailbox(0, nil)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
		for range 2 { // the second time with parked workers
			for _, pid := range pids {
				sys.Send(pid, "block")
			}
			synctest.Wait()
			if n := arrived.Swap(0); n != many {
				t.Errorf("%d of %d actors got their message", n, many)
			}
			close(hold)
			synctest.Wait()
			hold = make(chan struct{})
		}
		for _, pid := range pids {
			if err := sys.AwaitStopped(t.Context(), pid); err != nil {
				t.Error(err)
			}
		}
		sys.Close()
	})
}

func TestAskEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(zerolog.Nop())
		j, _, _, parentPID, pid := start(t, sys, 0)
		sys.Send(pid, "hold")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := sys.Ask(ctx, pid, "echo"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ask of a busy actor: %v, want the deadline", err)
		}
		close(j.hold)
		if answer, err := sys.Ask(t.Context(), pid, "echo"); answer != "echoed" || err != nil {
			t.Errorf("Ask = %v, %v", answer, err)
		}
		if _, err := sys.Ask(t.Context(), sys.PID("nobody"), "echo"); !errors.Is(err, system.ErrNoActor) {
			t.Errorf("Ask of nobody: %v, want ErrNoActor", err)
		}
		stop(t, sys, parentPID)
		if err := sys.AwaitStopped(t.Context(), pid); err != nil {
			t.Errorf("an actor that has stopped: %v", err)
		}
	})
}

func TestNilMessagesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(zerolog.Nop())
		j, box, _, parentPID, pid := start(t, sys, 0)
		box.PostUserMessage(nil)
		sys.Send(pid, "a")
		synctest.Wait()
		want(t, j, "started", "a")
		stop(t, sys, parentPID)
	})
}

// Whatever many senders do at once, each sender's messages arrive in order and
// none is lost.
func TestManySenders(t *testing.T) {
	sys := system.New(zerolog.Nop())
	const senders, each = 8, 500
	last := make([]int, senders)
	done := make(chan struct{})
	seen := 0
	pid, err := sys.Spawn("sink", sys.Props(func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			m, ok := ctx.Message().([2]int)
			if !ok {
				return
			}
			if m[1] != last[m[0]]+1 {
				t.Errorf("sender %d: %d after %d", m[0], m[1], last[m[0]])
			}
			last[m[0]] = m[1]
			if seen++; seen == senders*each {
				close(done)
			}
		})
	}, system.NewMailbox(0, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for s := range senders {
		go func() {
			for i := range each {
				sys.Send(pid, [2]int{s, i + 1})
			}
		}()
	}
	<-done
	stop(t, sys, pid)
}

func BenchmarkRoundTrip(b *testing.B) {
	sys := system.New(zerolog.Nop())
	pid, err := sys.Spawn("echo", sys.Props(func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			if s, ok := ctx.Message().(string); ok {
				ctx.Respond(s)
			}
		})
	}, system.NewMailbox(0, nil)))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sys.Ask(b.Context(), pid, "x"); err != nil {
			b.Fatal(err)
		}
	}
	if err := sys.AwaitStopped(context.Background(), pid); err != nil {
		b.Error(err)
	}
	sys.Close()
}
