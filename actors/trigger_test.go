package actors

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// planned is a trigger with a call for each of these capsules.
func planned(r *Router, capsules ...string) *trigger {
	t := &trigger{router: r, asker: context.Background(), made: monotime.Now()}
	t.room(len(capsules))
	for n, id := range capsules {
		t.legs[n].Capsule = id
		t.calls[n].trigger, t.calls[n].leg = t, n
		t.pending++
	}
	return t
}

// Only the first answer to a leg counts, and only in time.
func TestOnlyTheFirstAnswerCounts(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		tr := planned(w.router, "a", "b", "c")
		tr.legs[1].Outcome = messages.OutcomeDeadlock // decided without a call
		tr.pending--
		answer := func(leg int, value string) {
			tr.answer(leg, &messages.Leg{
				Outcome: messages.OutcomeContinue, Value: []byte(value), Generation: 7, Duration: time.Second,
			}, nil)
		}
		answer(0, "1")
		answer(0, "twice")
		answer(1, "not asked")
		if tr.pending != 1 {
			t.Errorf("%d legs are pending, not 1", tr.pending)
		}
		tr.close()
		answer(2, "late")
		expect(t, "legs", show(tr.legs), "a/7  continue 1", "b/0  deadlock", "c/0  timeout (no answer by the trigger's deadline)")
		if tr.legs[0].Duration != time.Second {
			t.Errorf("it took %v", tr.legs[0].Duration)
		}
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
		legs, err := w.triggerWithin(3*time.Second, TriggerRequest{Topic: "t"})
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
		_, err = w.router.Trigger(ctx, TriggerRequest{Topic: "t"})
		if took := time.Since(began); !errors.Is(err, why) || took != 2*time.Second {
			t.Errorf("after %v: %v", took, err)
		}

		// A nested one leaves its caller a sixteenth of the time, which is enough to answer.
		w.handles["b"].Interrupt(w.handles["b"].Generation(), ErrKilled)
		synctest.Wait()
		legs, err = w.triggerWithin(16*time.Second, TriggerRequest{Topic: "asker"})
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
			legs = append(legs, messages.Leg{Value: []byte(v)})
		}
		if got := string(joinResponses(legs)); got != test.want {
			t.Errorf("%q joined to %s, want %s", test.values, got, test.want)
		}
	}
}
