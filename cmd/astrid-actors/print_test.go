package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/messages/actorspb"
)

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                              "0s",
		1500:                           "2µs",
		999 * time.Microsecond:         "999µs",
		1234 * time.Microsecond:        "1.2ms",
		350400 * time.Microsecond:      "350ms",
		2340 * time.Millisecond:        "2.3s",
		10 * time.Second:               "10s",
		60 * time.Second:               "60s",
		119 * time.Second:              "119s",
		2 * time.Minute:                "2m",
		5*time.Minute + 12*time.Second: "5m12s",
		time.Hour:                      "1h",
		3*time.Hour + 2*time.Minute:    "3h2m",
		47*time.Hour + 59*time.Minute:  "47h59m",
		103*time.Hour + 20*time.Minute: "4d7h",
		48 * time.Hour:                 "2d",
		-5 * time.Millisecond:          "-5ms",
	} {
		if got := duration(d); got != want {
			t.Errorf("duration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"plain, é":           "plain, é",
		"two\nlines\tof it":  "two lines of it",
		"\x1b[31mred\x07":    "�[31mred�",
		"\u009b31m":          "�31m",
		"\u202eevil":         "�evil",
		string([]byte{0xff}): "�",
	} {
		if got := printable(text); got != want {
			t.Errorf("printable(%q) = %q, want %q", text, got, want)
		}
	}
	if got, want := shortened("ééééé", 4), "ééé…"; got != want {
		t.Errorf("shortened to %q, want %q", got, want)
	}
}

func TestShellQuoted(t *testing.T) {
	for arg, want := range map[string]string{
		"plain-1.2": "plain-1.2", "": "''", `{"a": 1}`: `'{"a": 1}'`, "it's": `'it'\''s'`, "$x": "'$x'",
	} {
		if got := shellQuoted(arg); got != want {
			t.Errorf("shellQuoted(%q) = %s, want %s", arg, got, want)
		}
	}
}

// eachKindOfEvent calls check with an event of every kind, with every field set. The
// kinds are taken from the protobuf definition, so that none is forgotten.
func eachKindOfEvent(t *testing.T, check func(name string, e *messages.Event)) {
	t.Helper()
	wire := &actorspb.Event{Sequence: 7, At: timestamppb.New(time.Unix(1, 0)), Path: "capsules/x", Generation: 3}
	m := wire.ProtoReflect()
	kinds := m.Descriptor().Oneofs().ByName("what").Fields()
	for i := range kinds.Len() {
		fill(m.Mutable(kinds.Get(i)).Message())
		e := actorspb.ToEvent(wire)
		check(string(kinds.Get(i).Name()), &e)
	}
}

func fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		switch {
		case field.IsMap():
			m.Mutable(field).Map().Set(protoreflect.ValueOfString("<key>").MapKey(), protoreflect.ValueOfUint64(6))
		case field.IsList():
			m.Mutable(field).List().Append(protoreflect.ValueOfString("<one>"))
		case field.Kind() == protoreflect.StringKind:
			m.Set(field, protoreflect.ValueOfString("<text>"))
		case field.Kind() == protoreflect.BoolKind:
			m.Set(field, protoreflect.ValueOfBool(true))
		case field.Kind() == protoreflect.Uint32Kind:
			m.Set(field, protoreflect.ValueOfUint32(4))
		case field.Kind() == protoreflect.Uint64Kind:
			m.Set(field, protoreflect.ValueOfUint64(5))
		case field.Message().FullName() == "google.protobuf.Duration":
			m.Set(field, protoreflect.ValueOfMessage(durationpb.New(1500*time.Microsecond).ProtoReflect()))
		case field.Message().FullName() == "google.protobuf.Timestamp":
			m.Set(field, protoreflect.ValueOfMessage(timestamppb.New(time.Unix(2, 0)).ProtoReflect()))
		default:
			fill(m.Mutable(field).Message())
		}
	}
}

