package guest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
	"github.com/astrid-actors/astrid-actors/capsulehost/guest/guesttest"
)

func TestCalls(t *testing.T) {
	host := guesttest.New(t)

	if c, ok := guest.CurrentCaller(); ok {
		t.Errorf("nobody called, but it is %v", c)
	}
	when := time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	host.Caller = &guest.Caller{SourceID: "5d1f8e0e-7d0c-4d0a-9c1f-0d3c5a1b2e3f", Timestamp: when}
	if c, ok := guest.CurrentCaller(); !ok || c.Principal != "" || c.SourceID != host.Caller.SourceID || !c.Timestamp.Equal(when) {
		t.Errorf("the caller is %v, %v", c, ok)
	}

	host.Now = when.Add(1500 * time.Microsecond)
	if got, want := guest.Clock(), when.Add(time.Millisecond); !got.Equal(want) {
		t.Errorf("the clock says %v, want %v", got, want)
	}

	guest.SignalReady()
	if !host.Ready {
		t.Error("signalling ready was not heard")
	}

	guest.Tracef("%d", 0)
	guest.Debugf("%d", 1)
	guest.Infof("%d", 2)
	guest.Warnf("%d", 3)
	guest.Errorf("%d", 4)
	if got, want := fmt.Sprint(host.Lines), "[{trace 0} {debug 1} {info 2} {warn 3} {error 4}]"; got != want {
		t.Errorf("logged %s, want %s", got, want)
	}
	host.Lines = nil
	guest.Log(guest.LevelInfo, strings.Repeat("x", 64<<10+1))
	if n := len(host.Lines[0].Message); n != 64<<10 {
		t.Errorf("a long message was cut to %d bytes", n)
	}
	guest.Log(guest.Level(strings.Repeat("x", 65)), "m")
	if n := len(host.Lines[1].Level); n != 64 {
		t.Errorf("a long level was cut to %d bytes", n)
	}

	for n, want := range map[int]string{4 << 10: "asked", 4<<10 + 1: ""} {
		key := strings.Repeat("k", n)
		host.Config[key] = "asked"
		if got := guest.Config(key); got != want {
			t.Errorf("a key of %d bytes: %q, want %q", n, got, want)
		}
	}
}

func TestTrigger(t *testing.T) {
	host := guesttest.New(t)
	if answers, err := guest.Trigger("nobody.there", nil); err != nil || len(answers) != 0 {
		t.Errorf("nobody answered %s, %v", answers, err)
	}

	var asked string
	host.OnTrigger = func(topic string, payload json.RawMessage) []json.RawMessage {
		asked = topic + " " + string(payload)
		return []json.RawMessage{json.RawMessage(`1`), json.RawMessage(`"two"`)}
	}
	answers, err := guest.Trigger("count.up", map[string]int{"by": 1})
	if got, want := fmt.Sprintf("%s %v", answers, err), `[1 "two"] <nil>`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if want := `count.up {"by":1}`; asked != want {
		t.Errorf("asked %s, want %s", asked, want)
	}

	asked = ""
	for name, payload := range map[string]any{"no JSON": func() {}, "too long": strings.Repeat("x", 1<<20)} {
		if _, err := guest.Trigger("count.up", payload); err == nil || asked != "" {
			t.Errorf("%s: got %v, and asked %q", name, err, asked)
		}
	}
}

func TestHasCapability(t *testing.T) {
	host := guesttest.New(t)
	if guest.HasCapability("a", guest.CapabilityPromptInjection) {
		t.Error("allowed by nobody")
	}
	host.OnCapability = func(string, string) bool { return true }
	if !guest.HasCapability("a", guest.CapabilityPromptInjection) {
		t.Error("denied what the host allows")
	}
	if guest.HasCapability(strings.Repeat("a", 1<<10), guest.CapabilityPromptInjection) {
		t.Error("a request over the limit was sent")
	}
}

// A capsule's handlers are ordinary functions; a guesttest.Host replaces the host.
func Example() {
	guest.Handle("example", func(payload []byte) (guest.Result, error) {
		var name string
		if err := json.Unmarshal(payload, &name); err != nil {
			return guest.Result{}, err
		}
		if name == "" {
			return guest.Deny("nobody to greet"), nil
		}
		return guest.ContinueJSON("hello " + name)
	})

	for _, payload := range []string{`"Ada"`, `""`, `1`} {
		r, err := guest.Invoke("example", []byte(payload))
		fmt.Println(r.Action, string(r.Data), err)
	}
	// Output:
	// continue "hello Ada" <nil>
	// deny nobody to greet <nil>
	// continue  json: cannot unmarshal number into Go value of type string
}
