package supervisortest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// Each broken promise of a system is detected.
func TestBrokenPromisesOfACapsule(t *testing.T) {
	var said []string
	w := &watched{plan: plan{capsule: "a"}, most: func() int64 { return 1 }, broken: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }}
	var again func()
	load := w.wrap(Func("a", "ask", func(context.Context, *Call) (capsulehost.Result, error) {
		if f := again; f != nil {
			again = nil
			f()
		}
		return JSON(1)
	}).Load)
	ctx := t.Context()
	first, err := load(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	invoke := func(g supervisor.Guest) {
		if _, err := g.Invoke(ctx, "act", nil); err != nil {
			t.Error(err)
		}
	}
	again = func() { invoke(first) }
	invoke(first)
	again = func() { _ = first.Close(ctx) }
	invoke(first)
	second, err := load(ctx, nil) // the first is closed by now
	if err != nil {
		t.Fatal(err)
	}
	if _, err = load(ctx, nil); err != nil {
		t.Fatal(err)
	}
	_ = second.Close(ctx)
	want := []string{
		`capsule "a": instance 1 runs twice at once`,
		`capsule "a": 2 calls at once`,
		`capsule "a": instance 1 was closed while it ran`,
	}
	if d := cmp.Diff(want, said); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if n := w.alive.Load(); n != 1 {
		t.Errorf("%d instances are alive, want 1", n)
	}
}

func TestProblemsOfAnAnswer(t *testing.T) {
	leg := func(capsule string, priority uint32, outcome messages.Outcome, value string) messages.Leg {
		return messages.Leg{Capsule: capsule, Action: "act", Priority: priority, Outcome: outcome, Value: json.RawMessage(value)}
	}
	const continues, denied = messages.OutcomeContinue, messages.OutcomeDenied
	for name, test := range map[string]struct {
		responses string
		legs      []messages.Leg
		want      string
	}{
		"none":      {`[]`, nil, ""},
		"well":      {`[1,2]`, []messages.Leg{leg("b", 1, continues, "1"), leg("a", 2, continues, "2"), leg("c", 2, denied, "")}, ""},
		"no leg":    {`[1]`, []messages.Leg{leg("a", 1, continues, "1"), leg("b", 1, 0, "")}, "leg 1 (b act) has no outcome"},
		"no value":  {`[]`, []messages.Leg{leg("a", 1, continues, "")}, `leg 0 (a act) has the outcome continue with the value ""`},
		"a value":   {`[3]`, []messages.Leg{leg("a", 1, denied, "3")}, `leg 0 (a act) has the outcome denied with the value "3"`},
		"priority":  {`[1,2]`, []messages.Leg{leg("a", 2, continues, "1"), leg("b", 1, continues, "2")}, "leg 1 (b act) comes after a: the order is priority, capsule"},
		"capsule":   {`[1,2]`, []messages.Leg{leg("b", 1, continues, "1"), leg("a", 1, continues, "2")}, "leg 1 (a act) comes after b: the order is priority, capsule"},
		"responses": {`[2,1]`, []messages.Leg{leg("a", 1, continues, "1"), leg("b", 1, continues, "2")}, "the responses are [2,1], the legs have [1,2]"},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(Problems(&messages.Reply{Responses: json.RawMessage(test.responses), Legs: test.legs}), "; ")
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
