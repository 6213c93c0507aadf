package supervisor_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// history returns a line for each change of a capsule's version, with the beginning of its
// module's hash in place of one that is known by a name.
func history(t *testing.T, s *supervisortest.System, id string, names map[string]string) []string {
	t.Helper()
	d, err := s.Supervisor.Capsule(id)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range d.Versions {
		out = append(out, strings.Join([]string{r.Change, r.Previous, r.Version, names[r.ModuleHash]}, " "))
		if r.At.IsZero() {
			t.Errorf("%s has no time", r.Change)
		}
	}
	return out
}

// The history of a capsule's version has every change and attempt, with the hashes of the
// modules, and goes on when the capsule is removed and added again. A restart is none.
func TestVersionHistory(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a", "1.0.0", "first", "fixed")
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{dir}, AllowUnverified: true})
	names := map[string]string{s.Capsule("a").ModuleHash: "fixed"}
	reload := func() {
		t.Helper()
		if _, err := s.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Restart(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "a", "1.1.0", "first", "echo")
	reload()
	names[s.Capsule("a").ModuleHash] = "echo"
	put(t, dir, "a", "1.2.0", "first", "")
	reload()
	if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	reload()
	put(t, dir, "a", "2.0.0", "first", "fixed")
	reload()
	want := []string{
		"capsule_added  1.0.0 fixed", "capsule_upgraded 1.0.0 1.1.0 echo", "upgrade_failed 1.1.0 1.2.0 ",
		"capsule_removed  1.1.0 ", "capsule_added  2.0.0 fixed",
	}
	if d := cmp.Diff(want, history(t, s, "a", names)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	detail, err := s.Supervisor.Capsule("a")
	if err != nil || !strings.Contains(detail.Versions[2].Reason, "module") {
		t.Errorf("the failed upgrade has the reason %q, %v", detail.Versions[2].Reason, err)
	}
}

// A roll back is in the history, with the reason.
func TestVersionHistoryRolledBack(t *testing.T) {
	act := func(answer string) supervisor.Capsule {
		c := supervisortest.Func("a", "act", func(_ context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
			if answer == "" {
				return capsulehost.Result{}, &capsulehost.Failure{Kind: capsulehost.KindTrap, Message: "a bug"}
			}
			return supervisortest.JSON(answer)
		})
		c.Manifest += "[supervision]\nrollback = true\n"
		return c
	}
	s := supervisortest.Start(t, supervisor.Config{}, act("one"))
	bad := act("")
	bad.Manifest = strings.Replace(bad.Manifest, "1.0.0", "2.0.0", 1)
	if _, err := s.Upgrade(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "act"}); err != nil {
		t.Fatal(err)
	}
	s.AwaitReady("a", 3)
	want := []string{"capsule_added  1.0.0 ", "capsule_upgraded 1.0.0 2.0.0 ", "capsule_rolled_back 2.0.0 1.0.0 "}
	if d := cmp.Diff(want, history(t, s, "a", nil)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
