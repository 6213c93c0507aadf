package actors

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/astrid-actors/astrid-actors/messages"
)

// The spans: a trigger has one for each of its legs below it, a leg that was asked
// one for its guest call, and below that are the triggers that the guest makes.
const (
	spanTrigger = "trigger"
	spanLeg     = "leg"
	spanCall    = "guest call"
)

// TraceWith has triggers, their legs and the calls of guests traced. Call it
// before the first trigger; nil traces nothing, and costs nothing.
func (t *Triggers) TraceWith(tracer trace.Tracer) { t.tracer = tracer }

// traced are the spans of one trigger. A nil one does nothing. Like the legs they
// belong to the collector's lock, but for the trigger's own.
type traced struct {
	tracer trace.Tracer
	ctx    context.Context // with the trigger's span
	span   trace.Span
	legs   []trace.Span
}

// traced begins a trigger's span, below the one that m names if it does.
func (t *Triggers) traced(m *messages.RouteTrigger, made moment) *traced {
	if t.tracer == nil {
		return nil
	}
	s := &traced{tracer: t.tracer}
	attributes := []attribute.KeyValue{attribute.String("astrid.topic", m.GetTopic())}
	if m.GetFromCapsule() != "" {
		attributes = append(attributes, attribute.String("astrid.from", m.GetFromCapsule()))
	}
	s.ctx, s.span = t.tracer.Start(extracted(m.GetTrace()), spanTrigger, //nolint:spancheck // end ends it
		trace.WithTimestamp(made.date()), trace.WithAttributes(attributes...))
	return s
}

// planned begins the spans of the legs, and ends those that are decided already.
func (s *traced) planned(legs []*messages.Leg) {
	if s == nil {
		return
	}
	s.legs = make([]trace.Span, len(legs))
	for i, leg := range legs {
		_, s.legs[i] = s.tracer.Start(s.ctx, spanLeg, trace.WithAttributes( //nolint:spancheck // answered ends it
			attribute.String("astrid.capsule", leg.GetCapsule()),
			attribute.String("astrid.action", leg.GetAction()),
			attribute.Int64("astrid.priority", int64(leg.GetPriority())),
		))
		if leg.GetOutcome() != messages.Outcome_OUTCOME_UNSPECIFIED {
			s.answered(i, leg)
		}
	}
}

// traceCalls tells the calls of a trigger which span they belong to.
func (c *collector) traceCalls(calls []call) {
	if c.traced == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range calls {
		if calls[i].to != nil {
			calls[i].invoke.Trace = injected(trace.ContextWithSpan(c.traced.ctx, c.traced.legs[i]))
		}
	}
}

// answered ends a leg's span.
func (s *traced) answered(i int, leg *messages.Leg) {
	if s == nil {
		return
	}
	judged(s.legs[i], leg.GetOutcome(), leg.GetReason())
	s.legs[i].End()
}

// end ends the trigger's span, when no leg is missing any more.
func (s *traced) end(err error, ended moment) {
	if s == nil {
		return
	}
	if err != nil {
		s.span.SetStatus(codes.Error, err.Error())
	}
	s.span.End(trace.WithTimestamp(ended.date()))
}

// beginSpan begins the span of a guest call, which the triggers that the guest
// makes will be below. It returns nil where nobody traces.
func (c *capsule) beginSpan(m *invocation, began moment) trace.Span {
	tracer := c.cfg.Triggers.tracer
	if tracer == nil {
		return nil
	}
	ctx, span := tracer.Start(extracted(m.GetTrace()), spanCall, trace.WithTimestamp(began.date()), trace.WithAttributes( //nolint:spancheck // endSpan ends it
		attribute.String("astrid.capsule", c.cfg.ID),
		attribute.String("astrid.action", m.GetAction()),
		attribute.Int64("astrid.generation", int64(c.life.generation)), //nolint:gosec // a count
	))
	c.world.trace = injected(ctx)
	return span //nolint:spancheck // endSpan ends it
}

// endSpan ends it.
func (c *capsule) endSpan(span trace.Span, answer *messages.InterceptorAnswered, began moment) {
	if span == nil {
		return
	}
	c.world.trace = nil
	judged(span, answer.GetOutcome(), answer.GetReason())
	span.End(trace.WithTimestamp(began.add(time.Duration(answer.GetTook())).date()))
}

// judged notes an outcome on a span; one that is no answer is an error.
func judged(span trace.Span, outcome messages.Outcome, reason string) {
	span.SetAttributes(attribute.String("astrid.outcome", outcome.Word()))
	if !answers(outcome) {
		span.SetStatus(codes.Error, reason)
	}
}

// carrier is a TraceContext under the names that W3C Trace Context gives its fields.
type carrier struct{ *messages.TraceContext }

func (c carrier) Get(key string) string {
	switch key {
	case "traceparent":
		return c.GetTraceparent()
	case "tracestate":
		return c.GetTracestate()
	}
	return ""
}

func (c carrier) Set(key, value string) {
	switch key {
	case "traceparent":
		c.Traceparent = value
	case "tracestate":
		c.Tracestate = value
	}
}

// Keys names the fields.
func (carrier) Keys() []string { return []string{"traceparent", "tracestate"} }

// injected is the span of a context as a message carries it; nil where there is none.
func injected(ctx context.Context) *messages.TraceContext {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return nil
	}
	m := &messages.TraceContext{}
	propagation.TraceContext{}.Inject(ctx, carrier{m})
	return m
}

// extracted is a context with the span that a message carries. It is no remote
// one: all this is one process.
func extracted(m *messages.TraceContext) context.Context {
	if m == nil {
		return context.Background()
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), carrier{m})
	return trace.ContextWithSpanContext(context.Background(), trace.SpanContextFromContext(ctx).WithRemote(false))
}
