package actorspb_test

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/messages/actorspb"
)

// TestNothingIsLost fills every field of every message that leaves the process,
// and has it back from protobuf: a field that a conversion forgets is seen.
func TestNothingIsLost(t *testing.T) {
	t.Run("Reply", func(t *testing.T) {
		same(t, func(r *messages.Reply) *messages.Reply { return actorspb.ToReply(actorspb.FromReply(r)) })
	})
	t.Run("Tree", func(t *testing.T) {
		same(t, func(tree *messages.Tree) *messages.Tree { return actorspb.ToTree(actorspb.FromTree(tree)) })
	})
	t.Run("CapsuleDetail", func(t *testing.T) {
		same(t, func(d *messages.CapsuleDetail) *messages.CapsuleDetail {
			return actorspb.ToCapsuleDetail(actorspb.FromCapsuleDetail(d))
		})
	})
	t.Run("LogLine", func(t *testing.T) {
		same(t, func(l *messages.LogLine) *messages.LogLine {
			out := actorspb.ToLogLine(actorspb.FromLogLine(*l))
			return &out
		})
	})
	t.Run("Trace", func(t *testing.T) {
		// Spans are in calls and calls in spans, without end: fill can't.
		span := messages.TraceSpan{Topic: "t", Published: true, From: "a", Start: 1, Duration: 2, Open: true, Problem: "p"}
		call := messages.TraceCall{
			Capsule: "c", Action: "act", Priority: 3, Version: "1", Generation: 4, Outcome: messages.OutcomeFinal, Reason: "r",
			Start: 5, QueueWait: 6, Duration: 7, Reductions: 8, Made: []messages.TraceSpan{span},
		}
		root := span
		root.Calls = []messages.TraceCall{call}
		want := messages.Trace{ID: 9, At: time.Unix(5, 6).UTC(), Principal: "alice", Root: root, Omitted: 10}
		if diff := cmp.Diff(want, actorspb.ToTrace(actorspb.FromTrace(want))); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
	for _, detail := range details {
		t.Run(detail.Name(), func(t *testing.T) {
			want := messages.Event{Sequence: 7, At: time.Unix(5, 6).UTC(), Path: "capsules/a", Generation: 3}
			filled := reflect.New(reflect.TypeOf(detail))
			fill(filled.Elem(), 1)
			want.Detail, _ = reflect.TypeAssert[messages.Detail](filled.Elem())
			if diff := cmp.Diff(want, actorspb.ToEvent(actorspb.FromEvent(want))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// details has one of each kind of event.
var details = []messages.Detail{
	messages.SystemStarted{}, messages.SystemStopping{}, messages.SystemStopped{}, messages.ActorRestarted{},
	messages.CapsuleRejected{}, messages.CapsuleLoading{}, messages.CapsuleStarting{}, messages.CapsuleReady{},
	messages.ReadinessTimedOut{}, messages.CapsuleCrashed{}, messages.RestartScheduled{}, messages.CapsuleFailed{},
	messages.CapsuleStopping{}, messages.CapsuleStopped{}, messages.TriggerAnswered{}, messages.LogSuppressed{},
	messages.CapsuleAdded{}, messages.CapsuleRemoved{}, messages.CapsuleUpgraded{}, messages.UpgradeFailed{},
	messages.CapsuleRolledBack{}, messages.DeadLetter{}, messages.EventsLost{}, messages.EpochChanged{}, messages.SupervisorStarted{},
	messages.SupervisorFailed{}, messages.SupervisorStopped{}, messages.ApprovalRequested{}, messages.ApprovalDecided{},
	messages.PoolScaled{},
}

// TestEveryEventHasAWireForm holds the list above against event.proto: a kind
// has the same name in both.
func TestEveryEventHasAWireForm(t *testing.T) {
	var have, want []string
	for _, d := range details {
		have = append(have, d.Name())
	}
	fields := (&actorspb.Event{}).ProtoReflect().Descriptor().Oneofs().ByName("what").Fields()
	for i := range fields.Len() {
		want = append(want, string(fields.Get(i).Name()))
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("-event.proto +messages:\n%s", diff)
	}
}

func TestEnumerations(t *testing.T) {
	for n := range messages.OutcomeCount {
		want := strings.ToLower(strings.TrimPrefix(actorspb.Outcome(n).String(), "OUTCOME_"))
		if got := messages.Outcome(n).String(); got != want && n > 0 {
			t.Errorf("outcome %d is %q here and %q on the wire", n, got, want)
		}
	}
	for n := range messages.StateCount {
		want := strings.ToLower(strings.TrimPrefix(actorspb.CapsuleState(n).String(), "CAPSULE_STATE_"))
		if got := messages.CapsuleState(n).String(); got != want && n > 0 {
			t.Errorf("state %d is %q here and %q on the wire", n, got, want)
		}
	}
	if len(actorspb.Outcome_name) != messages.OutcomeCount || len(actorspb.CapsuleState_name) != messages.StateCount {
		t.Error("the wire has other outcomes or states")
	}
}

// same fills a message twice, with different values, and compares it with what
// comes back.
func same[T any](t *testing.T, through func(*T) *T) {
	t.Helper()
	for seed := range uint64(2) {
		want := new(T)
		fill(reflect.ValueOf(want).Elem(), seed)
		if diff := cmp.Diff(want, through(want)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// fill sets every field, at any depth, to a value that is not zero.
func fill(v reflect.Value, seed uint64) {
	random := rand.New(rand.NewPCG(seed, seed))
	var set func(v reflect.Value)
	set = func(v reflect.Value) {
		switch v.Interface().(type) {
		case time.Time:
			v.Set(reflect.ValueOf(time.Unix(1+random.Int64N(1e9), random.Int64N(1e9)).UTC()))
			return
		case messages.Outcome:
			v.SetUint(1 + random.Uint64N(uint64(messages.OutcomeCount-1)))
			return
		case messages.CapsuleState:
			v.SetUint(1 + random.Uint64N(uint64(messages.StateCount-1)))
			return
		}
		switch v.Kind() {
		case reflect.Bool:
			v.SetBool(true)
		case reflect.String:
			v.SetString(string(rune('a' + random.IntN(26))))
		case reflect.Int, reflect.Int64:
			v.SetInt(1 + random.Int64N(1000))
		case reflect.Uint8, reflect.Uint32, reflect.Uint64:
			v.SetUint(1 + random.Uint64N(100))
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			for i := range v.Len() {
				set(v.Index(i))
			}
		case reflect.Map:
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			set(key)
			set(value)
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(key, value)
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			set(v.Elem())
		case reflect.Struct:
			for _, field := range v.Fields() {
				set(field)
			}
		default:
			panic("no value for " + v.Type().String())
		}
	}
	set(v)
}
