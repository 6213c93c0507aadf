package actors

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

func wanting(interceptors ...messages.Interceptor) func(*CapsuleConfig) {
	return func(c *CapsuleConfig) { c.Version.Interceptors = interceptors }
}

// Promise 5: the order of the answers is that of priority, capsule and manifest,
// whoever finished first.
func TestAnswersAreInOrderNotInTime(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		after := func(d time.Duration, json string) action {
			return func(context.Context, *script, string) (capsulehost.Result, error) {
				time.Sleep(d)
				return capsulehost.Result{Data: []byte(json)}, nil
			}
		}
		i := func(event, action string, priority uint32) messages.Interceptor {
			return messages.Interceptor{Event: event, Action: action, Priority: priority}
		}
		w.start("b", after(time.Second, "1"), wanting(i("t.x", "late", 200), i("t.*", "second", 100), i("t.x", "first", 1)))
		w.start("a", after(3*time.Second, "2"), wanting(i("*.x", "one", 100), i("t.y", "no", 0)))
		w.start("c", after(0, "3"), wanting(i("t.x", "quick", 100)))
		synctest.Wait()
		reply, err := w.router.Trigger(t.Context(), TriggerRequest{Topic: "t.x"})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "legs", show(reply.Legs),
			"b/1 first continue 1", "a/1 one continue 2", "b/1 second continue 1", "c/1 quick continue 3", "b/1 late continue 1")
		if got := string(reply.Responses); got != "[1,2,1,3,1]" || reply.Topic != "t.x" {
			t.Errorf("responses %s to %s", got, reply.Topic)
		}
		reply, err = w.router.Trigger(t.Context(), TriggerRequest{Topic: "nobody.wants.this"})
		if err != nil || string(reply.Responses) != "[]" || len(reply.Legs) != 0 {
			t.Errorf("nobody: %v, %v", reply, err)
		}
	})
}

// Promise 4: capsules that trigger each other are answered at once.
func TestCyclesAreAnsweredAtOnce(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		w.start("ping", asks("pong"))
		w.start("pong", asks("ping"))
		w.start("self", asks("self"), func(c *CapsuleConfig) { c.Log = logTo(w) })
		w.start("a", asks("ring.b"), wanting(wants("ring.a", "ring.*")...))
		w.start("b", asks("ring.c"), wanting(wants("ring.b")...))
		w.start("c", asks("ring.a"), wanting(wants("start", "ring.c")...))
		synctest.Wait()
		began := time.Now()
		expect(t, "ping", show(w.trigger("ping")), "ping/1 on-ping continue [[]]")
		both := w.later("ping")
		expect(t, "pong at the same time", show(w.trigger("pong")), "pong/1 on-pong continue [[]]")
		<-both
		expect(t, "a capsule does not ask itself", show(w.trigger("self")), "self/1 on-self continue []")
		expect(t, "warnings", w.log())
		// c asks a, twice, which asks b, which can ask neither a nor c.
		expect(t, "a ring of three", show(w.trigger("start")), "c/1 on-start continue [[[]],[[]]]")
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// No false alarm: who waits for a busy capsule that does not wait for it waits.
func TestWaitingIsNoDeadlock(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		busy := make(chan struct{})
		w.start("slow", func(context.Context, *script, string) (capsulehost.Result, error) {
			<-busy
			return capsulehost.Result{Data: []byte("1")}, nil
		})
		w.start("a", asks("slow"))
		w.start("b", asks("slow"))
		synctest.Wait()
		legs := []<-chan []messages.Leg{w.later("slow"), w.later("a"), w.later("b"), w.later("a")}
		synctest.Wait()
		if n := w.router.Awaited(); n != 2 {
			t.Errorf("%d legs are awaited, want those of a and b", n)
		}
		close(busy)
		for i, want := range []string{"slow/1 on-slow continue 1", "a/1 on-a continue [1]", "b/1 on-b continue [1]", "a/1 on-a continue [1]"} {
			expect(t, "legs", show(<-legs[i]), want)
		}
	})
}

