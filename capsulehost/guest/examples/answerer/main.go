// Command answerer is a run-loop capsule that answers requests on the event bus: the sum
// of the numbers in a message on sum.request.NAME is published on sum.response.NAME.
package main

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
	"github.com/astrid-actors/astrid-actors/capsulehost/guest/runloop"
)

func init() { runloop.Handle(loop) }

func main() {}

// loop serves the interceptor of the manifest, whose messages arrive at a subscription.
func loop() error {
	interceptors, err := guest.Interceptors()
	if err != nil {
		return err
	}
	if len(interceptors) != 1 {
		return errors.New("the manifest needs one interceptor")
	}
	requests := interceptors[0].Subscription
	guest.SignalReady()
	for {
		batch, err := requests.Receive(time.Minute)
		if err != nil {
			return err
		}
		if lost := batch.Lagged + batch.Dropped; lost > 0 {
			guest.Warnf("%d requests are lost", lost)
		}
		for _, m := range batch.Messages {
			if err := answer(m); err != nil {
				guest.Warnf("request %d on %s: %v", m.Sequence, m.Topic, err)
			}
		}
	}
}

// answer answers one request.
func answer(m guest.Message) error {
	var numbers []float64
	if err := json.Unmarshal(m.Payload, &numbers); err != nil {
		return err
	}
	sum := 0.0
	for _, n := range numbers {
		sum += n
	}
	return guest.Publish("sum.response."+strings.TrimPrefix(m.Topic, "sum.request."), sum)
}
