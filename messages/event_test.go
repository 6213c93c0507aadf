package messages_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/messages"
)

func TestEventJSON(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	for _, c := range []struct {
		event messages.Event
		want  string
	}{
		{
			messages.Event{Sequence: 3, At: at, Path: "capsules/a", Generation: 2, Detail: messages.CapsuleReady{Session: "s", Took: 1500 * time.Microsecond}},
			`{"sequence":3,"at":"2026-01-02T03:04:05.000006Z","path":"capsules/a","generation":2,"event":"capsule_ready","session":"s","took_ms":1.5}`,
		},
		{
			messages.Event{Sequence: 4, At: at, Detail: messages.SystemStopped{}},
			`{"sequence":4,"at":"2026-01-02T03:04:05.000006Z","path":"","generation":0,"event":"system_stopped","left_running":[]}`,
		},
		{
			messages.Event{At: at, Detail: messages.CapsuleCrashed{During: "call", Failure: messages.Failure{Kind: "trap", Message: "a <b>", At: at}}},
			`{"sequence":0,"at":"2026-01-02T03:04:05.000006Z","path":"","generation":0,"event":"capsule_crashed",` +
				`"failure":{"kind":"trap","message":"a <b>","wasm_stack":[],"at":"2026-01-02T03:04:05.000006Z","stderr":""},"during":"call"}`,
		},
		{messages.Event{At: at}, `{"sequence":0,"at":"2026-01-02T03:04:05.000006Z","path":"","generation":0}`},
	} {
		got, err := c.event.MarshalJSON()
		if err != nil || !json.Valid(got) {
			t.Errorf("%v: not JSON: %s, %v", c.event, got, err)
		}
		if diff := cmp.Diff(c.want, string(got)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// TestCopiesShareNothing: whoever changes a copy changes no other.
func TestCopiesShareNothing(t *testing.T) {
	e := messages.Event{Detail: messages.TriggerAnswered{Legs: map[string]uint64{"continue": 1}}}
	d, _ := e.Clone().Detail.(messages.TriggerAnswered)
	d.Legs["continue"] = 2
	if got, _ := e.Detail.(messages.TriggerAnswered); got.Legs["continue"] != 1 {
		t.Error("the copy of an event shares its map")
	}

	c := &messages.Capsule{
		LastFailure: &messages.Failure{Kind: "trap", WasmStack: []string{"f"}}, Interceptors: []messages.Interceptor{{Action: "a"}},
		Crashes: map[string]uint64{"trap": 1}, RestartsByKind: map[string]uint64{"trap": 1},
		CallDuration: messages.Histogram{Buckets: []messages.Bucket{{Index: 1, Count: 1}}},
	}
	before := c.Clone()
	changed := c.Clone()
	changed.LastFailure.Kind, changed.LastFailure.WasmStack[0], changed.Interceptors[0].Action = "x", "x", "x"
	changed.Crashes["trap"], changed.RestartsByKind["trap"], changed.CallDuration.Buckets[0].Count = 9, 9, 9
	if diff := cmp.Diff(before, c); diff != "" {
		t.Errorf("the copy of a capsule shares something:\n%s", diff)
	}
}

func TestWords(t *testing.T) {
	for n := range messages.OutcomeCount {
		o := messages.Outcome(n)
		text, _ := json.Marshal(o)
		var back messages.Outcome
		if err := json.Unmarshal(text, &back); err != nil || back != o {
			t.Errorf("%s becomes %v: %v", text, back, err)
		}
	}
	var state messages.CapsuleState
	if err := state.UnmarshalText([]byte("redy")); err == nil {
		t.Error("an unknown state is read")
	}
	if got := messages.CapsuleState(77).String(); got != "unknown (77)" {
		t.Error(got)
	}
}
