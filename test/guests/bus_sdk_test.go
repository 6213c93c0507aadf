package guests

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// ofSDK is a capsule whose module is one of those in sdk, with actions for topics.
func ofSDK(t testing.TB, id, file string, actions map[string]string) supervisor.Capsule {
	t.Helper()
	wasm, err := os.ReadFile("sdk/" + file)
	if err != nil {
		t.Fatal(err)
	}
	text := supervisortest.Manifest(id) + "[capabilities]\nipc_publish = [\"sdk.*\", \"sdk.*.*\"]\nipc_subscribe = [\"sdk.*.*\"]\n"
	for topic, action := range actions {
		text += fmt.Sprintf("[[interceptor]]\nevent = %q\naction = %q\n", topic, action)
	}
	return supervisor.Capsule{Manifest: text, Module: wasm}
}

// Every call of the bus through astrid-sdk's own types: publish, subscribe, poll, recv,
// unsubscribe, and the handles of interceptors, of which only a run loop has some.
func TestBusThroughTheSDK(t *testing.T) {
	t.Parallel()
	s := supervisortest.Start(t, supervisor.Config{}, ofSDK(t, "sdk", "sdk.wasm", map[string]string{"bus": "bus", "msgpack": "msgpack"}))
	reply, err := s.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "bus", Caller: &supervisor.Caller{Principal: "ann"}})
	if err != nil {
		t.Fatal(err)
	}
	one := `{"payload":{"data":{"stars":1,"text":"<ünïcode>"},"type":"custom"},"principal":"ann","topic":"sdk.echo.one"}`
	two := `{"payload":{"data":[1,2.5,null],"type":"custom"},"principal":"ann","topic":"sdk.echo.two"}`
	three := `{"payload":{"k":"v","type":"raw_json"},"principal":"ann","topic":"sdk.echo.three"}`
	want := `{"bindings":0,"empty":[],"handle":true,"late":[],"polled":[` + one + `],"received":[` + one + "," + two + "," + three + `]}`
	if diff := cmp.Diff(want, string(reply.Legs[0].Value)); diff != "" {
		t.Errorf("%s: -want +got\n%s", reply.Legs[0].Reason, diff)
	}
	reply = s.Ask("msgpack", "") // the payload is no JSON, so the call traps, as in the reference
	if leg := reply.Legs[0]; leg.Outcome.String() != "crashed" || !strings.Contains(leg.Reason, "astrid_ipc_publish") || !strings.Contains(leg.Reason, "not JSON") {
		t.Errorf("MessagePack: %s: %s", leg.Outcome, leg.Reason)
	}
}

// A run loop of astrid-sdk answers requests over the bus, also after it was killed, and
// receives through handles what its interceptors match.
func TestRunLoopOfTheSDK(t *testing.T) {
	t.Parallel()
	s := supervisortest.Start(t, supervisor.Config{}, ofSDK(t, "loop", "loop.wasm", map[string]string{"order.placed": "placed", "order.paid": "paid"}))
	for generation := range uint64(2) {
		s.AwaitReady("loop", generation+1)
		ctx, done := context.WithCancel(t.Context())
		answers, intercepted := s.Subscribe(ctx, "sdk.response.*"), s.Subscribe(ctx, "sdk.intercepted")
		for n := range 3 {
			for topic, payload := range map[string]string{fmt.Sprintf("sdk.request.%d", n): fmt.Sprint(n), "order.paid": fmt.Sprintf(`{"n":%d}`, n)} {
				if err := s.Publish(ctx, topic, json.RawMessage(payload), nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		n := 0
		for m, err := range answers {
			want := fmt.Sprintf(`sdk.response.%d {"answer_to":{"data":%d,"type":"custom"}}`, n, n)
			if got := m.Topic + " " + string(m.Payload); err != nil || got != want {
				t.Errorf("%v, %s; want %s", err, got, want)
			}
			if n++; n == 3 {
				break
			}
		}
		n = 0
		for m, err := range intercepted {
			want := fmt.Sprintf(`{"action":"paid","payload":{"data":{"n":%d},"type":"custom"},"topic":"order.paid"}`, n)
			if got := string(m.Payload); err != nil || got != want {
				t.Errorf("%v, %s; want %s", err, got, want)
			}
			if n++; n == 3 {
				break
			}
		}
		done()
		if err := s.Kill(t.Context(), "loop"); err != nil {
			t.Fatal(err)
		}
	}
}
