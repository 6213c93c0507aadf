package system_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
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

// Whoever asks an actor that fails over the question, or stops before it gets to
// it, is told so.
func TestQuestionsToActorsThatFailOrStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(slog.New(slog.DiscardHandler))
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

func TestAskEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(slog.New(slog.DiscardHandler))
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

func BenchmarkRoundTrip(b *testing.B) {
	sys := system.New(slog.New(slog.DiscardHandler))
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
