package messages_test

import (
	"encoding/json"
	"testing"

	"github.com/astrid-actors/astrid-actors/messages"
)

func TestChange(t *testing.T) {
	for _, c := range []struct {
		change     messages.Change
		line, text string
	}{
		{messages.Change{ID: "a", Change: messages.ChangeAdded, Version: "1.0.0"}, "added a 1.0.0", `{"id":"a","change":"added","version":"1.0.0"}`},
		{messages.Change{ID: "a", Change: messages.ChangeUpgraded, Version: "1.1.0", Previous: "1.0.0"}, "upgraded a 1.0.0 -> 1.1.0", `{"id":"a","change":"upgraded","version":"1.1.0","previous":"1.0.0"}`},
		{messages.Change{ID: "a", Change: messages.ChangeUnchanged, Version: "1.0.0"}, "unchanged a", `{"id":"a","change":"unchanged","version":"1.0.0"}`},
		{messages.Change{ID: "a", Change: messages.ChangeRemoved, Version: "1.0.0"}, "removed a", `{"id":"a","change":"removed","version":"1.0.0"}`},
		{messages.Change{ID: "a", Change: messages.ChangeRejected, Reason: "no"}, "rejected a: no", `{"id":"a","change":"rejected","version":"","reason":"no"}`},
	} {
		if got := c.change.String(); got != c.line {
			t.Errorf("got %q, want %q", got, c.line)
		}
		if got, err := json.Marshal(c.change); err != nil || string(got) != c.text {
			t.Errorf("got %s, %v, want %s", got, err, c.text)
		}
	}
}
