package supervisor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// put writes a capsule into a directory below dir, under its id.
func put(t *testing.T, dir, id, version, topic, module string) {
	t.Helper()
	text := "[package]\nname = \"" + id + "\"\nversion = \"" + version + "\"\n[[component]]\nid = \"main\"\nfile = \"module.wasm\"\n" +
		"[[interceptor]]\nevent = \"" + topic + "\"\naction = \"act\"\n"
	wasm := []byte("no module")
	if module != "" {
		var err error
		if wasm, err = os.ReadFile(filepath.Join("..", "test", "capsules", module, module+".wasm")); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(dir, id)
	if err := errors.Join(os.MkdirAll(to, 0o700), os.WriteFile(filepath.Join(to, "module.wasm"), wasm, 0o600),
		os.WriteFile(filepath.Join(to, "Capsule.toml"), []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func lines(changes []supervisor.Change) []string {
	out := []string{}
	for _, c := range changes {
		line, _, _ := strings.Cut(c.String(), ": ")
		out = append(out, line)
	}
	return out
}

// A reload brings the running system to what the directories say: a rejected manifest
// that was mended needs no new start, a broken version leaves the old one running, and a
// new manifest's interceptors take effect.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a", "1.0.0", "first", "fixed")
	put(t, dir, "b", "1.0.0", "b", "fixed")
	put(t, dir, "c", "bad", "c", "fixed")
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{dir}, AllowUnverified: true})
	reload := func(want []string, ids ...string) {
		t.Helper()
		changes, err := s.Reload(t.Context(), ids...)
		if err != nil {
			t.Fatal(err)
		}
		diff(t, want, lines(changes))
	}
	reload([]string{"unchanged a", "unchanged b", "rejected c"})

	put(t, dir, "a", "1.1.0", "second", "fixed")
	put(t, dir, "c", "1.0.0", "c", "fixed")
	put(t, dir, "d", "2.0.0", "d", "fixed")
	if err := os.RemoveAll(filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	reload([]string{"upgraded a 1.0.0 -> 1.1.0", "removed b", "added c 1.0.0", "added d 2.0.0"})
	diff(t, []string{}, supervisortest.Legs(s.Ask("first", "")))
	s.Expect("second", "", `a continue {"ok":true}`)
	s.Expect("c", "", `c continue {"ok":true}`)
	diff(t, []string{}, supervisortest.Legs(s.Ask("b", "")))
	diff(t, []string{"a", "c", "d"}, ids(s))
	if c := s.Capsule("a"); c.Version != "1.1.0" || c.Generation != 2 || c.State != messages.StateReady {
		t.Errorf("a is %+v", c)
	}
	if rejected := s.Snapshot().Rejected; len(rejected) > 0 {
		t.Errorf("still rejected: %v", rejected)
	}

	put(t, dir, "a", "1.2.0", "third", "") // no module
	put(t, dir, "d", "bad", "d", "fixed")  // no manifest
	reload([]string{"rejected a"}, "a")
	reload([]string{"rejected a", "unchanged c", "rejected d"})
	s.Expect("second", "", `a continue {"ok":true}`)
	s.Expect("d", "", `d continue {"ok":true}`)
	if c := s.Capsule("a"); c.Version != "1.1.0" || c.Generation != 2 || c.Restarts != 0 {
		t.Errorf("a is %+v", c)
	}
	if _, err := s.Reload(t.Context(), "a", "nobody"); !errors.Is(err, supervisor.ErrNotFound) {
		t.Errorf("an unknown id: %v", err)
	}
	if err := s.Restart(t.Context(), "a"); !errors.Is(err, supervisor.ErrUpgradeFailed) {
		t.Errorf("a restart to a broken module: %v", err)
	}
	s.Expect("second", "", `a continue {"ok":true}`)
}

func ids(s *supervisortest.System) []string {
	out := []string{}
	for _, c := range s.Snapshot().Capsules {
		out = append(out, c.ID)
	}
	return out
}

// numbered is a capsule in Go that answers with a version.
func numbered(version string, supervision ...string) supervisor.Capsule {
	c := supervisortest.Func("a", "ask.a", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
		return supervisortest.JSON(version)
	})
	c.Manifest = strings.Replace(c.Manifest, `"1.0.0"`, `"`+version+`"`, 1)
	return policed(c, supervision)
}

// An upgrade waits for the running call, which ends on the old version; what waits is
// served by the new one.
func TestAnUpgradeInterruptsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startAll(t, numbered("1.0.0"))
		s.Inject("a", supervisortest.Fault{Do: supervisortest.Delay(time.Minute / 4)})
		running := s.Begin("ask.a", "")
		synctest.Wait()
		waiting := s.Begin("ask.a", "")
		synctest.Wait()
		change, err := s.Upgrade(t.Context(), numbered("2.0.0"))
		if err != nil {
			t.Fatal(err)
		}
		diff(t, "upgraded a 1.0.0 -> 2.0.0", change.String())
		diff(t, []string{`a continue "1.0.0"`}, supervisortest.Legs(running()))
		diff(t, []string{`a continue "2.0.0"`}, supervisortest.Legs(waiting()))
		diff(t, []string{"loading 1", "ready 1", "upgraded 2: 1.0.0 -> 2.0.0"}, s.Timeline("a"))

		wantError(t, "remove", s.Remove(t.Context(), "a"), nil)
		wantError(t, "remove", s.Remove(t.Context(), "a"), supervisor.ErrNotFound)
		if _, err := s.Upgrade(t.Context(), numbered("3.0.0")); !errors.Is(err, supervisor.ErrNotFound) {
			t.Errorf("an upgrade of nothing: %v", err)
		}
		if change, err = s.Add(t.Context(), numbered("3.0.0")); err != nil {
			t.Fatal(err)
		}
		diff(t, "added a 3.0.0", change.String())
		s.Expect("ask.a", "", `a continue "3.0.0"`)
		diff(t, uint64(3), s.Capsule("a").Generation) // its writes are not those of an earlier one
	})
}