// Capsules that all ask each other, each whenever it is asked, come to an end.
func TestAsManyAsThereAreAskEachOther(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
			w.start(id, asks("all"), wanting(wants("all")...))
		}
		synctest.Wait()
		began := time.Now()
		for _, leg := range w.trigger("all") {
			if leg.Outcome != messages.OutcomeContinue {
				t.Errorf("%v", show([]messages.Leg{leg}))
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// What the router has heard decides who is asked; old news change nothing.
func TestRouterNews(t *testing.T) {
	const unasked = "c/0 on-c unavailable "
	const asked = unasked + "(the capsule is stopping, or has stopped)" // its queue is closed
	news := func(m any) any {
		switch m := m.(type) {
		case *CapsuleUp:
			m.Interceptors = wants("c")
		case *CapsuleDown:
			m.Interceptors = wants("c")
		}
		return m
	}
	loop := up(1, starting)
	loop.RunLoop = true
	silent := down(1, crashed)
	silent.Reason = ""
	for name, test := range map[string]struct {
		news []any
		want []string
	}{
		"nothing":               {nil, nil},
		"up":                    {[]any{up(1, ready)}, []string{asked}},
		"a run loop":            {[]any{loop}, []string{unasked + "(it is a run loop, which triggers do not reach)"}},
		"down":                  {[]any{up(1, ready), down(1, crashed)}, []string{unasked + "(down)"}},
		"down without a reason": {[]any{silent}, []string{unasked + "(it does not serve)"}},
		"down, up told late":    {[]any{down(1, crashed), up(1, ready)}, []string{unasked + "(down)"}},
		"back":                  {[]any{down(1, crashed), up(2, ready)}, []string{asked}},
		"back, down told late":  {[]any{up(2, ready), down(1, crashed)}, []string{asked}},
	} {
		t.Run(name, func(t *testing.T) {
			inTree(t, func(t *testing.T, w *tree) {
				for _, m := range test.news {
					w.sys.Send(w.sys.PID("root/hook-router"), news(m))
				}
				expect(t, "legs", show(w.trigger("c")), test.want...)
			})
		})
	}
}

// A capsule that comes back with other interceptors is asked for those only.
func TestOtherInterceptors(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		m := up(1, ready)
		m.Interceptors = wants("old", "both")
		w.sys.Send(w.sys.PID("root/hook-router"), m)
		m = up(2, ready)
		m.Interceptors = wants("both", "new")
		w.sys.Send(w.sys.PID("root/hook-router"), m)
		for topic, want := range map[string]int{"old": 0, "both": 1, "new": 1} {
			if legs := w.trigger(topic); len(legs) != want {
				t.Errorf("%s: %v", topic, show(legs))
			}
		}
	})
}

// A restarted router goes on with its old table until it has been told of every
// capsule again: nothing is answered from half a table, and nothing waits.
func TestARestartedRouterGoesOn(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		w.silent = true
		a := w.start("a", says("1"), wanting(wants("t")...))
		b := w.start("b", says("2"), wanting(wants("t")...))
		synctest.Wait()
		router := w.sys.PID(RouterPath)
		w.sys.Send(router, &system.Fault{Cause: "a bug"})
		synctest.Wait()
		expect(t, "legs after the failure", show(w.trigger("t")), "a/1 on-t continue 1", "b/1 on-t continue 2")
		w.sys.Send(router, a.Announced())
		synctest.Wait()
		expect(t, "legs during the resync", show(w.trigger("t")), "a/1 on-t continue 1", "b/1 on-t continue 2")

		// What the old table does not know, the capsule says itself.
		w.close(b)
		synctest.Wait()
		expect(t, "a capsule that has stopped since", show(w.trigger("t")),
			"a/1 on-t continue 1", "b/1 on-t unavailable (the capsule is stopping, or has stopped)")
		w.announce(router)
		synctest.Wait()
		expect(t, "legs after the resync", show(w.trigger("t")), "a/1 on-t continue 1")
	})
}

