package actors

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// forest shows spans by their parents, a line each: name, who, outcome.
func forest(spans []sdktrace.ReadOnlySpan, parent [8]byte, depth int) []string {
	var lines []string
	for _, s := range spans {
		if s.Parent().SpanID() != parent {
			continue
		}
		about := map[string]string{}
		for _, a := range s.Attributes() {
			about[string(a.Key)] = a.Value.String()
		}
		line := strings.Join(strings.Fields(fmt.Sprint(s.Name(), " ", about["astrid.topic"], about["astrid.capsule"], " ",
			about["astrid.outcome"], " ", strings.ToLower(s.Status().Code.String()))), " ")
		sub := forest(spans, s.SpanContext().SpanID(), depth+1)
		lines = append(lines, strings.Repeat("  ", depth)+line+"\x00"+strings.Join(sub, "\x00"))
	}
	slices.Sort(lines)
	return lines
}

func show1(spans []sdktrace.ReadOnlySpan, parent [8]byte) []string {
	return strings.FieldsFunc(strings.Join(forest(spans, parent, 0), "\x00"), func(r rune) bool { return r == 0 })
}

// A trace shows a trigger, its legs, what their guests did, and the triggers that
// they made in turn; and it is below its caller's span.
func TestTraces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := tracetest.NewSpanRecorder()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
		w := newTree(t)
		w.router.tracer = provider.Tracer("test")
		w.start("inner", says("true"))
		w.start("dies", traps)
		w.start("slow", hangs)
		w.start("outer", asks("inner"), func(c *CapsuleConfig) { c.Version.Interceptors = wants("all") })
		w.start("cyclic", asks("all"), func(c *CapsuleConfig) { c.Version.Interceptors = wants("all") })
		w.start("last", says("1"), func(c *CapsuleConfig) { c.Version.Interceptors = wants("dies", "slow") })
		synctest.Wait()

		ctx, caller := provider.Tracer("caller").Start(t.Context(), "caller")
		route := func(topic string) {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if _, err := w.router.Trigger(ctx, TriggerRequest{Topic: topic}); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		for _, topic := range []string{"dies", "slow", "all", "nobody"} {
			route(topic)
		}
		caller.End()
		w.stop()

		want := strings.Split(strings.TrimSpace(`
trigger all unset
  leg cyclic continue unset
    guest call cyclic continue unset
      trigger all unset
        leg outer continue unset
          guest call outer continue unset
            trigger inner unset
              leg inner continue unset
                guest call inner continue unset
  leg outer continue unset
    guest call outer continue unset
      trigger inner unset
        leg inner continue unset
          guest call inner continue unset
trigger dies unset
  leg dies crashed error
    guest call dies crashed error
  leg last continue unset
    guest call last continue unset
trigger nobody unset
trigger slow unset
  leg last continue unset
    guest call last continue unset
  leg slow timeout error
    guest call slow timeout error`), "\n")
		got := show1(recorder.Ended(), caller.SpanContext().SpanID())
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
		if open := len(recorder.Started()) - len(recorder.Ended()); open != 0 {
			t.Errorf("%d spans were not ended", open)
		}
		for _, s := range recorder.Ended() {
			if s.SpanContext().TraceID() != caller.SpanContext().TraceID() || s.Parent().IsRemote() {
				t.Errorf("%s is of another trace, or process", s.Name())
			}
		}
	})
}
