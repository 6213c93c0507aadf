package actors

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// twoProcessors makes Go use at least two, so that goroutines help.
func twoProcessors(t *testing.T) {
	if before := runtime.GOMAXPROCS(0); before < 2 {
		runtime.GOMAXPROCS(2)
		t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	}
}

// lasting makes every capsule's next call seem likely to take that long.
func (w *tree) lasting(took time.Duration) {
	for _, h := range w.handles {
		h.likely.Store(int64(took))
	}
}

// prioritized are interceptors for the topic t, with these priorities.
func prioritized(priorities ...uint32) []messages.Interceptor {
	var out []messages.Interceptor
	for _, p := range priorities {
		out = append(out, messages.Interceptor{Event: "t", Action: fmt.Sprint(p), Priority: p})
	}
	return out
}

// Many short calls are made by several goroutines: here two calls wait for each other,
// and none of them for its context.
func TestOthersHelpWithManyCalls(t *testing.T) {
	twoProcessors(t)
	inTree(t, func(t *testing.T, w *tree) {
		met, first := make(chan struct{}), atomic.Bool{}
		meet := atomic.Bool{}
		for n := range 8 {
			w.start(fmt.Sprint("c", n), func(context.Context, *script, string) (capsulehost.Result, error) {
				switch {
				case !meet.Load():
				case first.CompareAndSwap(false, true):
					<-met
				default:
					meet.Store(false)
					close(met)
				}
				return capsulehost.Result{Data: []byte("1")}, nil
			}, inline, wanting(wants("t")...))
		}
		synctest.Wait()
		w.trigger("t")
		synctest.Wait()
		w.lasting(longCall)
		meet.Store(true)
		for n, line := range show(w.trigger("t")) {
			if want := fmt.Sprintf("c%d/1 on-t continue 1", n); line != want {
				t.Errorf("leg %s, want %s", line, want)
			}
		}
	})
}

// Whoever takes a capsule's first call takes all of them, so that no goroutine can
// overtake another.
func TestCallsOfOneCapsuleAreTakenTogether(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		w.start("a", says("1"), inline, wanting(prioritized(1, 4, 6)...))
		w.start("b", says("1"), inline, wanting(prioritized(2)...))
		w.start("c", says("1"), inline, wanting(prioritized(3, 5)...))
		synctest.Wait()
		taken := func(asking ...bool) (got []string) {
			planned := &trigger{router: w.router, topic: "t", asker: t.Context()}
			w.router.table.Load().plan(planned)
			for _, asks := range asking {
				line := "none"
				if first := planned.takeCall(asks); first != nil {
					line = first.ref.ID()
					for c := first; c != nil; c = c.then {
						line += " " + c.action
					}
				}
				got = append(got, line)
			}
			return got
		}
		expect(t, "taken by the one that asks", taken(true, true, true, true), "a 1 4 6", "b 2", "c 3 5", "none")
		expect(t, "taken by helpers", taken(false, false, false, false), "c 3 5", "b 2", "a 1 4 6", "none")
		expect(t, "taken by both", taken(false, true, true, false), "c 3 5", "a 1 4 6", "b 2", "none")
	})
}

