// Command guardian is a capsule that says who may put text into a prompt. It
// denies by rule, asks other capsules for their opinion by a trigger, and checks
// what the capsule that asks was granted.
package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
)

func init() { guest.Handle("judge", judge) }

func main() {}

// injection is what wants to be put into a prompt.
type injection struct {
	Text   string `json:"text"`
	Source string `json:"source"` // the session UUID of the capsule that wants it
}

func judge(payload []byte) (guest.Result, error) {
	var in injection
	if err := json.Unmarshal(payload, &in); err != nil {
		return guest.Result{}, fmt.Errorf("read the payload: %w", err)
	}

	// The rule: words that the operator forbids, separated by commas.
	for word := range strings.SplitSeq(guest.Config("forbidden"), ",") {
		if word != "" && strings.Contains(strings.ToLower(in.Text), word) {
			guest.Warnf("denied: the text holds %q", word)
			return guest.Deny(fmt.Sprintf("the text holds %q", word)), nil
		}
	}

	// The grant.
	if in.Source != "" && !guest.HasCapability(in.Source, guest.CapabilityPromptInjection) {
		return guest.Deny("the capsule may not put text into prompts"), nil
	}

	// What others say: one no is enough.
	opinions, err := guest.Trigger("guard.opinion", in)
	if err != nil {
		return guest.Result{}, err
	}
	for _, o := range opinions {
		var opinion struct {
			Allow *bool `json:"allow"`
		}
		if err := json.Unmarshal(o, &opinion); err == nil && opinion.Allow != nil && !*opinion.Allow {
			return guest.Deny("another capsule advised against it"), nil
		}
	}
	return guest.ContinueJSON(map[string]any{"allow": true, "opinions": len(opinions)})
}