// A router that fails over an announcement costs no trigger; one that has never
// been told of the capsules makes none.
func TestARouterThatFails(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		w.start("other", says("1"), wanting(wants("t")...))
		synctest.Wait()
		w.sys.Send(w.sys.PID(RouterPath), &system.Fault{Cause: "a bug", Next: true})
		w.start("late", says("2"), wanting(wants("t")...)) // announced to a router that fails over it
		synctest.Wait()
		expect(t, "afterwards", show(w.trigger("t")), "late/1 on-t continue 2", "other/1 on-t continue 1")

		early := NewRouter(nil, nil)
		if _, err := early.Trigger(t.Context(), TriggerRequest{Topic: "t"}); !errors.Is(err, ErrNoRoutes) {
			t.Errorf("a router that knows nothing: %v", err)
		}
		w.start("asker", asks("t"), func(c *CapsuleConfig) { c.Router = early })
		synctest.Wait()
		expect(t, "a guest's trigger", show(w.trigger("asker")), "asker/1 on-asker continue []")
	})
}

// A tracer that panics while a trigger is planned leaves no edge behind.
func TestAPanicWhilePlanningLeavesNoEdge(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		w.start("b", says("1"), wanting(wants("t")...))
		synctest.Wait()
		w.router.tracer = panicsAtLegs{noop.NewTracerProvider().Tracer("")}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the tracer did not panic")
				}
			}()
			_, _ = w.router.run(t.Context(), t.Context(), &trigger{router: w.router, topic: "t", from: "a", asking: &waitNode{}, asker: t.Context()})
		}()
		if n, open := w.router.Awaited(), w.router.Open(); n != 0 || open != 0 {
			t.Errorf("%d edges and %d open triggers are left", n, open)
		}
	})
}

// panicsAtLegs is a tracer with a bug.
type panicsAtLegs struct{ trace.Tracer }

func (p panicsAtLegs) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	if name == spanLeg {
		panic("a bug in the tracer")
	}
	return p.Tracer.Start(ctx, name, options...)
}

// More interceptors than one trigger asks are answered all the same.
func TestATopicWithTooManyInterceptors(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		many := make([]messages.Interceptor, MaxLegs+3)
		for n := range many {
			many[n] = messages.Interceptor{Event: "t", Action: "a", Priority: 100}
		}
		w.start("c", says("1"), wanting(many...), func(c *CapsuleConfig) { c.Version.Queue = 0 })
		synctest.Wait()
		by := map[messages.Outcome]int{}
		legs := w.trigger("t")
		for n := range legs {
			by[legs[n].Outcome]++
		}
		if by[messages.OutcomeContinue] != MaxLegs || by[messages.OutcomeOverloaded] != 3 {
			t.Errorf("outcomes: %v", by)
		}
		if last := legs[len(legs)-1].Reason; last != "the topic has 4099 interceptors: a trigger asks at most 4096" {
			t.Error(last)
		}
	})
}

// Each leg that was no answer is logged, with who asked whom and why; an empty
// answer is one.
func TestLegsWithoutAnAnswerAreLogged(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		w.start("a", traps, wanting(wants("t")...))
		w.start("b", says(""), wanting(wants("t")...))
		w.start("c", func(context.Context, *script, string) (capsulehost.Result, error) {
			return capsulehost.Result{Action: capsulehost.Deny, Data: []byte("no")}, nil
		}, wanting(wants("t")...))
		w.start("asker", asks("t"), func(c *CapsuleConfig) { c.Log = logTo(w) })
		synctest.Wait()
		w.trigger("asker")
		expect(t, "log", w.log(), `{"level":"warn","capsule":"asker","topic":"t","asked":"a","action":"on-t","outcome":"crashed",`+
			`"reason":"trap in astrid_hook_trigger: unreachable","message":"interceptor gave no answer"}`+"\n",
			`{"level":"warn","capsule":"asker","topic":"t","asked":"c","action":"on-t","outcome":"denied",`+
				`"reason":"no","message":"interceptor gave no answer"}`+"\n")
	})
}