// A capsule's calls of one trigger run in the order of its legs, whoever runs them and
// however many triggers there are.
func TestCallsOfOneCapsuleStayInOrder(t *testing.T) {
	twoProcessors(t)
	w := newTree(t)
	var mu sync.Mutex
	ran := map[string][]string{} // by capsule: payload of the trigger
	for n := range 6 {
		id := fmt.Sprint("c", n)
		w.start(id, func(_ context.Context, _ *script, payload string) (capsulehost.Result, error) {
			mu.Lock()
			defer mu.Unlock()
			ran[id] = append(ran[id], payload)
			return capsulehost.Result{Data: fmt.Append(nil, len(ran[id]))}, nil
		}, inline, wanting(prioritized(uint32(n), uint32(10-n), 20)...))
	}
	for id := range w.handles {
		w.awaitReady(id, 1)
	}
	const triggers = 200
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for range triggers {
				w.lasting(longCall)
				legs, err := w.triggerWithin(10*time.Second, TriggerRequest{Topic: "t", Payload: []byte("1")})
				if err != nil {
					t.Error(err)
				}
				at := map[string][]int{} // by capsule: when its legs ran, in their order
				for n := range legs {
					var when int
					if _, err := fmt.Sscan(string(legs[n].Value), &when); err != nil {
						t.Errorf("leg %v: %v", show(legs[n:n+1]), err)
					}
					at[legs[n].Capsule] = append(at[legs[n].Capsule], when)
				}
				for id, when := range at {
					if len(when) != 3 || !slices.IsSorted(when) {
						t.Errorf("%s ran its legs as %v", id, when)
					}
				}
			}
		})
	}
	all.Wait()
	for id, payloads := range ran {
		if len(payloads) != 2*3*triggers {
			t.Errorf("%s ran %d calls", id, len(payloads))
		}
	}
	w.stop()
}

// A caller that gives up waits for the call that runs on its goroutine, and not for the
// capsule's next one.
func TestGivingUpBetweenTwoCallsOfOneCapsule(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		const early = time.Second
		slow, calls := false, 0
		w.start("c", func(ctx context.Context, s *script, payload string) (capsulehost.Result, error) {
			if slow {
				if calls++; calls == 1 {
					time.Sleep(early + abandonedAfter/2)
				} else {
					return hangs(ctx, s, payload)
				}
			}
			return capsulehost.Result{Data: []byte("1")}, nil
		}, inline, wanting(prioritized(1, 2)...))
		synctest.Wait()
		w.trigger("t")
		synctest.Wait() // it is idle
		slow = true
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(early, cancel)
		began := time.Now()
		if _, err := w.router.Trigger(ctx, TriggerRequest{Topic: "t"}); err == nil {
			t.Error("the trigger was answered")
		}
		if took := time.Since(began); took != early+abandonedAfter/2 {
			t.Errorf("it took %v", took)
		}
		w.stop()
	})
}

// A nested trigger is used again, unless others may still hold a part of it.
func TestNestedTriggersAreUsedAgain(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		deaths := 0
		for name, act := range map[string]action{
			"short": says("1"),
			"waits": func(ctx context.Context, _ *script, _ string) (capsulehost.Result, error) {
				derived, cancel := context.WithCancel(ctx)
				defer cancel()
				return capsulehost.Result{Data: []byte("1")}, derived.Err()
			},
			"dies": func(ctx context.Context, s *script, payload string) (capsulehost.Result, error) {
				if deaths++; deaths%2 == 0 {
					return traps(ctx, s, payload)
				}
				return capsulehost.Result{Data: []byte("1")}, nil
			},
		} {
			w.start(name, act, inline)
		}
		w.start("queued", says("1"))
		var spare *trigger
		w.start("asker", func(ctx context.Context, s *script, payload string) (capsulehost.Result, error) {
			_, err := s.trigger(ctx, payload)
			spare = s.Services().Peers.(*hostAPI).spare
			return capsulehost.Result{}, err
		}, inline)
		synctest.Wait()
		ask := func(topic string) *trigger {
			t.Helper()
			for range 2 { // the first call of each is not known to be short
				if _, err := w.triggerWithin(time.Second, TriggerRequest{Topic: "asker", Payload: []byte(topic)}); err != nil {
					t.Error(err)
				}
				synctest.Wait()
			}
			return spare
		}
		first := ask("short")
		if first == nil || ask("short") != first {
			t.Error("it is not used again")
		}
		if first.payload != nil || first.asker != nil || first.one.leg[0].Value != nil || first.one.call[0].ctx.run != nil {
			t.Errorf("it keeps %+v", first)
		}
		for _, topic := range []string{"queued", "waits", "dies"} {
			if ask(topic) != nil {
				t.Errorf("%s: it is used again", topic)
			}
		}
	})
}
