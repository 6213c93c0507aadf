package main

import (
	"encoding/json"
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
	"github.com/astrid-actors/astrid-actors/capsulehost/guest/guesttest"
)

func TestJudge(t *testing.T) {
	host := guesttest.New(t)
	host.Config["forbidden"] = "password,secret"
	host.OnCapability = func(source, capability string) bool {
		return source == "granted" && capability == guest.CapabilityPromptInjection
	}
	host.OnTrigger = func(topic string, payload json.RawMessage) []json.RawMessage {
		if topic != "guard.opinion" {
			t.Errorf("triggered %s", topic)
		}
		var in injection
		if err := json.Unmarshal(payload, &in); err != nil {
			t.Errorf("triggered with %s: %v", payload, err)
		}
		allow, err := json.Marshal(map[string]bool{"allow": in.Text != "doubtful"})
		if err != nil {
			t.Error(err)
		}
		return []json.RawMessage{json.RawMessage(`"no opinion"`), allow}
	}

	for _, tt := range []struct {
		name, payload string
		action        guest.Action
		answer        string
	}{
		{"allowed", `{"text":"be kind"}`, guest.ActionContinue, `{"allow":true,"opinions":2}`},
		{"forbidden word", `{"text":"the Secret is"}`, guest.ActionDeny, `the text holds "secret"`},
		{"granted", `{"text":"be kind","source":"granted"}`, guest.ActionContinue, `{"allow":true,"opinions":2}`},
		{"not granted", `{"text":"be kind","source":"other"}`, guest.ActionDeny, "the capsule may not put text into prompts"},
		{"advised against", `{"text":"doubtful"}`, guest.ActionDeny, "another capsule advised against it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := guest.Invoke("judge", []byte(tt.payload))
			if err != nil || r.Action != tt.action || string(r.Data) != tt.answer {
				t.Errorf("got %v %s, %v; want %v %s", r.Action, r.Data, err, tt.action, tt.answer)
			}
		})
	}
}
