package actors

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// drawn returns a line for each span and call of a trace, indented, with the times.
func drawn(s messages.TraceSpan, indent string) []string {
	kind := "trigger"
	if s.Published {
		kind = "publish"
	}
	out := []string{strings.TrimRight(fmt.Sprintf("%s%s %s +%v %v %s", indent, kind, s.Topic, s.Start, s.Duration, s.From), " ")}
	for _, c := range s.Calls {
		out = append(out, fmt.Sprintf("%s  %s %s +%v %v g%d", indent, c.Capsule, c.Outcome, c.Start, c.Duration, c.Generation))
		for _, made := range c.Made {
			out = append(out, drawn(made, indent+"    ")...)
		}
	}
	return out
}

// after answers, when that time has passed, as then does.
func after(d time.Duration, then action) action {
	return func(ctx context.Context, s *script, action string) (capsulehost.Result, error) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
		return then(ctx, s, action)
	}
}

// A trace is the tree of the calls that a trigger has led to, with their times, also of
// those that were never called or ended too late; and the answer has its id.
func TestTraceIsATree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTree(t)
		w.start("inner", after(time.Second, says("true")))
		w.start("outer", after(2*time.Second, asks("inner")), func(c *CapsuleConfig) { c.Version.Interceptors = wants("all") })
		w.start("other", after(time.Millisecond, traps), func(c *CapsuleConfig) { c.Version.Interceptors = wants("all") })
		w.start("slow", hangs)
		synctest.Wait()
		alice := "alice"
		reply, err := w.router.Trigger(t.Context(), TriggerRequest{Topic: "all", Caller: &capsulehost.Caller{Principal: &alice}})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		trace, ok := w.router.Trace(reply.Trace)
		if !ok || trace.Principal != "alice" || trace.Calls() != 3 || trace.Worst().Capsule != "other" {
			t.Errorf("trace %d is %v: %+v", reply.Trace, ok, trace)
		}
		want := []string{
			"trigger all +0s 3s",
			"  other crashed +0s 1ms g1",
			"  outer continue +0s 3s g1",
			"    trigger inner +2s 1s outer",
			"      inner continue +2s 1s g1",
		}
		if d := cmp.Diff(want, drawn(trace.Root, "")); d != "" {
			t.Errorf("-want +got\n%s", d)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if reply, err = w.router.Trigger(ctx, TriggerRequest{Topic: "slow"}); err != nil {
			t.Fatal(err)
		}
		trace, _ = w.router.Trace(reply.Trace)
		if got := trace.Root.Calls[0]; got.Outcome != messages.OutcomeTimeout || trace.Root.Duration != time.Second {
			t.Errorf("a trigger without an answer in time is %+v", trace.Root)
		}
		w.stop()
	})
}

// A message on the event bus that a guest publishes belongs to the trace of its call, and
// so does what its interceptors trigger; one from outside has a trace of its own.
func TestTraceOfMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTree(t)
		publishes := func(_ context.Context, s *script, _ string) (capsulehost.Result, error) {
			return capsulehost.Result{}, s.Services().Bus.Publish(t.Context(), "news.of", payload(t, "{}"))
		}
		w.start("deep", says("1"))
		w.start("first", after(time.Second, asks("deep")), func(c *CapsuleConfig) { c.Version.Interceptors = wants("news.*") })
		w.start("second", says("2"), func(c *CapsuleConfig) { c.Version.Interceptors = wants("news.*") })
		w.start("source", publishes)
		synctest.Wait()
		reply, err := w.router.Trigger(t.Context(), TriggerRequest{Topic: "source"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		trace, _ := w.router.Trace(reply.Trace)
		message := []string{
			"publish news.of +0s 1s source",
			"  first continue +0s 1s g1",
			"    trigger deep +1s 0s first",
			"      deep continue +1s 0s g1",
			"  second continue +1s 0s g1",
		}
		want := []string{"trigger source +0s 0s", "  source empty +0s 0s g1"}
		for _, line := range message {
			want = append(want, "    "+line)
		}
		if d := cmp.Diff(want, drawn(trace.Root, "")); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
		w.publish("news.of", "{}")
		time.Sleep(5 * time.Second)
		all := w.router.Traces()
		message[0] = "publish news.of +0s 1s"
		if d := cmp.Diff(message, drawn(all[len(all)-1].Root, "")); d != "" || len(all) != 2 {
			t.Errorf("%d traces; -want +got\n%s", len(all), d)
		}
		w.stop()
	})
}

// Only the last traces are kept, and of each only so many calls and so much text.
func TestTracesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTree(t)
		w.start("inner", says("true"))
		w.start("outer", func(ctx context.Context, s *script, _ string) (capsulehost.Result, error) {
			for range 2 * traceSpans {
				if _, err := s.Services().Peers.TriggerHook(ctx, "inner", json.RawMessage("null")); err != nil {
					return capsulehost.Result{}, err
				}
			}
			return capsulehost.Result{Data: []byte("true")}, nil
		})
		w.start("plain", says("true"))
		synctest.Wait()
		w.trigger("outer")
		all := w.router.Traces()
		if trace := all[0]; len(all) != 1 || trace.Calls() != traceSpans || trace.Omitted != traceSpans+1 {
			t.Errorf("%d traces; the first has %d calls, and %d were omitted", len(all), all[0].Calls(), all[0].Omitted)
		}
		for range tracesKept + 5 {
			w.trigger("plain")
		}
		all = w.router.Traces()
		if len(all) != tracesKept || all[0].ID != 7 || !slices.IsSortedFunc(all, func(a, b messages.Trace) int { return int(a.ID) - int(b.ID) }) {
			t.Errorf("%d traces from %d on", len(all), all[0].ID)
		}
		if _, ok := w.router.Trace(6); ok {
			t.Error("an old trace is kept")
		}

		full := traceTree{spans: make([]traceSpan, 1), well: traceCalls}
		long := strings.Repeat("x", reasonKept)
		for n := range 2 * traceCalls {
			full.addCall(0, int32(n), &messages.Leg{Reason: long}, &invocation{}, 0, 0)
		}
		size := 0
		for _, c := range full.calls {
			size += len(c.reason)
		}
		if len(full.calls) != traceCalls || size > traceTexts || full.omitted != traceCalls {
			t.Errorf("%d calls with %d bytes are kept, and %d omitted", len(full.calls), size, full.omitted)
		}
		w.stop()
	})
}

// A plain trigger allocates for its trace nothing.
func TestATraceCostsNoMemory(t *testing.T) {
	w := newTree(t)
	w.start("plain", says("true"))
	w.awaitReady("plain", 1)
	for range tracesKept { // every place has been used
		w.trigger("plain")
	}
	made := &trigger{topic: "plain", router: w.router}
	made.room(1)
	if n := testing.AllocsPerRun(200, func() { w.router.traces.answered(made, 1, nil) }); n != 0 {
		t.Errorf("%v allocations for a trace", n)
	}
	w.stop()
}
