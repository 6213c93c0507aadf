package actors

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// The spans: a trigger has one for each of its legs below it, a leg that was asked
// one for its guest call, and below that are the triggers that the guest makes.
const (
	spanTrigger = "trigger"
	spanLeg     = "leg"
	spanCall    = "guest call"
)

// spans are those of one trigger. A nil one does nothing. Those of the legs belong
// to the trigger's lock, as the legs do.
type spans struct {
	tracer trace.Tracer
	ctx    context.Context // with the trigger's span
	span   trace.Span
	legs   []trace.Span
}

// traced begins a trigger's span, below that of ctx if there is one.
func (r *Router) traced(ctx context.Context, t *trigger) *spans {
	if r.tracer == nil {
		return nil
	}
	s := &spans{tracer: r.tracer}
	attributes := []attribute.KeyValue{attribute.String("astrid.topic", t.topic)}
	if t.from != "" {
		attributes = append(attributes, attribute.String("astrid.from", t.from))
	}
	// Of ctx the span alone: values of callers are not for guests' spans.
	parent := trace.ContextWithSpanContext(context.Background(), trace.SpanContextFromContext(ctx))
	s.ctx, s.span = r.tracer.Start(parent, spanTrigger, //nolint:spancheck // end ends it
		trace.WithTimestamp(t.made.Wall()), trace.WithAttributes(attributes...))
	return s
}

// planned begins the spans of the legs, and ends those of legs without a call.
func (s *spans) planned(t *trigger) {
	if s == nil {
		return
	}
	s.legs = make([]trace.Span, 0, len(t.legs)) // shorter if the tracer panics
	for n := range t.legs {
		leg := &t.legs[n]
		ctx, span := s.tracer.Start(s.ctx, spanLeg, trace.WithAttributes( //nolint:spancheck // answered ends it; each call has its own
			attribute.String("astrid.capsule", leg.Capsule),
			attribute.String("astrid.action", leg.Action),
			attribute.Int64("astrid.priority", int64(leg.Priority)),
		))
		t.calls[n].span, s.legs = ctx, append(s.legs, span) //nolint:fatcontext // each call has its own
		if leg.Outcome != messages.OutcomePending {
			s.answered(n, leg)
		}
	}
}

// answered ends a leg's span.
func (s *spans) answered(n int, leg *messages.Leg) {
	if s == nil || n >= len(s.legs) {
		return
	}
	annotate(s.legs[n], leg.Outcome, leg.Reason)
	s.legs[n].End()
}

// end ends the trigger's span, when no leg is pending.
func (s *spans) end(err error, ended monotime.Time) {
	if s == nil {
		return
	}
	if err != nil {
		s.span.SetStatus(codes.Error, err.Error())
	}
	s.span.End(trace.WithTimestamp(ended.Wall()))
}

// beginSpan begins the span of a guest call, above those of the triggers that the
// guest makes. It returns nil if triggers are not traced.
func (c *capsule) beginSpan(m *invocation, began monotime.Time) trace.Span {
	if m.span == nil {
		return nil
	}
	ctx, span := c.cfg.Router.tracer.Start(m.span, spanCall, trace.WithTimestamp(began.Wall()), trace.WithAttributes( //nolint:spancheck // endSpan ends it
		attribute.String("astrid.capsule", c.cfg.ID),
		attribute.String("astrid.action", m.action),
		attribute.Int64("astrid.generation", int64(c.current.generation)), //nolint:gosec // a count
	))
	api := &c.current.api
	api.span = ctx
	return span //nolint:spancheck // endSpan ends it
}

// endSpan ends it.
func (c *capsule) endSpan(span trace.Span, answer *messages.Leg, began monotime.Time) {
	if span == nil {
		return
	}
	api := &c.current.api
	api.span = nil
	annotate(span, answer.Outcome, answer.Reason)
	span.End(trace.WithTimestamp(began.Add(answer.Duration).Wall()))
}

// annotate records an outcome on a span; one that is no answer is an error.
func annotate(span trace.Span, outcome messages.Outcome, reason string) {
	span.SetAttributes(attribute.String("astrid.outcome", outcome.String()))
	if !outcome.Answered() {
		span.SetStatus(codes.Error, reason)
	}
}
