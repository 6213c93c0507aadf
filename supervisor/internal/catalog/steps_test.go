package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"lukechampine.com/blake3"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/messages"
)

// installedFiles returns the files below the home without those of an installation that is
// not over.
func installedFiles(t testing.TB, h home.Home) map[string]string {
	files := filesBelow(t, h.Dir())
	maps.DeleteFunc(files, func(name, _ string) bool { return strings.Contains(name, ".local/installing/") })
	return files
}

// TestEachStepFails lets each step of an installation fail in turn, and lets the process die
// before it: a first installation leaves nothing, an upgrade the old version. Whatever died
// is repaired by the next installation.
func TestEachStepFails(t *testing.T) {
	host := newHost(t)
	for name, c := range map[string]struct {
		first, then string // what is installed before, and then with failures
		added       string
		exchange    func(a, b string) error
	}{
		"a first installation": {then: version(t, "1.0.0"), added: "added life-cycle 1.0.0"},
		"an archive":           {then: packed(t, version(t, "1.0.0")), added: "added life-cycle 1.0.0"},
		"an upgrade":           {first: version(t, "1.0.0"), then: otherModule(t, "1.1.0"), added: "upgraded life-cycle 1.0.0 -> 1.1.0"},
		"an upgrade without exchange": {first: version(t, "1.0.0"), then: otherModule(t, "1.1.0"), added: "upgraded life-cycle 1.0.0 -> 1.1.0",
			exchange: func(string, string) error { return errors.ErrUnsupported }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := func() *fixture {
				f := newFixture(t, host)
				f.exchange = c.exchange
				if c.first != "" {
					f.must(c.first, "added life-cycle 1.0.0")
				}
				return f
			}
			steps := stepsOf(t, start(), c.then, c.added)
			if len(steps) < 12 {
				t.Fatalf("the steps are %q", steps)
			}
			checkDurable(t, steps)
			for _, failing := range steps {
				f := start()
				before := f.files()
				broken := errors.New("the disk is full")
				f.before = func(step string) error {
					if step == failing {
						return broken
					}
					return nil
				}
				if _, err := f.install(c.then, InstallOptions{}); !errors.Is(err, broken) {
					t.Errorf("%s: %v", failing, err)
				}
				if diff := cmp.Diff(before, f.files()); diff != "" {
					t.Errorf("a failure at %q left: %s", failing, diff)
				}
				f.before = nil
				f.must(c.then, c.added)
			}
		})
	}
}

// checkDurable checks that what a step has written is on the disk before the capsule is put
// in its place, and that this is, too, at the end.
func checkDurable(t *testing.T, steps []string) {
	t.Helper()
	at := func(step string) int { return slices.Index(steps, step) }
	for n, step := range steps {
		sync := ""
		if name, written := strings.CutPrefix(step, "write "); written {
			sync = "sync " + filepath.Dir(name)
		} else if step == "name the module" {
			sync = "sync the modules"
		}
		if sync != "" && (at(sync) < n || at(sync) > at("place")) {
			t.Errorf("%q is not followed by %q before the capsule is in its place: %q", step, sync, steps)
		}
	}
	if at("sync the place") < at("place") {
		t.Errorf("its place may be lost: %q", steps)
	}
}

// otherModule returns life-cycle in another version, with another module.
func otherModule(t testing.TB, v string) string {
	dir := version(t, v)
	file := filepath.Join(dir, "life-cycle.wasm")
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(wasm, 0, 2, 1, 'x'), 0o600); err != nil { // a custom section
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "meta.json"), []byte(`{"wasm_hash": "`+hashOf(t, file)+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// stepsOf returns the steps of an installation, and checks what the process leaves that dies
// before one of them: the old or the new capsule, complete; the next installation repairs
// the rest.
func stepsOf(t *testing.T, f *fixture, then, added string) []string {
	before := f.files()
	var steps []string
	type death struct{ step, home string }
	var deaths []death
	f.before = func(step string) error {
		steps = append(steps, step)
		left := t.TempDir()
		if err := os.CopyFS(left, os.DirFS(f.Home.Dir())); err != nil {
			t.Error(err)
		}
		deaths = append(deaths, death{step, left})
		return nil
	}
	f.must(then, added)
	after := f.files()
	for _, d := range deaths {
		h, err := home.Resolve(d.home)
		if err != nil {
			t.Fatal(err)
		}
		left := installedFiles(t, h)
		maps.DeleteFunc(left, func(name, _ string) bool { // a module that nobody names does no harm
			return strings.HasPrefix(name, "bin/") && before[name] == ""
		})
		wanted := maps.Clone(after)
		maps.DeleteFunc(wanted, func(name, _ string) bool { return strings.HasPrefix(name, "bin/") && before[name] == "" })
		if d.step != betweenRenames && !cmp.Equal(left, before) && !cmp.Equal(left, wanted) {
			t.Errorf("the death at %q left %v: %s", d.step, slices.Sorted(maps.Keys(left)), cmp.Diff(before, left))
		}
		next := newFixture(t, f.Host)
		next.Home = h
		if _, err := next.install(then, InstallOptions{}); err != nil {
			t.Errorf("after the death at %q: %v", d.step, err)
		}
		got := next.files()
		maps.DeleteFunc(got, isMeta)
		want := maps.Clone(after)
		maps.DeleteFunc(want, isMeta)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after the death at %q and another installation: %s", d.step, diff)
		}
	}
	return steps
}

