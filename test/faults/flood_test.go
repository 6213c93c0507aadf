package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

var soak = flag.Duration("soak", 2*time.Second, "how long TestSoak floods the system")

// The limits that the flood reaches.
const (
	floodQueue = 8
	floodOpen  = 24
	floodFrom  = 32 // clients, more than may be open
)

// TestSoak floods a system in every way in which guests and clients can: with more
// triggers than may be open, calls than may wait, log lines, long reasons, large
// answers, crashes, nested triggers of run loops, and answers that no client waits for.
// Requests over a limit are refused at once and counted, an unrelated capsule is served
// in time, and memory stays constant.
func TestSoak(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	var lines atomic.Uint64 // of the system's log
	log := slog.New(slog.NewJSONHandler(writer(func(p []byte) (int, error) {
		lines.Add(1)
		return len(p), nil
	}), &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg := supervisor.Config{
		Queue: floodQueue, OpenTriggers: floodOpen, EventsKept: 64, TriggerTimeout: 10 * time.Second, MemoryLimitPages: 64,
		Restart:     supervisor.RestartPolicy{Budget: 1 << 30, InitialBackoff: -1},
		CapsuleDirs: []string{fixture("counter"), fixture("trap"), fixture("guest-error"), fixture("echo"), fixture("memory-bomb")},
		Log:         log,
	}
	slow := supervisortest.Func("slow", "slow", func(ctx context.Context, _ *supervisortest.Call) (capsulehost.Result, error) {
		select {
		case <-time.After(5 * time.Millisecond):
			return supervisortest.JSON(1)
		case <-ctx.Done():
			return capsulehost.Result{}, ctx.Err()
		}
	})
	chatty := supervisortest.Func("chatty", "chatty", func(_ context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		for range 100 {
			c.Log(capsulehost.LevelWarn, long[:1000])
		}
		return supervisortest.JSON(1)
	})
	denies := supervisortest.Func("denies", "*.long", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
		return capsulehost.Result{Action: capsulehost.Deny, Data: []byte(long)}, nil
	})
	end := make(chan struct{})
	loop := supervisortest.Loop("loop", func(ctx context.Context, c *supervisortest.Call) error {
		c.SignalReady()
		for ctx.Err() == nil {
			select {
			case <-end: // it stops sending, and waits
				<-ctx.Done()
			default:
			}
			c.Trigger(ctx, "slow", nil)
			c.Trigger(ctx, "test.trap", nil)
			c.Services().Peers.CheckCapability(ctx, "no-such-session", long[:500])
		}
		return ctx.Err()
	})
	sys := supervisortest.Start(t, cfg, slow, chatty, denies, loop)

	topics := []string{"slow", "slow", "chatty", "test.trap", "test.guest-error", "test.echo", "test.memory-bomb", "a.long", long[:1000] + ".long"}
	var asked, refused, abandoned, mostOpen atomic.Int64
	ask := func(ctx context.Context, topic string) (*messages.Reply, error) {
		asked.Add(1)
		began := time.Now()
		reply, err := sys.Trigger(ctx, supervisor.TriggerRequest{Topic: topic, Payload: []byte(`"` + long[:1000] + `"`)})
		if errors.Is(err, supervisor.ErrOverloaded) {
			refused.Add(1)
			if took := time.Since(began); took > time.Second {
				t.Errorf("it took %v to refuse a trigger", took)
			}
		}
		return reply, err
	}
	var outcomes [16]atomic.Int64
	var clients sync.WaitGroup
	for client := range floodFrom {
		clients.Go(func() {
			for n := client; ; n++ {
				select {
				case <-end:
					return
				default:
				}
				ctx, cancel := context.WithCancel(context.Background())
				if n%7 == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Millisecond)
				}
				if n%11 == 0 {
					cancel() // no client waits for the answer
				}
				reply, err := ask(ctx, topics[n%len(topics)])
				cancel()
				switch {
				case errors.Is(err, supervisor.ErrOverloaded):
					runtime.Gosched()
				case err != nil:
					abandoned.Add(1)
				default:
					for _, leg := range reply.Legs {
						outcomes[leg.Outcome].Add(1)
					}
				}
				tree := sys.Snapshot()
				if open := int64(tree.OpenTriggers); open > mostOpen.Load() {
					mostOpen.Store(open)
				}
			}
		})
	}
	// One reader that does not read, and one that follows.
	reading, stop := context.WithCancel(t.Context())
	clients.Go(func() {
		for range sys.Events(reading, 0) {
			<-reading.Done()
			return
		}
	})

	_, warm := after(t, ask, *soak/4) // everything with a limit is full by then
	early, _ := after(t, ask, *soak/4)
	late, most := after(t, ask, *soak/2)
	close(end)
	stop()
	clients.Wait()
	if slack := uint64(24 << 20); most > warm+warm/2+slack {
		t.Errorf("the heap has grown from %d to %d MiB", warm>>20, most>>20)
	}
	if slack := uint64(16 << 20); late > early+early/4+slack { // a leak shows best in the smallest heap
		t.Errorf("the heap's least has grown from %d to %d MiB", early>>20, late>>20)
	}
	sys.NoTriggerLost()

	tree := sys.Snapshot()
	t.Logf("%d asked, %d refused, %d given up, at most %d open; heap at least %d MiB in the second quarter, then %d, at most %d; %d log lines",
		asked.Load(), refused.Load(), abandoned.Load(), mostOpen.Load(), early>>20, late>>20, most>>20, lines.Load())
	for outcome := range outcomes {
		if n := outcomes[outcome].Load(); n > 0 {
			t.Logf("%s: %d", messages.Outcome(outcome).String(), n)
		}
	}
	if got := int64(tree.Triggers); got != asked.Load()-refused.Load() {
		t.Errorf("%d triggers are counted as accepted; %d were asked, %d of them refused", got, asked.Load(), refused.Load())
	}
	if mostOpen.Load() > floodOpen {
		t.Errorf("%d triggers were open, and %d may be", mostOpen.Load(), floodOpen)
	}
	for what, n := range map[string]int64{
		"trigger was refused": refused.Load(), "call found its queue full": outcomes[messages.OutcomeOverloaded].Load(),
		"call crashed": outcomes[messages.OutcomeCrashed].Load(), "answer was long": outcomes[messages.OutcomeDenied].Load(),
	} {
		if n == 0 {
			t.Errorf("no %s: this was no flood", what)
		}
	}
	if sys.Capsule("chatty").LogSuppressed == 0 {
		t.Error("no log line was suppressed")
	}
	// One line for each crash. Of the other lines, a few at once and one a second for
	// each capsule.
	seconds, crashes := uint64(*soak/time.Second)+30, uint64(0)
	for _, c := range tree.Capsules {
		crashes += c.Restarts
	}
	if bound := crashes + 12*(100+4*seconds); lines.Load() > bound {
		t.Errorf("%d lines were logged of %d crashes, more than %d", lines.Load(), crashes, bound)
	}
}

