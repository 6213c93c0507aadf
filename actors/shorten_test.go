package actors

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

func TestShortened(t *testing.T) {
	for _, test := range []struct {
		text string
		most int
		want string
	}{
		{"", 3, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "abc … (4 bytes in all)"},
		{"aé", 2, "a … (3 bytes in all)"},
		{"é", 1, " … (2 bytes in all)"},
	} {
		got := shortened(test.text, test.most)
		if got != test.want || !utf8.ValidString(got) {
			t.Errorf("%q within %d: got %q, want %q", test.text, test.most, got, test.want)
		}
	}
}

// What a guest says of itself may be as long as its memory. Of each leg and each
// death a piece is kept.
func TestLongTextsOfAGuest(t *testing.T) {
	long := strings.Repeat("x", 8<<20)
	var reasons [3]string
	for i, act := range []action{
		func(context.Context, *script, string) (capsulehost.Result, error) {
			return capsulehost.Result{Action: capsulehost.Deny, Data: []byte(long)}, nil
		},
		func(context.Context, *script, string) (capsulehost.Result, error) {
			return capsulehost.Result{}, &capsulehost.GuestError{Text: long}
		},
		func(context.Context, *script, string) (capsulehost.Result, error) {
			return capsulehost.Result{}, &capsulehost.Failure{Kind: capsulehost.KindTrap, Message: long, Stack: []string{long}}
		},
	} {
		inTree(t, func(t *testing.T, w *tree) {
			w.start("c", act)
			synctest.Wait()
			topic := "c." + long[:1000]
			w.start("d", act, wanting(wants("c.*")...))
			synctest.Wait()
			reasons[i] = w.trigger("c")[0].Reason
			if n := len(reasons[i]); n < reasonKept || n > reasonKept+100 {
				t.Errorf("a reason of %d bytes", n)
			}
			w.trigger(topic)
			synctest.Wait()
			for _, call := range w.handles["d"].Stats().RecentCalls() {
				if len(call.Topic) > topicKept+100 || len(call.Reason) > reasonKept+100 {
					t.Errorf("a call was kept with a topic of %d bytes, and a reason of %d", len(call.Topic), len(call.Reason))
				}
			}
		})
	}
	failure := failureOf("call", &capsulehost.Failure{Kind: capsulehost.KindTrap, Message: long, Stack: []string{long, "short"}, Stderr: "panic: no"})
	if len(failure.Message) > reasonKept+100 || len(failure.WasmStack[0]) > frameKept+100 || failure.WasmStack[1] != "short" {
		t.Errorf("a failure of %d bytes, whose stack has %d", len(failure.Message), len(failure.WasmStack[0]))
	}
	if failure.Stderr != "panic: no" {
		t.Errorf("it wrote %q", failure.Stderr)
	}
}

// Open triggers hold their answers: each is bounded.
func TestAnswersAreBounded(t *testing.T) {
	for _, test := range []struct {
		bytes int
		want  string
	}{
		{maxAnswer, "continue"},
		{maxAnswer + 1, "invalid"},
	} {
		inTree(t, func(t *testing.T, w *tree) {
			w.start("c", says(`"`+strings.Repeat("x", test.bytes-2)+`"`))
			synctest.Wait()
			leg := w.trigger("c")[0]
			if leg.Outcome.String() != test.want {
				t.Errorf("an answer of %d bytes: %s", test.bytes, leg.Outcome.String())
			}
			if want := fmt.Sprintf("the answer of %d bytes is over the limit of %d", test.bytes, maxAnswer); test.want == "invalid" && leg.Reason != want {
				t.Errorf("the reason is %q", leg.Reason)
			}
		})
	}
}
