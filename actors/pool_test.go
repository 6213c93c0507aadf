package actors

import (
	"testing"

	"github.com/astrid-actors/astrid-actors/messages"
)

// A pool that is shut answers the calls that wait for its first instance.
func TestPoolShutAnswersWhatWaits(t *testing.T) {
	asked := 0
	p := &Pool{version: &Version{}, size: PoolSize{Max: 1}, grow: func() { asked++ }}
	trigger := &trigger{pending: 1}
	trigger.room(1)
	call := &trigger.calls[0]
	call.trigger, call.pooled = trigger, &pooledCall{pool: p}
	p.place(call)
	if asked != 1 || trigger.legs[0].Outcome != messages.OutcomePending {
		t.Fatalf("asked for %d instances, the leg is %s", asked, trigger.legs[0].Outcome.String())
	}
	p.shut("its group stops")
	if leg := trigger.legs[0]; leg.Outcome != messages.OutcomeUnavailable || leg.Reason != "its group stops" {
		t.Errorf("%s: %s", leg.Outcome.String(), leg.Reason)
	}
}

// A call that was given to an instance that ends meanwhile is given to another one.
func TestPoolGivesCallsBack(t *testing.T) {
	p := NewPool(CapsuleConfig{ID: "w", Version: &Version{}}, PoolSize{Min: 2, Max: 2})
	p.grow = func() {}
	ends, stays := p.first, p.instance(2)
	p.seats = []*seat{{ref: ends}, {ref: stays}}
	trigger := &trigger{pending: 1}
	trigger.room(1)
	call := &trigger.calls[0]
	call.trigger, call.pooled = trigger, &pooledCall{pool: p}
	p.place(call)
	if ends.Queue() != 1 || stays.Queue() != 0 {
		t.Fatalf("queues of %d and %d calls", ends.Queue(), stays.Queue())
	}
	ends.Close()
	if stays.Queue() != 1 || p.seats[0].load != 1 || len(p.seats) != 1 {
		t.Errorf("after the end of the first instance: %d calls, the leg is %s: %s",
			stays.Queue(), trigger.legs[0].Outcome.String(), trigger.legs[0].Reason)
	}
}