func TestEventJSON(t *testing.T) {
	got := map[string]string{}
	eachKindOfEvent(t, func(name string, e *messages.Event) {
		text, err := e.MarshalJSON()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		line := string(text)
		const head = `{"sequence":7,"at":"1970-01-01T00:00:01Z","path":"capsules/x","generation":3,"event":"`
		rest, ok := strings.CutPrefix(line, head+name+`"`)
		if !ok || !json.Valid([]byte(line)) {
			t.Errorf("%s: %s", name, line)
		}
		got[name] = rest
	})
	failure := `"failure":{"kind":"<text>","message":"<text>","wasm_stack":["<one>"],"at":"1970-01-01T00:00:02Z","stderr":"<text>"}`
	want := map[string]string{
		"system_started":      `,"capsules":4}`,
		"system_stopping":     `,"cause":"<text>"}`,
		"system_stopped":      `,"left_running":["<one>"]}`,
		"actor_restarted":     `,"cause":"<text>","decision":"<text>"}`,
		"capsule_rejected":    `,"id":"<text>","directory":"<text>","problem":"<text>"}`,
		"capsule_added":       `,"version":"<text>"}`,
		"capsule_removed":     `,"version":"<text>"}`,
		"capsule_upgraded":    `,"from":"<text>","to":"<text>","session":"<text>","took_ms":1.5,"module_hash":"<text>"}`,
		"upgrade_failed":      `,"from":"<text>","to":"<text>",` + failure + `,"module_hash":"<text>"}`,
		"capsule_rolled_back": `,"from":"<text>","to":"<text>",` + failure + `,"module_hash":"<text>"}`,
		"capsule_loading":     `,"version":"<text>"}`,
		"capsule_starting":    `,"session":"<text>"}`,
		"capsule_ready":       `,"session":"<text>","took_ms":1.5}`,
		"readiness_timed_out": `,"waited_ms":1.5}`,
		"capsule_crashed":     `,` + failure + `,"during":"<text>"}`,
		"restart_scheduled": `,"attempt":4,"budget_spent":4,"budget":4,"window_ms":1.5,"delay_ms":1.5,"cause":"<text>",` +
			`"supervisor":"<text>","strategy":"<text>","cause_path":"<text>"}`,
		"supervisor_started": `,"children":4}`,
		"supervisor_failed":  `,"cause":"<text>","cause_path":"<text>","decision":"<text>","restarted":true}`,
		"supervisor_stopped": `,"cause":"<text>"}`,
		"pool_scaled":        `,"instance":4,"instances":4,"cause":"<text>"}`,
		"capsule_failed":     `,` + failure + `,"decision":"<text>"}`,
		"capsule_stopping":   `,"cause":"<text>"}`,
		"capsule_stopped":    `,"cause":"<text>"}`,
		"trigger_answered":   `,"topic":"<text>","duration_ms":1.5,"legs":{"<key>":6},"stands_for":5,"problem":"<text>"}`,
		"log_suppressed":     `,"lines":5,"total":5}`,
		"dead_letter":        `,"topic":"<text>","publisher":"<text>","reason":"<text>","count":5}`,
		"approval_requested": `,"id":"<text>","principal":"<text>","action":"<text>","resource":"<text>","risk":"<text>"}`,
		"approval_decided":   `,"id":"<text>","action":"<text>","resource":"<text>","decision":"<text>","cause":"<text>"}`,
		"events_lost":        `,"count":5}`,
		"epoch_changed":      `,"epoch":"<text>"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestEveryEventHasAText checks that the help lists every kind of event, and that each
// has a text.
func TestEveryEventHasAText(t *testing.T) {
	help := newEvents(&app{}).Long
	eachKindOfEvent(t, func(name string, e *messages.Event) {
		if !strings.Contains(help, name) {
			t.Errorf("the help does not know %s", name)
		}
		text := eventText(e)
		if strings.Contains(text, "does not know") || strings.ContainsAny(text, "\n") || !strings.Contains(text, "capsules/x #3") {
			t.Errorf("%s: %q", name, text)
		}
	})
	if text := eventText(&messages.Event{Sequence: 1}); !strings.Contains(text, "does not know") {
		t.Errorf("an event of another kind: %q", text)
	}
}

func TestPsText(t *testing.T) {
	at := time.Unix(100, 0)
	got := psText(&messages.Tree{At: at, Capsules: []*messages.Capsule{
		{ID: "a", Version: "1.2.3", State: messages.StateReady, Generation: 2, Restarts: 1, Queue: 3, Calls: 4, StateBytes: 2048,
			Uptime:      5 * time.Second,
			LastFailure: &messages.Failure{Message: "trap:\n\x1b[31m" + strings.Repeat("x", 100), At: at.Add(-time.Minute)}},
		{ID: "b", State: messages.StateFailed},
	}, Rejected: []messages.CapsuleRejected{{Directory: "/c/a\x1b", Problem: "no name\nno version"}}}, false)
	want := `ID   VERSION   STATE    GENERATION   RESTARTS   QUEUE   CALLS   STORED   UPTIME   LAST FAILURE
a    1.2.3     ready    2            1          3       4       2KiB     5s       60s ago: trap: �[31m` + strings.Repeat("x", 68) + `…
b    -         failed   0            0          0       0       -        -        -
rejected: /c/a�: no name no version
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTreeText(t *testing.T) {
	at := time.Unix(100, 0)
	capsule := func(id string, state messages.CapsuleState) *messages.Capsule {
		return &messages.Capsule{
			ID: id, State: state, Generation: 2, Restart: "permanent", Budget: 5, BudgetSpent: 3, Window: time.Minute,
		}
	}
	crashed := capsule("crashed", messages.StateCrashed)
	crashed.RestartAt = at.Add(200 * time.Millisecond)
	crashed.Reason = "not shown"
	failed := capsule("failed", messages.StateFailed)
	failed.Reason, failed.LastFailure = "budget spent", &messages.Failure{Message: "trap"}
	stopped := capsule("stopped", messages.StateStopped)
	stopped.Reason = "by an operator"
	busy := capsule("busy", messages.StateReady)
	busy.Busy, busy.Queue, busy.Because = 3*time.Second, 2, "ledger crashed, rest_for_one of shop"
	got := treeText(&messages.Tree{
		At: at, Started: at.Add(-3 * time.Second), Triggers: 7, OpenTriggers: 1,
		SystemRestarts: map[string]uint64{"registry": 1, "hook-router": 2, "capsules": 1},
		Capsules: []*messages.Capsule{
			capsule("ready", messages.StateReady), busy, crashed, failed, stopped,
			{ID: "rejected", State: messages.StateFailed, LastFailure: &messages.Failure{Message: "no version"}},
		},
		Rejected: []messages.CapsuleRejected{{Directory: "/c", Problem: "no name"}},
	}, false)
	want := `supervisor          up 3s, triggers: 7, open: 1
└─ root             one for one
   ├─ registry      restarted once
   ├─ hook-router   restarted 2 times
   ├─ event-bus     subscriptions: 0
   └─ capsules      one for one, restarted once
      ├─ ready      ready, generation 2, permanent, restarts 3/5 in 60s
      ├─ busy       ready, generation 2, permanent, restarts 3/5 in 60s, in a call for 3s, calls that wait: 2, restarted because ledger crashed, rest_for_one of shop
      ├─ crashed    crashed, generation 2, permanent, restarts 3/5 in 60s, next in 200ms
      ├─ failed     failed, generation 2, permanent, restarts 3/5 in 60s: budget spent: trap
      ├─ stopped    stopped, generation 2, permanent, restarts 3/5 in 60s: by an operator
      └─ rejected   failed: no version
rejected: /c: no name
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Groups are drawn with their children, in start order.
func TestTreeWithGroups(t *testing.T) {
	capsule := func(path string) *messages.Capsule {
		return &messages.Capsule{ID: path[strings.LastIndexByte(path, '/')+1:], Path: path, State: messages.StateReady}
	}
	group := func(path, state string, children ...string) *messages.Supervisor {
		return &messages.Supervisor{
			Path: path, Name: path[strings.LastIndexByte(path, '/')+1:], State: state, Strategy: "rest_for_one", Children: children,
			Budget: 5, BudgetSpent: 1, Window: time.Minute,
		}
	}
	failed := group("capsules/shop/cache", "failed", "b")
	failed.Restarts, failed.Reason = 2, "no budget"
	got := treeText(&messages.Tree{
		Capsules:    []*messages.Capsule{capsule("capsules/shop/web"), capsule("capsules/alone"), capsule("capsules/shop/cache/b")},
		Supervisors: []*messages.Supervisor{group("capsules/shop", "running", "cache", "web"), failed},
	}, false)
	_, got, _ = strings.Cut(got, "one for one\n   ├─ registry")
	_, got, _ = strings.Cut(got, "one for one\n")
	want := `      ├─ shop       running, rest_for_one, deaths 1/5 in 60s
      │  ├─ cache   failed, rest_for_one, deaths 1/5 in 60s, restarted: 2: no budget
      │  │  └─ b    ready
      │  └─ web     ready
      └─ alone      ready
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTriggerNotes(t *testing.T) {
	reply := &messages.Reply{Legs: []messages.Leg{
		{Capsule: "a", Action: "x", Outcome: messages.OutcomeContinue, Value: []byte("1")},
		{Capsule: "b", Action: "y", Outcome: messages.OutcomeDenied, Reason: "no\x1b"},
		{Capsule: "c", Action: "z", Outcome: messages.OutcomeEmpty},
	}}
	if got, want := triggerNotes(reply, failed), "note: b (y): denied: no�\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	reply.Legs = slices.Repeat(reply.Legs, notesShown+2)
	got := triggerNotes(reply, failed)
	if want := strings.Repeat("note: b (y): denied: no�\n", notesShown) + "note: and 2 more; --json shows all\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
