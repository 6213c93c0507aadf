package actors

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// Whatever capsules do, and whatever is done to them: every trigger has one
// answer by its deadline, with one outcome for each leg in the specified order;
// no capsule runs two calls at once, or has two instances; and when all is over
// nobody waits, and every capsule serves.
func TestPromisesUnderFaults(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plans := rapid.SliceOfN(rapid.Custom(drawStep), 1, 60).Draw(rt, "steps")
		acts := rapid.SliceOfN(rapid.SampledFrom(deeds), 64, 64).Draw(rt, "deeds")
		synctest.Test(t, func(t *testing.T) { promises(t, rt, plans, acts) })
	})
}

// deeds are what a guest does in a call.
var deeds = []string{"answer", "answer", "answer", "deny", "error", "trap", "panic", "hang", "sleep", "ask a", "ask b", "ask all", "ask all"}

// step is something that happens from outside.
type step struct {
	what    string // "trigger", "cancelled trigger", "kill", "restart", "stop and start", "hook-router", "registry", "wait"
	capsule string
	topic   string
	limit   time.Duration
}

func drawStep(t *rapid.T) step {
	return step{
		what:    rapid.SampledFrom([]string{"trigger", "trigger", "trigger", "trigger", "cancelled trigger", "kill", "restart", "stop and start", "hook-router", "registry", "wait"}).Draw(t, "what"),
		capsule: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "capsule"),
		topic:   rapid.SampledFrom([]string{"a", "b", "c", "d", "all"}).Draw(t, "topic"),
		limit:   time.Duration(rapid.IntRange(1, 5000).Draw(t, "ms")) * time.Millisecond,
	}
}

func promises(t *testing.T, rt *rapid.T, steps []step, acts []string) {
	w := newTree(t)
	defer w.stop()
	var mu sync.Mutex
	next, calm := 0, false
	busy := map[string]bool{}
	act := func(id string) action {
		return func(ctx context.Context, s *script, _ string) (capsulehost.Result, error) {
			mu.Lock()
			deed := acts[next%len(acts)]
			next++
			if calm {
				deed = "answer"
			}
			if busy[id] {
				rt.Errorf("%s runs two calls at once", id)
			}
			busy[id] = true
			mu.Unlock()
			defer func() {
				mu.Lock()
				busy[id] = false
				mu.Unlock()
			}()
			return do(ctx, s, deed)
		}
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		w.start(id, act(id), func(c *CapsuleConfig) {
			c.Version.Interceptors, c.Version.Queue = wants(id, "all"), 3
			c.Version.CallTimeout, c.TriggerTimeout = 3*time.Second, 2*time.Second
		})
	}
	synctest.Wait()

	var open sync.WaitGroup
	for _, s := range steps {
		switch h := w.handles[s.capsule]; s.what {
		case "trigger", "cancelled trigger":
			open.Go(func() { oneAnswer(rt, w, s) })
		case "kill":
			h.Interrupt(h.Generation(), ErrKilled)
		case "restart":
			generation := h.Generation()
			w.restart(s.capsule)
			time.AfterFunc(time.Second, func() { h.Interrupt(generation, ErrRestarting) })
		case "stop and start":
			w.close(h)
			h.Interrupt(h.Generation(), ErrStopping)
			if err := w.sys.AwaitStopped(t.Context(), w.sys.PID("root/"+CapsulePath(s.capsule))); err != nil {
				rt.Error(err)
			}
			synctest.Wait() // its parent must know too: the library would forget a new child of the same name
			w.spawn(h)
		case "hook-router", "registry":
			w.sys.Send(w.sys.PID("root/"+s.what), &system.Fault{Cause: "a bug", Next: s.limit%2 == 0})
		case "wait":
			time.Sleep(s.limit)
		}
	}
	open.Wait()
	for _, name := range []string{"registry", "hook-router"} {
		w.sys.Send(w.sys.PID("root/"+name), &resyncDone{}) // for a fault that strikes at the next message
	}
	time.Sleep(time.Minute) // what was abandoned runs into its limits
	synctest.Wait()
	mu.Lock()
	calm = true
	mu.Unlock()
	want := "continue continue continue continue"
	if got := outcomes(w.trigger("all")); got != want {
		rt.Errorf("once faults cease: %s", got)
	}
	for id := range w.handles {
		if n := w.living(id); n != 1 {
			rt.Errorf("%d instances of %s", n, id)
		}
		if !w.allowedSession(id) {
			rt.Errorf("the registry does not know %s", id)
		}
	}
	if n := w.router.Awaited(); n != 0 {
		rt.Errorf("%d legs are awaited", n)
	}
}

func do(ctx context.Context, s *script, deed string) (capsulehost.Result, error) {
	switch deed {
	case "deny":
		return capsulehost.Result{Action: capsulehost.Deny}, nil
	case "error":
		return capsulehost.Result{}, &capsulehost.GuestError{Text: "no"}
	case "trap":
		return capsulehost.Result{}, trap
	case "panic":
		panic("in the host")
	case "hang":
		return hangs(ctx, s, "")
	case "sleep":
		select {
		case <-time.After(700 * time.Millisecond):
		case <-ctx.Done():
			return capsulehost.Result{}, interruption(ctx)
		}
	case "ask a", "ask b", "ask all":
		return asks(strings.TrimPrefix(deed, "ask "))(ctx, s, "")
	}
	return capsulehost.Result{Data: []byte("1")}, nil
}

// oneAnswer triggers, and checks what must be true of any answer.
func oneAnswer(rt *rapid.T, w *tree, s step) {
	ctx, cancel := context.WithTimeout(context.Background(), s.limit)
	defer cancel()
	why := errors.New("cancelled")
	if s.what == "cancelled trigger" {
		cancellable, cancel := context.WithCancelCause(ctx)
		ctx = cancellable
		time.AfterFunc(s.limit/2, func() { cancel(why) })
	}
	began := time.Now()
	reply, err := w.router.Trigger(ctx, TriggerRequest{Topic: s.topic, Payload: []byte("null")})
	if took := time.Since(began); took > s.limit {
		rt.Errorf("%v answered after %v", s, took)
	}
	if err != nil {
		if !errors.Is(err, ErrNoRoutes) && !errors.Is(err, why) {
			rt.Errorf("%v: %v", s, err)
		}
		return
	}
	var order []string
	for _, leg := range reply.Legs {
		if leg.Outcome == messages.OutcomePending || leg.Outcome == messages.OutcomeDeadlock {
			rt.Errorf("%v: %v", s, show(reply.Legs))
		}
		order = append(order, leg.Capsule)
	}
	if !slices.IsSorted(order) || len(slices.Compact(order)) != len(reply.Legs) {
		rt.Errorf("%v: legs %v", s, order)
	}
}

func outcomes(legs []messages.Leg) string {
	var words []string
	for _, leg := range legs {
		words = append(words, leg.Outcome.String())
	}
	return strings.Join(words, " ")
}

// allowedSession says whether the registry knows a capsule as it is.
func (w *tree) allowedSession(id string) bool {
	up, found := w.handles[id].Announced(), w.find(id)
	return up != nil && found.Session == up.Session && found.Generation == w.handles[id].Generation()
}