// A new version that crashes within its window is rolled back, once, if its manifest
// asks for that.
func TestRollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startAll(t, numbered("1.0.0"))
		if _, err := s.Upgrade(t.Context(), numbered("2.0.0", "rollback = true")); err != nil {
			t.Fatal(err)
		}
		s.Inject("a", supervisortest.Fault{})
		s.Expect("ask.a", "", "a crashed")
		synctest.Wait()
		s.Expect("ask.a", "", `a continue "1.0.0"`)
		c := s.Capsule("a")
		if c.Version != "1.0.0" || c.BudgetSpent != 0 {
			t.Errorf("a is %+v", c)
		}

		if _, err := s.Upgrade(t.Context(), numbered("3.0.0", "rollback = true")); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Minute) // it is stable
		s.Inject("a", supervisortest.Fault{})
		s.Expect("ask.a", "", "a crashed")
		synctest.Wait()
		s.Expect("ask.a", "", `a continue "3.0.0"`)
	})
}

// What fails before the swap leaves the old version as it was.
func TestAFailedUpgradeCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startAll(t, numbered("1.0.0"))
		for _, what := range []supervisortest.Fault{
			{At: supervisortest.AtLoad, Do: supervisortest.Fail("no")},
			{At: supervisortest.AtLoad, Do: supervisortest.Hang},
		} {
			s.Inject("a", what)
			change, err := s.Upgrade(t.Context(), numbered("2.0.0"))
			if !errors.Is(err, supervisor.ErrUpgradeFailed) || change.Change != messages.ChangeRejected || change.Reason == "" {
				t.Errorf("%v, %v", change, err)
			}
			s.Expect("ask.a", "", `a continue "1.0.0"`)
		}
		c := s.Capsule("a")
		if c.Generation != 1 || c.Version != "1.0.0" || c.Restarts != 0 || c.BudgetSpent != 0 {
			t.Errorf("a is %+v", c)
		}
	})
}
