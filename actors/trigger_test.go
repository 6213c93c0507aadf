package actors

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/messages"
)

// Only the first answer to a leg counts, only in time, and only to a leg that
// there is.
func TestOnlyTheFirstAnswerCounts(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		m := &messages.RouteTrigger{}
		c := w.triggers.begin(now(), m)
		answer := func(trigger uint64, leg uint32, value string) {
			w.sys.Send(w.triggers.self, &messages.InterceptorAnswered{
				Trigger: trigger, Leg: leg, Outcome: messages.OutcomeContinue, Value: []byte(value),
				Generation: 7, Took: int64(time.Second),
			})
		}
		answer(m.Trigger, 0, "before the plan")
		if !c.plan([]messages.Leg{
			{Capsule: "a", Action: "x"}, {Capsule: "b", Action: "x", Outcome: messages.OutcomeDeadlock}, {Capsule: "c", Action: "x"},
		}) {
			t.Error("the plan was not taken")
		}
		if c.plan([]messages.Leg{{Capsule: "d"}}) {
			t.Error("a second plan was taken")
		}
		answer(m.Trigger, 0, "1")
		answer(m.Trigger, 0, "twice")
		answer(m.Trigger, 1, "not asked")
		answer(m.Trigger, 3, "no such leg")
		answer(m.Trigger+1, 2, "another trigger's")
		select {
		case <-c.answered:
			t.Error("one leg is missing")
		default:
		}
		legs := w.triggers.end(m.Trigger, c)
		answer(m.Trigger, 2, "late")
		c.answer(&messages.InterceptorAnswered{Leg: 2, Outcome: messages.OutcomeContinue}, nil)
		if c.plan(nil) {
			t.Error("a plan was taken after the end")
		}
		expect(t, "legs", show(legs), "a/7 x continue 1", "b/0 x deadlock", "c/0 x timeout (no answer by the trigger's deadline)")
		if legs[0].Duration != time.Second {
			t.Errorf("it took %v", legs[0].Duration)
		}
	})
}

// What is sent to nobody, or lost, is answered for.
func TestUndelivered(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		m := &messages.RouteTrigger{Topic: "t"}
		c := w.triggers.begin(now(), m)
		c.plan([]messages.Leg{{Capsule: "a", Action: "x"}})
		lose := func(message any, why system.Refusal) {
			w.sys.Send(w.triggers.self, &system.Undelivered{Message: message, Why: why})
		}
		lose(m, system.Failed) // routed already: its legs will answer
		lose("anything else", system.Closed)
		select {
		case <-c.answered:
			t.Fatal("over before its legs are")
		default:
		}
		var call invocation
		call.Route = m
		lose(&call, system.Closed)
		<-c.answered
		expect(t, "legs", show(w.triggers.end(m.Trigger, c)), "a/0 x unavailable (the capsule has stopped)")
		lose(m, system.Closed)
	})
}

// A trigger ends at its deadline, not later, whatever its legs do; when it is
// cancelled; or at once when the last leg is in.
func TestATriggerEndsInTime(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		w.start("a", says("1"), wanting(wants("t")...))
		w.start("b", hangs, wanting(wants("t")...))
		w.start("asker", asks("t"))
		synctest.Wait()
		began := time.Now()
		legs, err := w.triggerWithin(3*time.Second, &messages.RouteTrigger{Topic: "t"})
		if took := time.Since(began); err != nil || took != 3*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		legs[1].Generation = 0
		expect(t, "legs", show(legs), "a/1 on-t continue 1", "b/0 on-t timeout (no answer by the trigger's deadline)")

		synctest.Wait()
		began = time.Now()
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the client went away")
		time.AfterFunc(2*time.Second, func() { cancel(why) })
		_, err = w.triggers.Route(ctx, &messages.RouteTrigger{Topic: "t"})
		if took := time.Since(began); !errors.Is(err, why) || took != 2*time.Second {
			t.Errorf("after %v: %v", took, err)
		}

		// A nested one leaves its caller a sixteenth of the time, which is enough to answer.
		w.handles["b"].Interrupt(w.handles["b"].Generation(), ErrKilled)
		synctest.Wait()
		legs, err = w.triggerWithin(16*time.Second, &messages.RouteTrigger{Topic: "asker"})
		if err != nil {
			t.Error(err)
		}
		expect(t, "legs", show(legs), "asker/1 on-asker continue [1]")
	})
}

func TestResponsesAreJoined(t *testing.T) {
	for _, test := range []struct {
		want   string
		values []string
	}{
		{"[]", nil},
		{"[]", []string{"", ""}},
		{"[1]", []string{"1"}},
		{`[1,"a",{}]`, []string{"1", `"a"`, "{}"}},
		{"[null,[]]", []string{"", "null", "", "[]", ""}},
	} {
		var legs []messages.Leg
		for _, v := range test.values {
			legs = append(legs, &messages.Leg{Value: v})
		}
		if got := joinResponses(legs); got != test.want {
			t.Errorf("%q joined to %s, want %s", test.values, got, test.want)
		}
	}
}
