//go:build !wasip1

// Package guesttest stands in for the host where a capsule's handlers are
// tested, natively:
//
//	func TestGreet(t *testing.T) {
//		host := guesttest.New(t)
//		host.Config["greeting"] = "hello"
//		result, err := guest.Invoke("greet", []byte(`"Ada"`))
//		...
//	}
//
// It is no host: it knows none of the limits, the ordering or the ways to die.
// For those, run the built capsule.
package guesttest

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
	"github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"
)

// Host answers what a capsule asks, from what the test puts into it. Its fields
// may be changed between calls.
type Host struct {
	// Config is what guest.Config looks up.
	Config map[string]string
	// Caller is what guest.CurrentCaller returns; nil is none.
	Caller *guest.Caller
	// Now is what guest.Clock returns; zero means the machine's time.
	Now time.Time
	// OnTrigger answers guest.Trigger; nil answers with nothing.
	OnTrigger func(topic string, payload json.RawMessage) []json.RawMessage
	// OnCapability answers guest.HasCapability; nil says no.
	OnCapability func(sourceID, capability string) bool

	// Lines is what was logged so far.
	Lines []Line
	// Ready says that the capsule called guest.SignalReady.
	Ready bool
}

// Line is one line of the log.
type Line struct {
	Level   guest.Level
	Message string
}

// New puts a host in place until the test ends. Tests that use one can't run in
// parallel: a capsule, and so a process, has one host.
func New(t testing.TB) *Host {
	t.Helper()
	h := &Host{Config: map[string]string{}}
	before := abi.Current
	abi.Current = border{h, t}
	t.Cleanup(func() { abi.Current = before })
	return h
}

// border is the Host as the capsule's system calls see it.
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