// after lets the flood continue, checks meanwhile that an unrelated capsule is served,
// and returns the smallest and the largest heap in use.
func after(t *testing.T, ask func(context.Context, string) (*messages.Reply, error), d time.Duration) (least, most uint64) {
	t.Helper()
	least = math.MaxUint64
	for began := time.Now(); time.Since(began) < d; {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		reply, err := ask(ctx, "test.counter")
		cancel()
		switch {
		case errors.Is(err, supervisor.ErrOverloaded):
		case err != nil:
			t.Errorf("a capsule that has nothing to do with the flood: %v", err)
		case reply.Legs[0].Outcome != messages.OutcomeContinue:
			t.Errorf("a capsule that has nothing to do with the flood: %v", supervisortest.Legs(reply))
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-t.Context().Done():
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		least, most = min(least, m.HeapAlloc), max(most, m.HeapAlloc)
	}
	return least, most
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// Capsules may trigger each other in any way, but each waits for one trigger at a time:
// so the clients' triggers and the number of capsules limit the open triggers.
func TestNestedTriggersAreBounded(t *testing.T) {
	const capsules = 20
	var chain []supervisor.Capsule
	deep := make(chan struct{})
	for i := range capsules {
		chain = append(chain, supervisortest.Func(fmt.Sprintf("c%d", i), fmt.Sprintf("c%d", i), func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
			if i+1 < capsules {
				return supervisortest.JSON(c.Trigger(ctx, fmt.Sprintf("c%d", i+1), nil))
			}
			<-deep
			return supervisortest.JSON(i)
		}))
	}
	sys := supervisortest.Start(t, supervisor.Config{OpenTriggers: 3}, chain...)
	at := sys.Inject(fmt.Sprintf("c%d", capsules-1), supervisortest.Fault{Do: func(context.Context, supervisortest.Visit) error { return nil }})
	answers := []func() *messages.Reply{sys.Begin("c0", "")}
	at.Await(1) // the whole chain waits
	answers = append(answers, sys.Begin("c0", ""), sys.Begin("c0", ""))
	for sys.Snapshot().OpenTriggers < 3 {
		runtime.Gosched()
	}
	if _, err := sys.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "c0"}); !errors.Is(err, supervisor.ErrOverloaded) {
		t.Errorf("one more: %v", err)
	}
	if got := sys.Snapshot().NestedTriggers; got != capsules-1 {
		t.Errorf("%d nested triggers, want %d", got, capsules-1)
	}
	close(deep)
	for _, answer := range answers {
		if legs := supervisortest.Legs(answer()); len(legs) != 1 || !strings.HasPrefix(legs[0], "c0 continue [[[") {
			t.Errorf("got %v", legs)
		}
	}
}
