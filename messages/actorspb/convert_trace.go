package actorspb

import "github.com/astrid-actors/astrid-actors/messages"

// FromTrace converts a trace.
func FromTrace(t messages.Trace) *Trace {
	return &Trace{Id: t.ID, At: fromTime(t.At), Principal: t.Principal, Root: fromSpan(t.Root), Omitted: t.Omitted}
}

// ToTrace converts a trace.
func ToTrace(t *Trace) messages.Trace {
	return messages.Trace{
		ID: t.GetId(), At: toTime(t.GetAt()), Principal: t.GetPrincipal(), Root: toSpan(t.GetRoot()), Omitted: t.GetOmitted(),
	}
}

func fromSpan(s messages.TraceSpan) *TraceSpan {
	return &TraceSpan{
		Topic: s.Topic, Published: s.Published, From: s.From, Start: fromDuration(s.Start), Duration: fromDuration(s.Duration),
		Open: s.Open, Problem: s.Problem, Calls: each(s.Calls, fromTraceCall),
	}
}

func toSpan(s *TraceSpan) messages.TraceSpan {
	return messages.TraceSpan{
		Topic: s.GetTopic(), Published: s.GetPublished(), From: s.GetFrom(), Start: s.GetStart().AsDuration(),
		Duration: s.GetDuration().AsDuration(), Open: s.GetOpen(), Problem: s.GetProblem(), Calls: each(s.GetCalls(), toTraceCall),
	}
}

func fromTraceCall(c messages.TraceCall) *TraceCall {
	return &TraceCall{
		Capsule: c.Capsule, Action: c.Action, Priority: c.Priority, Version: c.Version, Generation: c.Generation,
		Outcome: Outcome(c.Outcome), Reason: c.Reason, Start: fromDuration(c.Start), QueueWait: fromDuration(c.QueueWait),
		Duration: fromDuration(c.Duration), Reductions: c.Reductions, Made: each(c.Made, fromSpan),
	}
}

func toTraceCall(c *TraceCall) messages.TraceCall {
	return messages.TraceCall{
		Capsule: c.GetCapsule(), Action: c.GetAction(), Priority: c.GetPriority(), Version: c.GetVersion(), Generation: c.GetGeneration(),
		Outcome: toOutcome(c.GetOutcome()), Reason: c.GetReason(), Start: c.GetStart().AsDuration(), QueueWait: c.GetQueueWait().AsDuration(),
		Duration: c.GetDuration().AsDuration(), Reductions: c.GetReductions(), Made: each(c.GetMade(), toSpan),
	}
}
