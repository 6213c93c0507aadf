// Command guardian is a capsule that decides which text may be put into a prompt. It
// denies by rule, asks other capsules for their opinion with a trigger, and checks the
// capability of the requesting capsule.
package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
)

func init() { guest.Handle("judge", judge) }

func main() {}

// injection is a request to put text into a prompt.
type injection struct {
	Text   string `json:"text"`
	Source string `json:"source"` // the session UUID of the requesting capsule
}

func judge(payload []byte) (guest.Result, error) {
	var in injection
	if err := json.Unmarshal(payload, &in); err != nil {
		return guest.Result{}, fmt.Errorf("read the payload: %w", err)
	}

	// The rule: forbidden words, configured by the operator and separated by commas.
	for word := range strings.SplitSeq(guest.Config("forbidden"), ",") {
		if word != "" && strings.Contains(strings.ToLower(in.Text), word) {
			guest.Warnf("denied: the text holds %q", word)
			return guest.Deny(fmt.Sprintf("the text holds %q", word)), nil
		}
	}

	// The capability.
	if in.Source != "" && !guest.HasCapability(in.Source, guest.CapabilityPromptInjection) {
		return guest.Deny("the capsule may not put text into prompts"), nil
	}

	// The opinions of others: a single no denies.
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
