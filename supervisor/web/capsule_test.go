package web

import (
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// A death shows the guest's stack and its message, which is text of the guest.
func TestAFailureShowsWhatTheGuestSaid(t *testing.T) {
	templates, err := parse(false)
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	err = templates.ExecuteTemplate(&page, "failure", failureRow{FailureRecord: messages.FailureRecord{
		Failure: messages.Failure{
			Message: "unreachable", At: time.Now(), WasmStack: []string{"main.$work"},
			Stderr: "panic: <b>a bug\x1b[31m\ngoroutine 1",
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := page.String()
	for _, want := range []string{"1 frame", "main.$work", "Standard error", "panic: &lt;b&gt;a bug", "\ngoroutine 1"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
	if strings.Contains(got, "\x1b") {
		t.Errorf("a control character in %q", got)
	}
}
