package messages

import "time"

// Trace is one trigger, or one message on the event bus that interceptors receive, with
// all that followed from it: the calls of capsules, and what these triggered and published
// in turn. What is published goes on after the trigger has its answer, so a trace may
// still grow.
type Trace struct {
	// ID counts the traces of one Serve, from 1.
	ID uint64
	// At is when it began.
	At time.Time
	// Principal on whose behalf it was made; empty for none.
	Principal string
	// Root is the trigger or message itself.
	Root TraceSpan
	// Omitted counts the calls that are not kept, because there were too many.
	Omitted uint64
}

// TraceSpan is one trigger or message, with its calls.
type TraceSpan struct {
	Topic string
	// Published is true for a message on the event bus, whose calls are made one after
	// another.
	Published bool
	// From is the capsule that made it; empty for one from outside.
	From string
	// Start counts from the beginning of the trace.
	Start time.Duration
	// Duration is the time until its answer, or until its last call has ended.
	Duration time.Duration
	// Open is true if it has no answer yet.
	Open bool
	// Problem explains why it was given up; empty if it was not.
	Problem string
	// Calls are in the order of the answer; of a message, of the calls.
	Calls []TraceCall
}

// TraceCall is one leg of a trigger, or one step of a message's way through its
// interceptors.
type TraceCall struct {
	Capsule  string
	Action   string
	Priority uint32
	// Version and Generation of the instance that was called; empty and 0 if none was.
	Version    string
	Generation uint64
	Outcome    Outcome
	Reason     string
	// Start counts from the beginning of the trace. QueueWait is the time before it, since
	// its trigger.
	Start     time.Duration
	QueueWait time.Duration
	// Duration of the guest call, with all that it triggered.
	Duration   time.Duration
	Reductions uint64
	// Made are the triggers and messages that the guest made in this call.
	Made []TraceSpan
}

// Calls returns how many calls a trace has.
func (t *Trace) Calls() int { return t.Root.count() }

func (s *TraceSpan) count() int {
	n := len(s.Calls)
	for i := range s.Calls {
		for j := range s.Calls[i].Made {
			n += s.Calls[i].Made[j].count()
		}
	}
	return n
}

// Worst returns the first call whose outcome is no answer, at any depth; nil if there is
// none.
func (t *Trace) Worst() *TraceCall { return t.Root.worst() }

func (s *TraceSpan) worst() *TraceCall {
	for i := range s.Calls {
		c := &s.Calls[i]
		for j := range c.Made {
			if worst := c.Made[j].worst(); worst != nil {
				return worst
			}
		}
		if !c.Outcome.Answered() && c.Outcome != OutcomePending {
			return c
		}
	}
	return nil
}
