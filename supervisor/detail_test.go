package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// The details of a capsule show all of its manifest and configuration, but no secrets.
func TestCapsuleDetail(t *testing.T) {
	dir := write(t, `[package]
name = "close"
version = "1.0.0"
description = "To be looked at"
[[component]]
id = "main"
file = "module.wasm"
[[interceptor]]
event = "test.trap"
action = "act"
[capabilities]
allow_prompt_injection = true
fs_read = ["/var/data"]
[imports.astrid]
http = { version = "^1.0", optional = true }
[exports.demo]
thing = "1.2.3"
[env.TOKEN]
type = "secret"
description = "What opens doors"
default = "hunter2"
[env.UNSET]
type = "string"
[env.greeting]
type = "string"
default = "hello"
[env.api_key]
type = "string"
default = "hunter2"
[supervision]
budget = 2
call_timeout = "7s"
queue = 9
`, "trap")
	s := supervisortest.Start(t, supervisor.Config{
		CapsuleDirs: []string{dir}, AllowUnverified: true,
		CapsuleSettings: map[string]supervisor.CapsuleSettings{"close": {Env: map[string]string{"UNDECLARED": "hunter2"}}},
	})
	for generation := range uint64(3) {
		s.AwaitReady("close", generation+1)
		s.Ask("test.trap", "1")
	}
	s.AwaitState("close", messages.StateFailed)
	d, err := s.Supervisor.Capsule("close")
	if err != nil {
		t.Fatal(err)
	}
	marshalled, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text := string(marshalled)
	if strings.Contains(text, "hunter2") {
		t.Error("a secret is shown")
	}
	diff(t, "To be looked at", d.Description)
	diff(t, []string{"allow_prompt_injection", "fs_read: /var/data"}, d.Capabilities)
	if i := d.Imports[0]; i.Namespace != "astrid" || i.Name != "http" || !i.Optional {
		t.Errorf("imports %v", d.Imports)
	}
	if e := d.Exports[0]; e.Namespace != "demo" || e.Version != "1.2.3" {
		t.Errorf("exports %v", d.Exports)
	}
	var env []string
	for _, e := range d.Env {
		env = append(env, fmt.Sprintf("%s %v %s", e.Name, e.Set, e.Value))
	}
	diff(t, []string{"TOKEN true ***", "UNDECLARED true ***", "UNSET false ", "api_key true ***", "greeting true hello"}, env)
	if d.CallTimeout != 7*time.Second || d.QueueLimit != 9 || d.Capsule.Budget != 2 {
		t.Errorf("settings %s", text)
	}
	if d.Manifest != filepath.Join(dir, "Capsule.toml") || d.LoadTimeout != 2*time.Minute {
		t.Errorf("manifest %q, load timeout %v", d.Manifest, d.LoadTimeout)
	}
	if len(d.Capsule.ModuleHash) != 64 || d.Capsule.Directory != dir || !strings.HasPrefix(d.Module, dir) {
		t.Errorf("module %s", text)
	}
	var decisions []string
	for _, f := range d.Failures {
		if f.Failure.Kind != "trap" || len(f.Failure.WasmStack) == 0 || f.During != "call" {
			t.Errorf("failure %v", f)
		}
		decision, _, _ := strings.Cut(f.Decision, " after")
		decisions = append(decisions, decision)
	}
	diff(t, []string{"restarted at once; 1 of 2 restarts in 1m0s spent", "restarted", "restart budget spent: 2 in 1m0s"}, decisions)
	if calls := d.RecentCalls; len(calls) != 3 || calls[0].Topic != "test.trap" || calls[2].Outcome.String() != "crashed" {
		t.Errorf("recent calls %v", calls)
	}
	if c := d.Capsule; c.Reductions == 0 || c.MemoryPeakBytes == 0 || c.MemoryBytes != 0 || c.KernelBytes == 0 {
		t.Errorf("figures of a capsule that has died: %v", c)
	}
	if _, err := s.Supervisor.Capsule("nobody"); !errors.Is(err, supervisor.ErrNotFound) {
		t.Errorf("an unknown capsule: %v", err)
	}
}

// A capsule's log can be followed while it runs. Suppressed lines are counted, and
// reported by an event.
func TestLogs(t *testing.T) {
	s := supervisortest.Start(t, supervisor.Config{}, supervisortest.Func("talker", "t", func(_ context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		lines := 1
		if string(c.Payload) == `"much"` {
			lines = 5000
		}
		for range lines {
			c.Log(capsulehost.LevelWarn, "I say: "+string(c.Payload))
		}
		return supervisortest.JSON(nil)
	}))
	if _, err := s.Logs(t.Context(), "nobody", 0, false); !errors.Is(err, supervisor.ErrNotFound) {
		t.Errorf("an unknown capsule: %v", err)
	}
	s.Ask("t", "1")
	lines, err := s.Logs(t.Context(), "talker", 0, true)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range lines {
		got = append(got, line.Level+" "+line.Message)
		if len(got) == 2 {
			break
		}
		s.Ask("t", "2")
	}
	diff(t, []string{"WARN I say: 1", "WARN I say: 2"}, got)

	s.Ask("t", `"much"`)
	s.Await("suppressed", func(e supervisor.Event) bool {
		d, ok := e.Detail.(messages.LogSuppressed)
		return ok && d.Lines > 3000
	})
	c := s.Capsule("talker")
	if c.LogSuppressed < 3000 || s.Snapshot().LogSuppressed != c.LogSuppressed {
		t.Errorf("%d lines suppressed", c.LogSuppressed)
	}
	kept, err := s.Logs(t.Context(), "talker", 0, false)
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Collect(kept)
	if last := all[len(all)-1].Message; len(all) != 200 || !strings.Contains(last, "lines suppressed") {
		t.Errorf("%d lines are kept, the last is %q", len(all), last)
	}
}
