package web_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
	"github.com/astrid-actors/astrid-actors/supervisor/web"
)

// post sends a command, as a button does.
func (s *site) post(path string) (answer, string) {
	s.t.Helper()
	return s.ask(http.MethodPost, path, url.Values{"csrf": {s.csrf()}}.Encode(), "Origin", s.url)
}

// shows waits until a page has a text, or has it no longer: what it shows may be a moment
// old.
func (s *site) shows(path, want string, is bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		_, text := s.ask(http.MethodGet, path, "")
		if strings.Contains(text, want) == is {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: %q is there: %v, in %s", path, want, !is, text)
		}
	}
}

// put writes a capsule's directory. A version that is not one is a manifest that is
// rejected.
func put(t *testing.T, dir, id, version string) {
	t.Helper()
	module, err := os.ReadFile(filepath.Join("..", "..", "test", "capsules", "fixed", "fixed.wasm"))
	to := filepath.Join(dir, id)
	manifest := strings.Replace(supervisortest.Manifest(id, "test."+id), "1.0.0", version, 1)
	if err := errors.Join(err, os.MkdirAll(to, 0o700), os.WriteFile(filepath.Join(to, "module.wasm"), module, 0o600),
		os.WriteFile(filepath.Join(to, "Capsule.toml"), []byte(manifest), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// A reload says what it has changed, and why a version was rejected; a capsule that does
// not run what its files say needs attention until it does. A removal leads to the list.
func TestReloadAndRemove(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a", "1.0.0")
	put(t, dir, "b", "no version")
	sys := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{dir}, AllowUnverified: true})
	s := serveSystem(t, sys, web.Config{Actions: true})
	says := func(path string, want ...string) {
		t.Helper()
		response, text := s.post(path)
		for _, w := range want {
			if response.StatusCode != http.StatusOK || !strings.Contains(strings.Join(strings.Fields(text), " "), w) {
				t.Errorf("%s: %d, no %q in %s", path, response.StatusCode, w, text)
			}
		}
	}
	shows := s.shows
	shows("/", "capsules/b: rejected", true)
	shows("/", `href="/capsules/b/reload"`, true)
	says("/capsules/a/reload", "unchanged")
	put(t, dir, "a", "1.1.0")
	put(t, dir, "b", "1.0.0")
	says("/capsules/b/reload", `added</b> <a href="/capsules/b">b</a> 1.0.0`)
	shows("/", "capsules/b: rejected", false)
	says("/reload", "1.0.0 → 1.1.0", "unchanged</b> <a href=\"/capsules/b\">")
	put(t, dir, "a", "none")
	says("/capsules/a/reload", "rejected", "none")
	shows("/", "capsules/a: upgrade failed", true)
	shows("/capsules/a", "version 1.1.0 goes on", true)
	put(t, dir, "a", "2.0.0")
	says("/reload", "1.1.0 → 2.0.0")
	shows("/", "capsules/a: upgrade failed", false)

	response, _ := s.post("/capsules/a/remove")
	if got := response.Header.Get("Location"); response.StatusCode != http.StatusSeeOther || got != "/capsules" {
		t.Errorf("a removal: %d, to %q", response.StatusCode, got)
	}
	if response, _ := s.ask(http.MethodGet, "/capsules/a", ""); response.StatusCode != http.StatusNotFound {
		t.Errorf("a removed capsule's page: %d", response.StatusCode)
	}
	for _, path := range []string{"/capsules/a/reload", "/capsules/nobody/remove", "/groups/nobody/stop", "/capsules/b/explode", "/groups/b/kill"} {
		if response, _ := s.post(path); response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, response.StatusCode)
		}
	}
}

// What a page that only shows may not do.
func TestCommandsNeedActions(t *testing.T) {
	s := serve(t, web.Config{})
	for _, path := range []string{"/reload", "/capsules/echo/reload", "/capsules/echo/remove"} {
		if response, _ := s.ask(http.MethodGet, path, ""); response.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", path, response.StatusCode)
		}
	}
}

