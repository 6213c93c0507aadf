package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// keep is the capsule of test/capsules/keep.
func keep(t testing.TB) supervisor.Capsule {
	t.Helper()
	dir := filepath.Join("..", "test", "capsules", "keep")
	manifest, err := os.ReadFile(filepath.Join(dir, "Capsule.toml"))
	if err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile(filepath.Join(dir, "keep.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return supervisor.Capsule{Manifest: string(manifest), Module: wasm}
}

func asks(t *testing.T, s *supervisortest.System, topic, payload, want string) {
	t.Helper()
	if got := fmt.Sprint(supervisortest.Legs(s.Ask(topic, payload))); got != want {
		t.Errorf("%s %s: %s, want %s", topic, payload, got, want)
	}
}

// What a capsule has stored is there after its crash, and after the system was started
// again; in a file, and in memory.
func TestStateOutlivesInstances(t *testing.T) {
	for name, cfg := range map[string]supervisor.Config{
		"a file": {Home: t.TempDir(), Store: nil}, "memory": {Store: store.NewMemory()},
	} {
		t.Run(name, func(t *testing.T) {
			start := func() (*supervisor.Supervisor, func()) {
				cfg.Capsules = []supervisor.Capsule{keep(t)}
				s, err := supervisor.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				served := make(chan error, 1)
				go func() { served <- s.Serve(ctx) }()
				if err := s.AwaitStarted(t.Context()); err != nil {
					t.Fatal(err)
				}
				return s, func() {
					cancel()
					if err := <-served; err != nil {
						t.Error(err)
					}
				}
			}
			ask := func(s *supervisor.Supervisor, topic, payload string) string {
				t.Helper()
				reply, err := s.Trigger(t.Context(), supervisor.TriggerRequest{Topic: topic, Payload: []byte(payload)})
				if err != nil {
					t.Fatal(err)
				}
				return fmt.Sprintf("%s %s", reply.Legs[0].Outcome, reply.Legs[0].Value)
			}
			s, stop := start()
			diff(t, "empty ", ask(s, "test.keep.set", `"a"`))
			if err := s.Kill(t.Context(), "keep"); err != nil {
				t.Fatal(err)
			}
			diff(t, `continue "a"`, ask(s, "test.keep.get", `"a"`))
			diff(t, "empty ", ask(s, "test.keep.set", `"b"`))
			stop()
			s, stop = start()
			defer stop()
			diff(t, `continue ["a","b"]`, ask(s, "test.keep.keys", `""`))
		})
	}
}

// Each principal for whom a capsule is called has a state of its own; without one, it is
// that of the system's principal, which is also what an operator sees.
func TestStateIsThePrincipals(t *testing.T) {
	s := supervisortest.Start(t, supervisor.Config{}, keep(t))
	as := func(principal, topic, payload string) string {
		t.Helper()
		reply, err := s.Trigger(t.Context(), supervisor.TriggerRequest{
			Topic: topic, Payload: []byte(payload), Caller: &supervisor.Caller{Principal: principal},
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(reply.Legs[0].Value)
	}
	as("alice", "test.keep.set", `"hers"`)
	as("", "test.keep.set", `"own"`)
	diff(t, `["hers"]`, as("alice", "test.keep.keys", `""`))
	diff(t, `["own"]`, as("default", "test.keep.keys", `""`))
	state := s.State("keep")
	value, err := state.For("alice").Get(t.Context(), "hers")
	diff(t, `"hers"`, string(value))
	if err != nil {
		t.Error(err)
	}
	if _, err := state.Get(t.Context(), "hers"); !errors.Is(err, supervisor.ErrNoKey) {
		t.Errorf("get of a missing key: %v", err)
	}
	if err := state.Set(t.Context(), "own", []byte("7")); err != nil {
		t.Error(err)
	}
	diff(t, "7", as("", "test.keep.get", `"own"`))
	if existed, err := state.Delete(t.Context(), "own"); !existed || err != nil {
		t.Errorf("Delete: %t, %v", existed, err)
	}
	entries, err := state.For("alice").Entries(t.Context(), "h")
	diff(t, []supervisor.StateEntry{{Key: "hers", Value: []byte(`"hers"`), Size: 6}}, entries)
	if err != nil {
		t.Error(err)
	}
	for _, err := range []error{
		state.Set(t.Context(), "", nil), state.Set(t.Context(), strings.Repeat("k", 4097), nil),
		state.Set(t.Context(), "a", make([]byte, 10<<20+1)), state.For("a/b").Set(t.Context(), "a", nil),
	} {
		if !errors.Is(err, supervisor.ErrInvalidKey) {
			t.Errorf("an invalid argument: %v", err)
		}
	}
	if _, err := s.State("none").Keys(t.Context(), ""); !errors.Is(err, supervisor.ErrNotFound) {
		t.Errorf("an unknown capsule: %v", err)
	}
}

// A capsule over its quota is told, and not killed for reading; the operator's quota
// goes before the manifest's.
func TestStateHasAQuota(t *testing.T) {
	small, large := keep(t), keep(t)
	small.Manifest += "[state]\nquota = 10\n"
	large.Manifest = strings.NewReplacer(`"keep"`, `"large"`, "test.keep", "test.large").Replace(large.Manifest) + "[state]\nquota = 10\n"
	s := supervisortest.Start(t, supervisor.Config{
		CapsuleSettings: map[string]supervisor.CapsuleSettings{"large": {State: manifest.State{Quota: new(uint64(100))}}},
	}, small, large)
	asks(t, s, "test.keep.set", "12345", "[keep empty]")
	asks(t, s, "test.large.set", "12345", "[large empty]")
	asks(t, s, "test.large.set", "67890", "[large empty]")
	reply := s.Ask("test.keep.set", "6")
	leg := reply.Legs[0]
	if !strings.Contains(leg.Reason, "astrid_kv_set: ") || !strings.Contains(leg.Reason, "quota") || !strings.Contains(leg.Reason, "12 bytes of 10") {
		t.Errorf("over the quota: %s %s", leg.Outcome, leg.Reason)
	}
	s.AwaitReady("keep", 2)
	asks(t, s, "test.keep.get", "12345", "[keep continue 12345]")
}

// A setting that the capsule's state has comes from there, at the next load.
func TestSettingsComeFromState(t *testing.T) {
	configured := supervisortest.Func("configured", "ask", func(_ context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		return supervisortest.JSON([]string{c.Config("first"), c.Config("second"), c.Config("undeclared")})
	})
	configured.Manifest += "[env.first]\ntype = \"string\"\ndefault = \"one\"\n[env.second]\ntype = \"string\"\ndefault = \"two\"\n"
	s := supervisortest.Start(t, supervisor.Config{}, configured)
	state := s.State("configured")
	for key, value := range map[string]string{"first": "stored", "undeclared": "stored"} {
		if err := state.Set(t.Context(), key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	asks(t, s, "ask", "", `[configured continue ["one","two",""]]`)
	if err := s.Restart(t.Context(), "configured"); err != nil {
		t.Fatal(err)
	}
	asks(t, s, "ask", "", `[configured continue ["stored","two",""]]`)
	if err := state.Set(t.Context(), "second", []byte("\xff")); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(t.Context(), "configured"); err != nil {
		t.Fatal(err)
	}
	asks(t, s, "ask", "", `[configured continue ["stored","",""]]`)
}

// A store that another process has open, or that is damaged, is an error at once, and
// nothing is changed.
func TestServeRefusesAStoreThatItCantUse(t *testing.T) {
	home := t.TempDir()
	s, err := supervisor.New(supervisor.Config{Home: home, Capsules: []supervisor.Capsule{keep(t)}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(home, "state", "actors.db")
	other, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context()); !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("Serve with a locked store: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torn := text[:len(text)/2]
	if err := os.WriteFile(path, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context()); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("Serve with a damaged store: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !slices.Equal(after, torn) {
		t.Errorf("the damaged store was changed: %v", err)
	}
}
