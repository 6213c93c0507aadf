package system_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/actors/system"
)

// A direct actor runs on its senders' goroutines, one message at a time, in each
// sender's order; who sends for long is relieved.
func TestDirectActors(t *testing.T) {
	sys := system.New(slog.New(slog.DiscardHandler))
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
		sys := system.New(slog.New(slog.DiscardHandler))
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

// Who wakes a direct actor handles some of its messages, and not all that come:
// then a worker takes over.
func TestADirectActorMovesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(slog.New(slog.DiscardHandler))
		gate := make(chan struct{})
		var handled []int
		pid, err := sys.Spawn("direct", sys.DirectProps(func() actor.Actor {
			return actor.ReceiveFunc(func(ctx actor.Context) {
				switch m := ctx.Message().(type) {
				case string:
					for i := range 100 {
						ctx.Send(ctx.Self(), i)
					}
				case int:
					if m == 50 {
						<-gate
					}
					handled = append(handled, m)
				}
			})
		}, system.NewMailbox(0, nil)))
		if err != nil {
			t.Fatal(err)
		}
		sys.Send(pid, "a burst")
		synctest.Wait()
		if n := len(handled); n != 50 {
			t.Errorf("%d messages are handled before the one that waits, want 50", n)
		}
		close(gate)
		synctest.Wait()
		if !slices.IsSorted(handled) || len(handled) != 100 {
			t.Errorf("handled %v", handled)
		}
		stop(t, sys, pid)
	})
}