// A group has a page, from which it is steered.
func TestGroupPage(t *testing.T) {
	s := serveSystem(t, supervisortest.Start(t, supervisor.Config{Supervisors: []supervisor.Group{
		{Name: "shop", Strategy: supervisor.RestForOne, Children: []string{"ledger", "mail"}},
		{Name: "mail", Children: []string{"mailer"}},
	}}, supervisortest.Func("ledger", "pay", echo), supervisortest.Func("mailer", "mail", echo)), web.Config{Actions: true})
	if err := s.sys.Kill(t.Context(), "ledger"); err != nil {
		t.Fatal(err)
	}
	s.sys.AwaitReady("mailer", 2)
	for _, want := range []string{
		"rest_for_one", "1/5 deaths", "ledger crashed, rest_for_one of shop", `href="/groups/mail"`, `href="/groups/shop/restart"`,
		`id="lane-mailer"`, `id="lane-ledger"`,
	} {
		s.shows("/groups/shop", want, true)
	}
	if _, text := s.ask(http.MethodGet, "/capsules/mailer", ""); !strings.Contains(text, `href="/groups/mail"`) || !strings.Contains(text, "capsules/shop/mail/") {
		t.Errorf("a capsule's page does not name its group: %s", text)
	}
	if response, _ := s.post("/groups/shop/stop"); response.StatusCode != http.StatusSeeOther || response.Header.Get("Location") != "/groups/shop" {
		t.Errorf("a stop: %d", response.StatusCode)
	}
	if state := s.sys.Snapshot().Supervisors[0].State; state != "stopped" {
		t.Errorf("the group is %s", state)
	}
	s.shows("/groups/shop", `href="/groups/shop/start"`, true)
	if response, _ := s.ask(http.MethodGet, "/groups/nobody", ""); response.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown group: %d", response.StatusCode)
	}
}

// The page of a capsule's state has its keys, and hides the values until one is asked for;
// a page that only shows never has them.
func TestStatePage(t *testing.T) {
	keeps := supervisortest.Func("echo", "test.*", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
		return capsulehost.Result{}, nil
	})
	sys := supervisortest.Start(t, supervisor.Config{}, keeps)
	for key, value := range map[string]string{"colour": "deep purple", "count/1": "\x00\xff", "<b>": strings.Repeat("é", 4<<10)} {
		if err := sys.State("echo").Set(t.Context(), key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := sys.State("echo").For("alice").Set(t.Context(), "hers", []byte("sesame")); err != nil {
		t.Fatal(err)
	}
	for _, actions := range []bool{true, false} {
		s := serveSystem(t, sys, web.Config{Actions: actions})
		page := func(query string) string {
			_, text := s.ask(http.MethodGet, "/capsules/echo/state"+query, "")
			return text
		}
		for _, c := range []struct {
			query, want string
			is          bool
		}{
			{"", "colour", true}, {"", "&lt;b&gt;", true}, {"", "purple", false}, {"", `<option value="alice"`, true}, {"", "hers", false},
			{"?principal=alice", "hers", true}, {"?principal=alice", "sesame", false}, {"?prefix=count", "colour", false},
			{"?show=colour", "deep purple", actions}, {"?show=count%2F1", "00 ff", actions}, {"?show=%3Cb%3E", "and 4 KiB more", actions},
			{"?principal=alice&show=hers", "sesame", actions}, {"?principal=bad%20name", "role=\"alert\"", true},
		} {
			if text := page(c.query); strings.Contains(text, c.want) != c.is {
				t.Errorf("actions %v, %q: %q is there: %v, in %s", actions, c.query, c.want, !c.is, text)
			}
		}
	}
}

// The pages of traces list the triggers, and show one with its calls; of one that is not
// kept any longer there is none.
func TestTracePages(t *testing.T) {
	s := serve(t, web.Config{})
	if _, err := s.sys.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "test.a"}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/traces": `href="/traces/1"`, "/traces/1": "1.0.0 g1"} {
		if response, text := s.ask(http.MethodGet, path, ""); response.StatusCode != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: %d, no %q in %s", path, response.StatusCode, want, text)
		}
	}
	for _, path := range []string{"/traces/2", "/traces/x"} {
		if response, _ := s.ask(http.MethodGet, path, ""); response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, response.StatusCode)
		}
	}
}
