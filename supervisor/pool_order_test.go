package supervisor_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// orderly is a pool whose calls are ordered, take a second, and are noted: the payloads of
// each principal, in the order in which they began.
type orderly struct {
	*supervisortest.System
	t *testing.T

	mu     sync.Mutex
	served map[string][]string
	inside map[string]int
}

func startOrderly(t *testing.T, orderedBy string, supervision ...string) *orderly {
	t.Helper()
	o := &orderly{t: t, served: map[string][]string{}, inside: map[string]int{}}
	c := supervisortest.Func("w", "ask.w", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		who := ""
		if caller := c.Caller(); caller != nil && caller.Principal != nil {
			who = *caller.Principal
		}
		o.mu.Lock()
		o.served[who] = append(o.served[who], string(c.Payload))
		if o.inside[who]++; o.inside[who] > 1 {
			t.Errorf("%d calls of %q at once", o.inside[who], who)
		}
		o.mu.Unlock()
		err := supervisortest.Delay(time.Second)(ctx, supervisortest.Visit{})
		o.mu.Lock()
		o.inside[who]--
		o.mu.Unlock()
		return capsulehost.Result{Data: []byte("1")}, err
	})
	c.Manifest = strings.Replace(c.Manifest, `action = "act"`, fmt.Sprintf("action = \"act\"\nordered_by = %q", orderedBy), 1)
	o.System = startPool(t, supervisor.Config{TriggerTimeout: time.Hour}, policed(c, supervision))
	synctest.Wait()
	return o
}

// begin asks in the name of a principal; the call is queued when it returns.
func (o *orderly) begin(principal, payload string) func() messages.Leg {
	leg := make(chan messages.Leg, 1)
	go func() {
		reply, err := o.Trigger(context.Background(), supervisor.TriggerRequest{
			Topic: "ask.w", Payload: []byte(payload), Caller: &supervisor.Caller{Principal: principal},
		})
		if err != nil || len(reply.Legs) != 1 {
			o.t.Errorf("%s of %s: %v, %v", payload, principal, reply, err)
			leg <- messages.Leg{}
			return
		}
		leg <- reply.Legs[0]
	}()
	synctest.Wait()
	return func() messages.Leg { return <-leg }
}

// The calls of one principal go to one instance, in the order in which they came, and never
// beside each other; those of others do not wait for them.
func TestPoolOrderedByPrincipal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := startOrderly(t, "principal", "instances = 4")
		var answers []func() messages.Leg
		var want []string
		for n := range 5 {
			want = append(want, fmt.Sprint(n))
			for p := range 8 {
				answers = append(answers, o.begin(fmt.Sprintf("p%d", p), fmt.Sprint(n)))
			}
		}
		by := map[string]map[uint64]bool{}
		all := map[uint64]bool{}
		for n, answer := range answers {
			leg, who := answer(), fmt.Sprintf("p%d", n%8)
			if leg.Outcome != messages.OutcomeContinue {
				t.Errorf("%s: %s", leg.Outcome.String(), leg.Reason)
			}
			if by[who] == nil {
				by[who] = map[uint64]bool{}
			}
			by[who][leg.Generation], all[leg.Generation] = true, true
		}
		for who, generations := range by {
			if len(generations) != 1 {
				t.Errorf("%s was served by %v", who, slices.Sorted(maps.Keys(generations)))
			}
			if diff := cmp.Diff(want, o.served[who]); diff != "" {
				t.Errorf("%s: -want +got\n%s", who, diff)
			}
		}
		if len(all) < 2 {
			t.Error("one instance has served everybody")
		}
	})
}

// What waits behind the crash of its instance keeps its order, at that instance if it is
// back at once, at another one if not.
func TestPoolKeepsOrderBehindACrash(t *testing.T) {
	for name, supervision := range map[string][]string{
		"back at once":   {"instances = 3"},
		"after an hour":  {"instances = 3", `backoff_initial = "1h"`, `backoff_max = "1h"`},
		"JSON's pointer": {"instances = 3"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				orderedBy := "principal"
				if name == "JSON's pointer" {
					orderedBy = "/a~1b/0" // "/" in a name; all payloads lack it: one key
				}
				o := startOrderly(t, orderedBy, supervision...)
				var want []string
				for round := range 2 { // from the second crash on, a restart waits
					dies := o.begin("ada", fmt.Sprintf("%d", round*10))
					var answers []func() messages.Leg
					for n := 1; n < 6; n++ {
						answers = append(answers, o.begin("ada", fmt.Sprintf("%d", round*10+n)))
					}
					for n := range 6 {
						want = append(want, fmt.Sprint(round*10+n))
					}
					for _, i := range o.Capsule("w").Instances { // the one that has ada's calls
						if i.Queue > 0 {
							if err := o.Kill(t.Context(), fmt.Sprintf("w#%d", i.Number)); err != nil {
								t.Error(err)
							}
						}
					}
					if leg := dies(); leg.Outcome != messages.OutcomeCrashed {
						t.Errorf("the killed call: %s", leg.Outcome.String())
					}
					generations := map[uint64]bool{}
					for _, answer := range answers {
						leg := answer()
						generations[leg.Generation] = true
						if leg.Outcome != messages.OutcomeContinue {
							t.Errorf("%s: %s", leg.Outcome.String(), leg.Reason)
						}
					}
					if len(generations) != 1 {
						t.Errorf("generations %v have served what waited", slices.Sorted(maps.Keys(generations)))
					}
				}
				if diff := cmp.Diff(want, o.served["ada"]); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
			})
		})
	}
}
