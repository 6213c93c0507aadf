package web_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
	"github.com/astrid-actors/astrid-actors/supervisor/web"
)

// Requests that wait are shown, escaped, and can be answered where actions are enabled.
func TestApprovals(t *testing.T) {
	sys := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{filepath.Join("..", "..", "test", "capsules", "errand")}})
	acting, looking := serveSystem(t, sys, web.Config{Actions: true}), serveSystem(t, sys, web.Config{})
	lists, err := sys.WatchApprovals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, text := acting.ask(http.MethodGet, "/approvals", ""); !strings.Contains(text, "No capsule waits for a person.") {
		t.Errorf("nothing waits:\n%s", text)
	}
	answer := make(chan string, 1)
	go func() {
		reply, err := sys.Trigger(t.Context(), supervisor.TriggerRequest{
			Topic: "test.errand.approve", Payload: []byte(`{"action":"<b>push</b>","resource":"<script>","risk_level":"low"}`),
		})
		if err != nil {
			t.Error(err)
		}
		answer <- string(reply.Legs[0].Value)
	}()
	id := ""
	for waiting := range lists {
		if len(waiting) > 0 {
			id = waiting[0].ID
			break
		}
	}
	_, text := acting.ask(http.MethodGet, "/approvals", "")
	for _, want := range []string{"1 waiting.", "&lt;b&gt;push&lt;/b&gt;", "&lt;script&gt;", `action="/approvals/` + id + `/session"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q:\n%s", want, text)
		}
	}
	if _, text := looking.ask(http.MethodGet, "/approvals", ""); strings.Contains(text, "<button>Approve") || !strings.Contains(text, "astrid-actors approve "+id) {
		t.Errorf("the page that only shows:\n%s", text)
	}
	form := url.Values{"csrf": {csrfField.FindStringSubmatch(text)[1]}}.Encode()
	for _, tt := range []struct {
		site       *site
		path, form string
		status     int
	}{
		{acting, "/approvals/" + id + "/approve", "csrf=x", 403},
		{looking, "/approvals/" + id + "/approve", "csrf=x", 403},
		{acting, "/approvals/" + id + "/perhaps", form, 404},
		{acting, "/approvals/other/approve", form, 404},
		{acting, "/approvals/" + id + "/approve", form, 303},
		{acting, "/approvals/" + id + "/approve", form, 404},
	} {
		if response, text := tt.site.ask(http.MethodPost, tt.path, tt.form, "Origin", tt.site.url); response.StatusCode != tt.status {
			t.Errorf("%s: status %d, want %d: %s", tt.path, response.StatusCode, tt.status, text)
		}
	}
	if got := <-answer; got != `{"approved":true,"decision":"approve"}` {
		t.Errorf("answered %s", got)
	}
}
