package guest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
	"github.com/astrid-actors/astrid-actors/capsulehost/guest/guesttest"
)

// What is published, and what a subscription receives, as the host passes it.
func TestBus(t *testing.T) {
	host := guesttest.New(t)
	host.Interceptors = []guest.Interceptor{{Action: "act", Topic: "a.*"}}
	var waited []time.Duration
	host.OnReceive = func(pattern string, wait time.Duration) guest.Batch {
		waited = append(waited, wait)
		return guest.Batch{Lagged: 2, Messages: []guest.Message{{Topic: pattern, Payload: json.RawMessage(`{"n":1}`), Sequence: 9, Principal: "ann"}}}
	}
	if err := guest.Publish("a.b", map[string]int{"n": 1}); err != nil || string(host.Published[0].Payload) != `{"n":1}` {
		t.Errorf("published %+v, %v", host.Published, err)
	}
	interceptors, err := guest.Interceptors()
	if err != nil || len(interceptors) != 1 || interceptors[0].Action != "act" {
		t.Fatalf("interceptors %+v, %v", interceptors, err)
	}
	own := guest.Subscribe("own")
	for pattern, s := range map[string]guest.Subscription{"a.*": interceptors[0].Subscription, "own": own} {
		batch, err := s.Receive(1500 * time.Millisecond)
		if err != nil || batch.Lagged != 2 || len(batch.Messages) != 1 {
			t.Fatalf("%s: %+v, %v", pattern, batch, err)
		}
		if m := batch.Messages[0]; m.Topic != pattern || m.Type != "custom" || string(m.Payload) != `{"n":1}` || m.Sequence != 9 || m.Principal != "ann" {
			t.Errorf("%s: %+v", pattern, m)
		}
	}
	if _, err := own.Poll(); err != nil || waited[0] != 1500*time.Millisecond || waited[2] != 0 {
		t.Errorf("waited %v, %v", waited, err)
	}
	own.Unsubscribe()
	for what, err := range map[string]error{
		"a topic too long":     guest.Publish(strings.Repeat("t", 257), 1),
		"a payload too long":   guest.Publish("t", strings.Repeat("x", 5<<20)),
		"a payload of no JSON": guest.Publish("t", func() {}),
	} {
		if err == nil {
			t.Errorf("%s was no error", what)
		}
	}
	var tagged guest.Message
	if err := json.Unmarshal([]byte(`{"topic":"t","payload":{"type":"connect"},"timestamp":"2026-01-02T03:04:05Z"}`), &tagged); err != nil || tagged.Type != "connect" || string(tagged.Payload) != `{"type":"connect"}` {
		t.Errorf("%+v, %v", tagged, err)
	}
}
