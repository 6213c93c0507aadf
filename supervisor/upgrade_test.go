package supervisor_test

import (
	"context"
	"errors"
	"fmt"
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

// A restart of a new version is no version of its own: what the capsule may be rolled back
// to stays, for as long as it would have without the restart.
func TestARestartKeepsTheVersionToRollBackTo(t *testing.T) {
	for name, test := range map[string]struct {
		after time.Duration
		want  string
	}{
		"within the window": {30 * time.Second, "a"},
		"after it":          {61 * time.Second, "2.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := startAll(t, worker("a"))
				upgrade(t, s, newer("a", "rollback = true"))
				pass(test.after / 2)
				wantError(t, "restart", s.Restart(t.Context(), "a"), nil)
				pass(test.after / 2)
				s.Inject("a", supervisortest.Fault{})
				s.Expect("ask.a", "", "a crashed")
				synctest.Wait()
				s.Expect("ask.a", "", fmt.Sprintf("a continue %q", test.want))
			})
		})
	}
}

// A restart that is asked for while an upgrade is prepared waits for it, and does not bring
// the old version back.
func TestARestartDoesNotUndoAnUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startAll(t, worker("a"))
		s.Inject("a", supervisortest.Fault{At: supervisortest.AtLoad, Do: supervisortest.Delay(time.Second)})
		done := make(chan error)
		go func() {
			_, err := s.Upgrade(t.Context(), newer("a"))
			done <- err
		}()
		synctest.Wait()
		go func() { done <- s.Restart(t.Context(), "a") }()
		for range 2 {
			wantError(t, "upgrade and restart", <-done, nil)
		}
		s.Expect("ask.a", "", `a continue "2.0.0"`)
		diff(t, []string{"loading 1", "ready 1", "upgraded 2: 1.0.0 -> 2.0.0", "upgraded 3: 2.0.0 -> 2.0.0"}, s.Timeline("a"))
	})
}

// A transient capsule that ends by itself has not crashed: it is not rolled back.
func TestACleanEndIsNotRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startAll(t, worker("a", transient))
		upgrade(t, s, newer("a", transient, "rollback = true"))
		s.Inject("a", supervisortest.Fault{Do: supervisortest.Exit(0)})
		s.Expect("ask.a", "", "a crashed")
		synctest.Wait()
		wantState(t, s, "a", "stopped")
		diff(t, "2.0.0", s.Capsule("a").Version)
	})
}

// What a manifest grants is the new version's from the exchange on, and the old one's until
// then: topics of the bus, capabilities, interceptors.
func TestGrantsChangeWithTheVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := func(version, topic string, injects bool) supervisor.Capsule {
			c := supervisortest.Func("a", "ask."+topic, func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
				may := func(err error) bool { return err == nil }
				payload, err := capsulehost.ParsePayload([]byte("1"))
				if err != nil {
					return capsulehost.Result{}, err
				}
				bus := c.Services().Bus
				_, first := bus.Subscribe("first.*")
				_, second := bus.Subscribe("second.*")
				return supervisortest.JSON([]any{
					version, may(bus.Publish(ctx, "first.x", payload)), may(bus.Publish(ctx, "second.x", payload)), may(first), may(second),
				})
			})
			c.Manifest = strings.Replace(c.Manifest, "1.0.0", version, 1)
			c.Manifest += fmt.Sprintf("[capabilities]\nipc_publish = [\"%[1]s.*\"]\nipc_subscribe = [\"%[1]s.*\"]\nallow_prompt_injection = %[2]v\n", topic, injects)
			return c
		}
		sessions := map[string]string{} // by version
		asks := supervisortest.Func("b", "may", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
			return supervisortest.JSON(c.Services().Peers.CheckCapability(ctx, strings.Trim(string(c.Payload), `"`), "allow_prompt_injection"))
		})
		s := startAll(t, in("1.0.0", "first", true), asks)
		may := func(version string, want bool) {
			t.Helper()
			s.Expect("may", fmt.Sprintf("%q", sessions[version]), fmt.Sprintf("b continue %v", want))
		}
		sessions["1.0.0"] = s.Capsule("a").Session
		s.Expect("ask.first", "", `a continue ["1.0.0",true,false,true,false]`)
		may("1.0.0", true)

		s.Inject("a", supervisortest.Fault{At: supervisortest.AtLoad})
		if _, err := s.Upgrade(t.Context(), in("2.0.0", "second", false)); !errors.Is(err, supervisor.ErrUpgradeFailed) {
			t.Errorf("an upgrade that can't load: %v", err)
		}
		s.Expect("ask.second", "")
		s.Expect("ask.first", "", `a continue ["1.0.0",true,false,true,false]`)
		may("1.0.0", true)

		upgrade(t, s, in("2.0.0", "second", false))
		sessions["2.0.0"] = s.Capsule("a").Session
		s.Expect("ask.first", "")
		s.Expect("ask.second", "", `a continue ["2.0.0",false,true,false,true]`)
		may("1.0.0", false)
		may("2.0.0", false)

		upgrade(t, s, in("3.0.0", "second", true))
		sessions["3.0.0"] = s.Capsule("a").Session
		may("3.0.0", true)
		may("2.0.0", false)
	})
}

