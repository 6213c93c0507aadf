package actors

import (
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/astrid-actors/astrid-actors/messages"
)

// collector gathers the answers to one trigger. Its methods run on the
// goroutines of those that answer.
type collector struct {
	triggers *Triggers
	made     *messages.RouteTrigger
	traced   *traced // nil where nobody traces

	mu       sync.Mutex
	legs     []*messages.Leg       // nil until planned; not touched once over
	took     []durationpb.Duration // what they took, at once: each for itself costs more
	holds    []holding             // large answers
	missing  int
	over     bool
	answered chan struct{} // closed when no leg is missing, or none will come
}

// holding is what one answer takes, of whom.
type holding struct {
	from  *held
	bytes int64
}

// age is how long the trigger has been open.
func (c *collector) age(now moment) time.Duration { return now.after(moment(c.made.GetMade())) }

// plan takes the legs that the router made, some of them decided already; from then
// on they are the trigger's. It returns false where nobody waits any more.
func (c *collector) plan(legs []*messages.Leg) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.legs != nil {
		return false
	}
	c.legs, c.took = legs, make([]durationpb.Duration, len(legs))
	c.traced.planned(legs)
	for _, leg := range legs {
		if leg.GetOutcome() == messages.Outcome_OUTCOME_UNSPECIFIED {
			c.missing++
		}
	}
	c.finishLocked()
	return true
}

// answer takes one leg's answer; only the first counts. What was taken for it from a
// capsule's limit, which nil has none of, is given back when the trigger ends.
func (c *collector) answer(a *messages.InterceptorAnswered, from *held) {
	c.mu.Lock()
	defer c.mu.Unlock()
	leg, n := c.legLocked(a.GetLeg()), counted(a)
	switch {
	case leg == nil:
		from.give(n)
		return
	case n > 0:
		c.holds = append(c.holds, holding{from, n})
	}
	leg.Outcome, leg.Value, leg.Reason = a.GetOutcome(), string(a.GetValue()), a.GetReason()
	leg.Generation, leg.Reductions = a.GetGeneration(), a.GetReductions()
	if took := time.Duration(a.GetTook()); took > 0 {
		leg.Duration = &c.took[a.GetLeg()]
		leg.Duration.Seconds, leg.Duration.Nanos = int64(took/time.Second), int32(took%time.Second)
	}
	c.settledLocked(leg)
	c.traced.answered(int(a.GetLeg()), leg)
	c.missing--
	c.finishLocked()
}

// legLocked is the leg at a place that has no answer yet, as none is once it is
// over; else nil.
func (c *collector) legLocked(place uint32) *messages.Leg {
	if int(place) >= len(c.legs) || c.legs[place].GetOutcome() != messages.Outcome_OUTCOME_UNSPECIFIED {
		return nil
	}
	return c.legs[place]
}

// unrouted: there will be no legs, where there are none yet.
func (c *collector) unrouted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.finishLocked()
	}
}

// close ends the waiting and returns the legs; those still missing get the
// outcome `timeout`.
func (c *collector) close() []*messages.Leg {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for _, h := range c.holds {
		h.from.give(h.bytes)
	}
	for i, leg := range c.legs {
		if leg.GetOutcome() == messages.Outcome_OUTCOME_UNSPECIFIED {
			leg.Outcome, leg.Reason = messages.Outcome_OUTCOME_TIMEOUT, reasonDeadline
			c.settledLocked(leg)
			c.traced.answered(i, leg)
		}
	}
	return c.legs
}

// reasonDeadline is said of a leg that was asked, and is not known to be anything else.
const reasonDeadline = "no answer by the trigger's deadline"

// settledLocked ends the wait for one leg that was sent.
func (c *collector) settledLocked(leg *messages.Leg) {
	if from := c.made.GetFromCapsule(); from != "" {
		c.triggers.waits.leave(from, leg.GetCapsule())
	}
}

func (c *collector) finishLocked() {
	if c.missing == 0 {
		c.over = true
		close(c.answered)
	}
}

// joinResponses is the JSON array of the values that legs gave, in their order.
func joinResponses(legs []*messages.Leg) string {
	size := 2
	for _, leg := range legs {
		size += len(leg.GetValue()) + 1
	}
	var out strings.Builder
	out.Grow(size)
	out.WriteByte('[')
	for _, leg := range legs {
		if leg.GetValue() == "" {
			continue
		}
		if out.Len() > 1 {
			out.WriteByte(',')
		}
		out.WriteString(leg.GetValue())
	}
	out.WriteByte(']')
	return out.String()
}
