//go:build !wasip1

// Package guesttest replaces the host in native tests of a capsule's handlers:
//
//	func TestGreet(t *testing.T) {
//		host := guesttest.New(t)
//		host.Config["greeting"] = "hello"
//		result, err := guest.Invoke("greet", []byte(`"Ada"`))
//		...
//	}
//
// It does not simulate limits, the order of calls or crashes. To test those, run the built
// capsule.
package guesttest

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
	"github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"
)

// Host answers a capsule's system calls from the values that the test sets. Its fields may
// be changed between calls.
type Host struct {
	// Config holds the values for guest.Config.
	Config map[string]string
	// Caller is the result of guest.CurrentCaller; nil means no caller.
	Caller *guest.Caller
	// Now is the result of guest.Clock; zero means the machine's time.
	Now time.Time
	// OnTrigger answers guest.Trigger; nil returns no answers.
	OnTrigger func(topic string, payload json.RawMessage) []json.RawMessage
	// OnCapability answers guest.HasCapability; nil returns false.
	OnCapability func(sourceID, capability string) bool

	// OnReceive returns the messages that wait for a subscription; nil returns none.
	OnReceive func(pattern string, wait time.Duration) guest.Batch
	// Interceptors are the actions and patterns of a run loop's interceptors.
	Interceptors []guest.Interceptor

	// Published are the messages that the capsule has published: only their Topic and
	// Payload are set.
	Published []guest.Message
	// State is the capsule's durable state, for every principal the same. StateError, if
	// not "", is the error of the calls that return one.
	State      map[string]string
	StateError string

	// Lines are the logged lines.
	Lines []Line
	// Ready is set when the capsule calls guest.SignalReady.
	Ready bool

	subscriptions []string // patterns: the handle is the place, from 1
}

// Line is one line of the log.
type Line struct {
	Level   guest.Level
	Message string
}

// New installs a host until the test ends. Tests that use it can't run in parallel: the
// process has one host, as a capsule does.
func New(t testing.TB) *Host {
	t.Helper()
	h := &Host{Config: map[string]string{}, State: map[string]string{}}
	before := abi.Current
	abi.Current = border{h, t}
	t.Cleanup(func() { abi.Current = before })
	return h
}

// border implements abi.Host for a Host.
type border struct {
	host *Host
	t    testing.TB
}

func (b border) Log(level, message string) {
	b.host.Lines = append(b.host.Lines, Line{guest.Level(level), message})
}

func (b border) Config(key string) string { return b.host.Config[key] }

func (b border) Caller() string {
	c := b.host.Caller
	if c == nil {
		return "{}"
	}
	var principal any
	if c.Principal != "" {
		principal = c.Principal
	}
	return b.json(map[string]any{"principal": principal, "source_id": c.SourceID, "timestamp": c.Timestamp})
}

func (b border) SignalReady() { b.host.Ready = true }

func (b border) ClockMillis() string {
	now := b.host.Now
	if now.IsZero() {
		now = time.Now()
	}
	return strconv.FormatInt(now.UnixMilli(), 10)
}

func (b border) Trigger(request string) string {
	var r struct {
		Hook    string          `json:"hook"`
		Payload json.RawMessage `json:"payload"`
	}
	b.parse(request, &r)
	answers := []json.RawMessage{}
	if b.host.OnTrigger != nil {
		answers = append(answers, b.host.OnTrigger(r.Hook, r.Payload)...)
	}
	return b.json(answers)
}

func (b border) CheckCapability(request string) string {
	var r struct {
		SourceUUID string `json:"source_uuid"`
		Capability string `json:"capability"`
	}
	b.parse(request, &r)
	allowed := b.host.OnCapability != nil && b.host.OnCapability(r.SourceUUID, r.Capability)
	return b.json(map[string]bool{"allowed": allowed})
}

func (b border) Publish(topic, payload string) {
	b.host.Published = append(b.host.Published, guest.Message{Topic: topic, Payload: json.RawMessage(payload)})
}

func (b border) Subscribe(pattern string) string {
	b.host.subscriptions = append(b.host.subscriptions, pattern)
	return strconv.Itoa(len(b.host.subscriptions))
}

func (b border) Unsubscribe(handle string) { b.host.subscriptions[b.place(handle)] = "" }

func (b border) Receive(handle, milliseconds string) string {
	wait, err := strconv.ParseInt(milliseconds, 10, 64)
	if err != nil {
		b.t.Fatalf("guesttest: time-out %s: %v", milliseconds, err)
	}
	var batch guest.Batch
	if b.host.OnReceive != nil {
		batch = b.host.OnReceive(b.host.subscriptions[b.place(handle)], time.Duration(wait)*time.Millisecond)
	}
	all := []any{}
	for _, m := range batch.Messages {
		all = append(all, map[string]any{
			"topic": m.Topic, "payload": map[string]any{"type": "custom", "data": m.Payload},
			"source_id": m.SourceID, "principal": m.Principal, "timestamp": m.Timestamp, "seq": m.Sequence,
		})
	}
	return b.json(map[string]any{"messages": all, "dropped": batch.Dropped, "lagged": batch.Lagged})
}

// place returns the place of a subscription, or ends the test.
func (b border) place(handle string) int {
	b.t.Helper()
	n, err := strconv.Atoi(handle)
	if err != nil || n < 1 || n > len(b.host.subscriptions) || b.host.subscriptions[n-1] == "" {
		b.t.Fatalf("guesttest: there is no subscription %s", handle)
	}
	return n - 1
}

func (b border) InterceptorHandles() string {
	all := []any{}
	for _, i := range b.host.Interceptors {
		handle, _ := strconv.Atoi(b.Subscribe(i.Topic))
		all = append(all, map[string]any{"handle_id": handle, "action": i.Action, "topic": i.Topic})
	}
	return b.json(all)
}

func (b border) StateGet(key string) string { return b.status(b.host.State[key]) }

func (b border) StateSet(key, value string) { b.host.State[key] = value }

func (b border) StateDelete(key string) { delete(b.host.State, key) }

func (b border) StateKeys(prefix string) string {
	keys := []string{}
	for _, key := range slices.Sorted(maps.Keys(b.host.State)) {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return b.status(b.json(keys))
}

func (b border) StateClear(prefix string) string {
	before := len(b.host.State)
	maps.DeleteFunc(b.host.State, func(key, _ string) bool { return strings.HasPrefix(key, prefix) })
	return b.status(strconv.Itoa(before - len(b.host.State)))
}

// status puts a status byte in front of a result, as the host does.
func (b border) status(result string) string {
	if b.host.StateError != "" {
		return "\x01" + b.host.StateError
	}
	return "\x00" + result
}

func (b border) parse(request string, into any) {
	b.t.Helper()
	if err := json.Unmarshal([]byte(request), into); err != nil {
		b.t.Fatalf("guesttest: request %s: %v", request, err)
	}
}

func (b border) json(v any) string {
	b.t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		b.t.Fatalf("guesttest: %v", err)
	}
	return string(text)
}