// A capsule that could not be added, since its command was lost, is shown nowhere, and can
// be added again.
func TestAnAdditionThatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startAll(t, worker("other"))
		synctest.Wait() // it is to fail on the command
		s.FailActorNext("capsules")
		if change, err := s.Add(t.Context(), worker("a")); err == nil {
			t.Fatalf("no error, and %v", change)
		}
		diff(t, []string{"other"}, ids(s))
		wantError(t, "remove", s.Remove(t.Context(), "a"), supervisor.ErrNotFound)
		add(t, s, worker("a"), messages.ChangeAdded, nil)
		s.Expect("ask.a", "", `a continue "a"`)
		wantError(t, "close", s.Close(), nil)
	})
}

// A version is rolled back to by what was loaded: its files have been replaced.
func TestARollbackNeedsNoFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a", "1.0.0", "ask", "fixed")
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{dir}, AllowUnverified: true})
	put(t, dir, "a", "2.0.0", "ask", "trap")
	file := filepath.Join(dir, "a", "Capsule.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, "[supervision]\nrollback = true\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	changes, err := s.Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	diff(t, []string{"upgraded a 1.0.0 -> 2.0.0"}, lines(changes))
	s.Expect("ask", "", "a crashed")
	s.AwaitReady("a", 3)
	s.Expect("ask", "", `a continue {"ok":true}`)
	diff(t, "1.0.0", s.Capsule("a").Version)
}

// The capsule is rolled back while what comes next is prepared: an upgrade, or an operator's
// restart of the version that is about to fail. That replaces the version that was rolled
// back to, so it is rolled back to that again.
func TestARollbackDuringAnUpgrade(t *testing.T) {
	third := newer("a", "rollback = true")
	third.Manifest = strings.Replace(third.Manifest, "2.0.0", "3.0.0", 1)
	for name, test := range map[string]struct {
		do   func(s *supervisortest.System) error
		want string // the version that it brings
	}{
		"upgrade": {func(s *supervisortest.System) error {
			_, err := s.Upgrade(context.Background(), third)
			return err
		}, "3.0.0"},
		"restart": {func(s *supervisortest.System) error { return s.Restart(context.Background(), "a") }, "2.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := startAll(t, worker("a"))
				upgrade(t, s, newer("a", "rollback = true"))
				s.Inject("a", supervisortest.Fault{At: supervisortest.AtLoad, Do: supervisortest.Delay(time.Second)})
				done := make(chan error, 1)
				go func() { done <- test.do(s) }()
				synctest.Wait()
				crash := func() {
					s.Inject("a", supervisortest.Fault{})
					s.Expect("ask.a", "", "a crashed")
					synctest.Wait()
					diff(t, "1.0.0", s.Capsule("a").Version)
				}
				crash()
				wantError(t, name, <-done, nil)
				diff(t, test.want, s.Capsule("a").Version)
				crash()
			})
		})
	}
}
