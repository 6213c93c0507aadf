package supervisor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

func fixture(name string) string { return filepath.Join("..", "test", "capsules", name) }

const wantsToPush = `{"action":"git push","resource":"git push origin main","risk_level":"high"}`

// A capsule waits for a person; what the person decides reaches it, and is remembered as
// they say.
func TestApprovals(t *testing.T) {
	sys := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{fixture("errand")}, TriggerTimeout: time.Hour})
	lists, err := sys.WatchApprovals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan *messages.Reply, 1)
	begin := func() {
		go func() {
			reply, err := sys.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "test.errand.approve", Payload: []byte(wantsToPush)})
			if err != nil {
				t.Error(err)
			}
			answers <- reply
		}()
	}
	steps := []struct {
		decision supervisor.Decision
		want     string
	}{
		{supervisor.Deny, `{"approved":false,"decision":"deny"}`},
		{supervisor.ApproveOnce, `{"approved":true,"decision":"approve"}`},
		{supervisor.ApproveSession, `{"approved":true,"decision":"approve_session"}`},
	}
	begin()
	for waiting := range lists {
		if len(waiting) == 0 {
			continue
		}
		a := waiting[0]
		if a.Capsule != "errand" || a.Principal != "default" || a.Action != "git push" || a.Risk != "high" || a.Expires.Sub(a.Asked) != time.Minute {
			t.Errorf("%+v waits", a)
		}
		if err := sys.Decide(t.Context(), a.ID, steps[0].decision); err != nil {
			t.Fatal(err)
		}
		if got := string((<-answers).Legs[0].Value); got != steps[0].want {
			t.Errorf("%s: %s", steps[0].decision, got)
		}
		if steps = steps[1:]; len(steps) == 0 {
			break
		}
		begin()
	}
	sys.Expect("test.errand.approve", wantsToPush, `errand continue {"approved":true,"decision":"allowance"}`)
	remembered, err := sys.RememberedApprovals(t.Context())
	if err != nil || len(remembered) != 1 {
		t.Errorf("remembered: %+v, %v", remembered, err)
	}
	for id, d := range map[string]supervisor.Decision{"none": supervisor.ApproveOnce, "nothing": supervisor.Deny} {
		if err := sys.Decide(t.Context(), id, d); !errors.Is(err, supervisor.ErrNoApproval) {
			t.Errorf("%s %s: %v", d, id, err)
		}
	}
	if err := sys.Decide(t.Context(), "x", "perhaps"); !errors.Is(err, supervisor.ErrInvalid) {
		t.Errorf("%v", err)
	}
	want := []string{
		"asks to git push: git push origin main", "deny: a person", "asks to git push: git push origin main", "approve: a person",
		"asks to git push: git push origin main", "approve_session: a person",
	}
	if got := strings.Join(sys.Timeline("errand"), "\n"); !strings.Contains(got, strings.Join(want, "\n")) {
		t.Errorf("the timeline is\n%s", got)
	}
}

