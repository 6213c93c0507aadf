package system_test

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/actors/system"
)

func TestUrgentMessagesOvertake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(slog.New(slog.DiscardHandler))
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
		sys := system.New(slog.New(slog.DiscardHandler))
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
		sys := system.New(slog.New(slog.DiscardHandler))
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
		sys := system.New(slog.New(slog.DiscardHandler))
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

// A restart that comes behind a stop does not bring an actor back to life.
func TestNoRestartAfterAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(slog.New(slog.DiscardHandler))
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

func TestNilMessagesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(slog.New(slog.DiscardHandler))
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
	sys := system.New(slog.New(slog.DiscardHandler))
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

// counter is a process that counts what it gets.
type counter struct{ got atomic.Int32 }

func (c *counter) SendUserMessage(*actor.PID, any)   { c.got.Add(1) }
func (c *counter) SendSystemMessage(*actor.PID, any) {}
func (c *counter) Stop(*actor.PID)                   {}

// Each question has one answer, whatever becomes of it.
func TestOneAnswerEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(slog.New(slog.DiscardHandler))
		j, box, p, parentPID, pid := start(t, sys, 1)
		sender := &counter{}
		self := sys.Register(sender)
		ask := func(question any) {
			sys.Request(pid, question, self)
			synctest.Wait()
		}
		for i, question := range []string{"echo", "fail", "fail answered", "hold"} {
			ask(question)
			if i == 1 || i == 2 {
				<-p.failed
				sys.Send(parentPID, pid)
				synctest.Wait()
			}
		}
		ask("waits")
		ask("too many")
		box.Close()
		ask("too late")
		close(j.hold)
		stop(t, sys, parentPID)
		ask("nobody is there")
		if n := sender.got.Load(); n != 7 { // all but "hold", which is not answered
			t.Errorf("8 questions had %d answers", n)
		}
		sys.Unregister(self)
	})
}
