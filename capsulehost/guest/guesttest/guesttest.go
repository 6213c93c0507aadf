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
	"strconv"
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

	// Lines are the logged lines.
	Lines []Line
	// Ready is set when the capsule calls guest.SignalReady.
	Ready bool
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
	h := &Host{Config: map[string]string{}}
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