// betweenRenames is the one step before which there is neither: only where the file system
// can't exchange two directories.
const betweenRenames = "between the renames"

// isMeta is true for meta.json, which contains the time.
func isMeta(name, _ string) bool { return strings.HasSuffix(name, "meta.json") }

// Where the file system can't exchange two directories, there is a moment without a
// capsule: repair puts the old one back.
func TestDeathBetweenTheRenames(t *testing.T) {
	f := newFixture(t, newHost(t))
	f.must(version(t, "1.0.0"), "added life-cycle 1.0.0")
	before := f.files()
	aside := filepath.Join(f.staging(), asideDir)
	if err := os.MkdirAll(aside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(f.Home.CapsulesDir(f.Principal), "life-cycle"), filepath.Join(aside, "life-cycle")); err != nil {
		t.Fatal(err)
	}
	if removed, err := f.Remove(context.Background(), "nobody"); removed || err != nil { // it repairs first
		t.Errorf("Remove() = %v, %v", removed, err)
	}
	if diff := cmp.Diff(before, f.files()); diff != "" {
		t.Error(diff)
	}
}

// What a running system rejects is not left on the disk.
func TestLoadRejects(t *testing.T) {
	f := newFixture(t, newHost(t))
	for _, first := range []string{"", version(t, "1.0.0")} {
		f.live = nil
		if first != "" {
			f.must(first, "added life-cycle 1.0.0")
		}
		before := f.files()
		f.live = func(c messages.Change) (messages.Change, error) {
			if _, err := os.Stat(filepath.Join(f.Home.CapsulesDir(f.Principal), "life-cycle", "Capsule.toml")); err != nil {
				t.Errorf("it was asked to load %v before it was there: %v", c, err)
			}
			return messages.Change{ID: c.ID, Change: messages.ChangeRejected, Reason: "no room"}, nil
		}
		if _, err := f.install(otherModule(t, "1.1.0"), InstallOptions{}); err == nil || !strings.HasSuffix(err.Error(), ": no room") {
			t.Errorf("got %v", err)
		}
		if diff := cmp.Diff(before, f.files()); diff != "" {
			t.Error(diff)
		}
	}
}

// Installations of several processes take turns.
func TestInstallationsTakeTurns(t *testing.T) {
	host := newHost(t)
	first := newFixture(t, host)
	second := newFixture(t, host)
	second.Home = first.Home
	var mu sync.Mutex
	within := 0
	live := func(c messages.Change) (messages.Change, error) {
		mu.Lock()
		if within++; within > 1 {
			t.Error("two at a time")
		}
		mu.Unlock()
		mu.Lock()
		within--
		mu.Unlock()
		return c, nil
	}
	first.live, second.live = live, live
	var both sync.WaitGroup
	for i, f := range []*fixture{first, second} {
		path := version(t, []string{"1.0.0", "1.1.0"}[i])
		both.Go(func() {
			if _, err := f.install(path, InstallOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()

	// One that does not get its turn in time says what it waits for.
	unlock, err := first.lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = second.Install(ctx, version(t, "1.2.0"), InstallOptions{}, func(_ context.Context, c messages.Change) (messages.Change, error) { return c, nil })
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "wait for another installation") {
		t.Errorf("got %v", err)
	}
}

// hashOf returns the BLAKE3 hash of a file in hex.
func hashOf(t testing.TB, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", blake3.Sum256(data))
}