func TestNoApprovalsWithoutServe(t *testing.T) {
	sup, err := supervisor.New(supervisor.Config{Home: t.TempDir(), CapsuleDirs: []string{t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	_, waiting := sup.Approvals()
	_, watching := sup.WatchApprovals(t.Context())
	_, remembered := sup.RememberedApprovals(t.Context())
	_, has := sup.HasSecret(t.Context(), "one", "k")
	for _, err := range []error{waiting, watching, remembered, has, sup.Decide(t.Context(), "x", supervisor.Deny), sup.SetSecret(t.Context(), "one", "k", "v")} {
		if !errors.Is(err, supervisor.ErrNotServing) {
			t.Errorf("%v", err)
		}
	}
}

// onboarding returns a copy of the capsule that asks, with its questions.
func onboarding(t *testing.T, questions map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "onboard")
	if err := os.CopyFS(dir, os.DirFS(fixture("onboard"))); err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(dir, "Capsule.toml")
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for name, question := range questions {
		text = bytes.Replace(text, []byte("[env."+name+"]\n"), []byte("[env."+name+"]\ndefault = '"+question+"'\n"), 1)
	}
	if err := os.WriteFile(manifest, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

const aSecret = "correct-horse-battery-staple"

// asked answers questions by their keys.
func asked(_ context.Context, _ string, q supervisor.Question) (supervisor.Answer, error) {
	switch q.Key {
	case "api_key":
		return supervisor.Answer{Value: aSecret}, nil
	case "name":
		return supervisor.Answer{Value: "Ada"}, nil
	default:
		return supervisor.Answer{}, errors.New("nobody knows")
	}
}

// What a hook asks for is asked; its state is that of the capsule. A secret is kept, and
// can be found in no file, event or description.
func TestInstallAsks(t *testing.T) {
	home := t.TempDir()
	dir := onboarding(t, map[string]string{
		"first": `{"type":"text","key":"name","description":"Your name"}`, "second": `{"type":"secret","key":"api_key"}`, "check": `{"key":"api_key"}`,
	})
	var log bytes.Buffer
	cfg := supervisor.Config{Home: home, EventsFile: filepath.Join(home, "events"), Log: slog.New(slog.NewTextHandler(&log, nil))}
	sup, err := supervisor.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sup.Install(t.Context(), dir, supervisor.InstallOptions{}); err == nil || !strings.Contains(err.Error(), `it asks for "name", and nobody is there to answer`) {
		t.Fatalf("with nobody to ask: %v", err)
	}
	if _, err := sup.Install(t.Context(), dir, supervisor.InstallOptions{Ask: asked}); err != nil {
		t.Fatal(err)
	}
	sup, err = supervisor.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- sup.Serve(ctx) }()
	if err := sup.AwaitStarted(ctx); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"first": `{"value":"Ada"}`, "second": `{"ok":true}`, "check": `{"exists":true}`} {
		reply, err := sup.Trigger(ctx, supervisor.TriggerRequest{Topic: "test.onboard." + name})
		if err != nil || string(reply.Legs[0].Value) != want {
			t.Errorf("%s: %+v, %v", name, reply, err)
		}
	}
	// An upgrade asks where the system runs, and finds the secret.
	upgrade := onboarding(t, map[string]string{"check": `{"key":"api_key"}`, "second": `{"type":"secret","key":"api_key"}`})
	if change, err := sup.Install(ctx, upgrade, supervisor.InstallOptions{Ask: asked}); err != nil || change.Change != messages.ChangeUpgraded {
		t.Errorf("upgrade: %v, %v", change, err)
	}
	if got, err := sup.Secret(ctx, "onboard", "api_key"); got != aSecret || err != nil {
		t.Errorf("the secret: %q, %v", got, err)
	}
	if _, err := sup.Secret(ctx, "onboard", "other"); !errors.Is(err, supervisor.ErrNoKey) || strings.Contains(err.Error(), aSecret) {
		t.Errorf("another one: %v", err)
	}
	detail, err := sup.Capsule("onboard")
	if err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	if err := sup.Backup(ctx, &backup); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	seen := map[string][]byte{"log": log.Bytes(), "backup": backup.Bytes(), "description": fmt.Appendf(nil, "%+v", detail)}
	err = filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			seen[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil || len(seen) < 8 {
		t.Fatalf("%d files, %v", len(seen), err)
	}
	for what, text := range seen {
		if bytes.Contains(text, []byte(aSecret)) {
			t.Errorf("%s has the secret", what)
		}
	}
}

func TestAnswersAreChecked(t *testing.T) {
	sup, err := supervisor.New(supervisor.Config{Home: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	dir := onboarding(t, map[string]string{"first": `{"type":"select","key":"net","options":["main","test"]}`})
	for value, want := range map[string]string{"main": "", "other": `net: "other" is none of the options ["main" "test"]`} {
		_, err := sup.Install(t.Context(), dir, supervisor.InstallOptions{Ask: func(_ context.Context, _ string, q supervisor.Question) (supervisor.Answer, error) {
			if q.Kind != capsulehost.AskSelect || len(q.Options) != 2 {
				t.Errorf("asked %+v", q)
			}
			return supervisor.Answer{Value: value}, nil
		}})
		if err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", value, err)
		}
		if err := os.RemoveAll(sup.InstallDir("onboard")); err != nil {
			t.Fatal(err)
		}
	}
}
