package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/archive"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// capsules are the capsules of test/capsules.
var capsules = filepath.Join("..", "..", "..", "test", "capsules")

// fixture is a home with an installer.
type fixture struct {
	t testing.TB
	*Installer
	log strings.Builder
	// live is what a running system says to what is installed; nil agrees.
	live func(messages.Change) (messages.Change, error)
}

func newFixture(t testing.TB, host *capsulehost.Host) *fixture {
	h, err := home.Resolve(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t}
	f.Installer = &Installer{
		Home: h, Principal: home.DefaultPrincipal, Host: host, HookTimeout: time.Minute,
		Log: slog.New(slog.NewTextHandler(&f.log, nil)),
	}
	return f
}

func newHost(t testing.TB) *capsulehost.Host {
	host, err := capsulehost.New(context.Background(), capsulehost.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close(context.Background()) })
	return host
}

// install installs, and returns the change as a line.
func (f *fixture) install(path string, o InstallOptions) (string, error) {
	change, err := f.Install(context.Background(), path, o, func(_ context.Context, c messages.Change) (messages.Change, error) {
		if f.live != nil {
			return f.live(c)
		}
		return c, nil
	})
	return change.String(), err
}

// must installs a capsule, which must succeed with the given line.
func (f *fixture) must(path, want string) {
	f.t.Helper()
	if got, err := f.install(path, InstallOptions{}); err != nil || got != want {
		f.t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// files returns everything below the home but the lock: each file's mode and content.
func (f *fixture) files() map[string]string { return filesBelow(f.t, f.Home.Dir()) }

func filesBelow(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "install.lock" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// copied returns a copy of a capsule of test/capsules in which texts of the manifest are
// replaced.
func copied(t testing.TB, name string, replace ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(capsules, name))); err != nil {
		t.Fatal(err)
	}
	edit(t, dir, replace...)
	return dir
}

func edit(t testing.TB, dir string, replace ...string) {
	t.Helper()
	file := filepath.Join(dir, manifest.FileName)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.NewReplacer(replace...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// version returns a copy of life-cycle in another version.
func version(t testing.TB, v string) string {
	return copied(t, "life-cycle", `version = "1.0.0"`, fmt.Sprintf("version = %q", v))
}

// refusing returns a copy of life-cycle whose hook refuses.
func refusing(t testing.TB, v string) string {
	return copied(t, "life-cycle", `version = "1.0.0"`, fmt.Sprintf("version = %q", v), "[env.refuse]", "[env.refuse]\ndefault = \"not today\"")
}

// packed returns the archive of the capsule in dir.
func packed(t testing.TB, dir string) string {
	t.Helper()
	m, err := manifest.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), archive.Name(m)))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(archive.Write(f, home.Home{}, m), f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// From a directory or from an archive, the same is installed, and runs from there.
func TestInstall(t *testing.T) {
	host := newHost(t)
	for name, path := range map[string]string{
		"a directory": filepath.Join(capsules, "life-cycle"), "an archive": packed(t, filepath.Join(capsules, "life-cycle")),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, host)
			f.must(path, "added life-cycle 1.0.0")
			if !strings.Contains(f.log.String(), `level=WARN msg="install " capsule=life-cycle`) || strings.Contains(f.log.String(), "upgrade") {
				t.Errorf("the hook said %s", f.log.String())
			}
			dir := "home/default/.local/capsules/life-cycle/"
			files := f.files()
			var meta struct {
				Version     string
				InstalledAt time.Time `json:"installed_at"`
				WasmHash    string    `json:"wasm_hash"`
			}
			if err := json.Unmarshal([]byte(files[dir+"meta.json"]), &meta); err != nil || meta.Version != "1.0.0" || meta.InstalledAt.IsZero() {
				t.Errorf("meta.json is %s: %v", files[dir+"meta.json"], err)
			}
			want := []string{"bin/" + meta.WasmHash + ".wasm", dir + "Capsule.toml", dir + "meta.json"}
			if diff := cmp.Diff(want, slices.Sorted(maps.Keys(files))); diff != "" {
				t.Error(diff)
			}
			m, err := manifest.Load(filepath.Join(f.Home.Dir(), dir))
			if err != nil {
				t.Fatal(err)
			}
			if _, hash, err := m.ReadModule(f.Home, false); err != nil || hash != meta.WasmHash {
				t.Errorf("ReadModule() = %s, %v", hash, err)
			}

			// Again, it is unchanged: no byte of it, and no hook.
			f.log.Reset()
			f.must(path, "unchanged life-cycle")
			if diff := cmp.Diff(files, f.files()); diff != "" || f.log.Len() > 0 {
				t.Error(diff, f.log.String())
			}
		})
	}
}

func TestUpgrade(t *testing.T) {
	f := newFixture(t, newHost(t))
	f.must(version(t, "1.0.0"), "added life-cycle 1.0.0")
	dir := filepath.Join(f.Home.CapsulesDir(f.Principal), "life-cycle")
	before, err := openInstalled(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".env.json"), []byte(`{"key": "kept"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	f.must(version(t, "1.1.0"), "upgraded life-cycle 1.0.0 -> 1.1.0")
	if !strings.Contains(f.log.String(), `msg="upgrade 1.0.0"`) {
		t.Errorf("the hook said %s", f.log.String())
	}
	if text, err := os.ReadFile(filepath.Join(dir, ".env.json")); err != nil || string(text) != `{"key": "kept"}` {
		t.Errorf("the operator's configuration is %s, %v", text, err)
	}
	after, err := openInstalled(dir)
	if err != nil || after.meta.InstalledAt != before.meta.InstalledAt || after.version != "1.1.0" {
		t.Errorf("%+v, %v", after, err)
	}
	// Same version, another manifest: that is an upgrade, too. So is a step back.
	edited := version(t, "1.1.0")
	edit(t, edited, "test.life-cycle", "test.other")
	f.must(edited, "upgraded life-cycle 1.1.0 -> 1.1.0")
	f.must(version(t, "1.0.5"), "upgraded life-cycle 1.1.0 -> 1.0.5")
}

// Whoever vouches for a module, or says that nobody does.
func TestUnsealed(t *testing.T) {
	f := newFixture(t, newHost(t))
	dir := version(t, "1.0.0")
	if err := os.Remove(filepath.Join(dir, manifest.MetaName)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, packed(t, dir)} {
		if _, err := f.install(path, InstallOptions{}); !errors.Is(err, ErrUnsealed) {
			t.Errorf("%s: %v", path, err)
		}
	}
	target := filepath.Join(f.Home.CapsulesDir(f.Principal), "life-cycle")
	readable := func(unverifiedToo bool) bool {
		m, err := manifest.Load(target)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = m.ReadModule(f.Home, unverifiedToo)
		return err == nil
	}
	for _, c := range []struct {
		options InstallOptions
		want    string
		sealed  bool
	}{
		{InstallOptions{AllowUnverified: true}, "added life-cycle 1.0.0", false},
		{InstallOptions{AllowUnverified: true}, "unchanged life-cycle", false},
		{InstallOptions{Seal: true}, "upgraded life-cycle 1.0.0 -> 1.0.0", true},
		{InstallOptions{Seal: true}, "unchanged life-cycle", true},
		{InstallOptions{Seal: true, AllowUnverified: true}, "unchanged life-cycle", true},
		{InstallOptions{AllowUnverified: true}, "unchanged life-cycle", true}, // it keeps its seal
	} {
		if got, err := f.install(dir, c.options); err != nil || got != c.want {
			t.Errorf("%+v: got %q, %v, want %q", c.options, got, err, c.want)
		}
		if readable(false) != c.sealed || !readable(true) {
			t.Errorf("%+v: the installed copy is sealed: %v", c.options, !c.sealed)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, manifest.MetaName)); err == nil {
		t.Error("the source was sealed")
	}
}

// A directory may have been built again since it was sealed: whoever seals it now vouches for
// that. An archive must be as it was packed.
func TestSealAgain(t *testing.T) {
	f := newFixture(t, newHost(t))
	dir := otherModule(t, "1.0.0")
	other, err := os.ReadFile(filepath.Join(version(t, "1.0.0"), manifest.MetaName)) // with another hash
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, manifest.MetaName), other, 0o600); err != nil {
		t.Fatal(err)
	}
	archived := filepath.Join(t.TempDir(), "changed"+archive.Extension)
	if out, err := exec.Command("tar", "czf", archived, "-C", dir, "Capsule.toml", "life-cycle.wasm", manifest.MetaName).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	seal := InstallOptions{Seal: true}
	for path, o := range map[string]InstallOptions{dir: {AllowUnverified: true}, archived: seal} {
		if _, err := f.install(path, o); !errors.Is(err, manifest.ErrChanged) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if got, err := f.install(dir, seal); err != nil || got != "added life-cycle 1.0.0" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestUpgradeOnly(t *testing.T) {
	f := newFixture(t, newHost(t))
	only := InstallOptions{UpgradeOnly: true}
	if _, err := f.install(version(t, "1.0.0"), only); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("a first installation: %v", err)
	}
	f.must(version(t, "1.0.0"), "added life-cycle 1.0.0")
	edited := version(t, "1.0.0")
	edit(t, edited, "test.life-cycle", "test.other")
	for path, want := range map[string]string{
		version(t, "0.9.0"): "version 0.9.0 is no upgrade of 1.0.0, which is installed", edited: "version 1.0.0 is no upgrade of 1.0.0",
		version(t, "1.0.0-rc.1"): "version 1.0.0-rc.1 is no upgrade of 1.0.0",
	} {
		if _, err := f.install(path, only); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if got, err := f.install(version(t, "1.0.0"), only); err != nil || got != "unchanged life-cycle" {
		t.Errorf("the same: %s, %v", got, err)
	}
	if got, err := f.install(version(t, "1.0.1"), only); err != nil || got != "upgraded life-cycle 1.0.0 -> 1.0.1" {
		t.Errorf("a newer one: %s, %v", got, err)
	}
}

// What can't be installed leaves nothing, and says why, with the names of the capsule's own
// files.
func TestInstallRefuses(t *testing.T) {
	host := newHost(t)
	damaged, syntax := version(t, "1.0.0"), version(t, "1.0.0")
	if err := os.WriteFile(filepath.Join(damaged, "life-cycle.wasm"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	edit(t, syntax, "[package]", "[package")
	slip := filepath.Join(t.TempDir(), "slip.capsule")
	if err := os.WriteFile(slip, []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	hanging := copied(t, "life-cycle", "[env.hang]", "[env.hang]\ndefault = \"yes\"")
	unexported := copied(t, "no-export")
	for path, want := range map[string]string{
		filepath.Join(capsules, "nowhere"):           "no such file",
		filepath.Join(capsules, "echo", "echo.wasm"): "neither a directory nor a file that ends in .capsule",
		slip:                            "no gzip file",
		damaged:                         "it was changed since it was sealed",
		syntax:                          syntax + `/Capsule.toml:1: `,
		unexported:                      "it exports neither",
		packed(t, unexported):           "it exports neither",
		refusing(t, "1.0.0"):            `capsule "life-cycle" refuses, in astrid_install: `,
		hanging:                         "out of time",
		packed(t, refusing(t, "1.0.0")): "not today",
	} {
		f := newFixture(t, host)
		f.HookTimeout = 2 * time.Second
		_, err := f.install(path, InstallOptions{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "install "+path+": ") {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
		if err != nil && strings.Contains(err.Error(), f.staging()) {
			t.Errorf("the reason names a temporary file: %v", err)
		}
		if files := f.files(); len(files) > 0 {
			t.Errorf("%s: it left %v", path, slices.Sorted(maps.Keys(files)))
		}
	}
}

// A capsule that was put there by hand is not replaced, nor hidden.
func TestHandMade(t *testing.T) {
	f := newFixture(t, newHost(t))
	root := f.Home.CapsulesDir(f.Principal)
	for name, want := range map[string]string{"life-cycle": "was not made by install", "mine": "is in " + filepath.Join(root, "mine") + " already"} {
		dir := filepath.Join(root, name)
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(capsules, "life-cycle"))); err != nil {
			t.Fatal(err)
		}
		before := f.files()
		if _, err := f.install(version(t, "2.0.0"), InstallOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if removed, err := f.Remove(context.Background(), "life-cycle"); removed || err != nil {
			t.Errorf("Remove() = %v, %v", removed, err)
		}
		if diff := cmp.Diff(before, f.files()); diff != "" {
			t.Error(diff)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	sources := version(t, "1.0.0")
	if err := os.Symlink(sources, filepath.Join(root, "life-cycle")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.install(version(t, "2.0.0"), InstallOptions{}); err == nil || !strings.Contains(err.Error(), "was not made by install") {
		t.Errorf("over a link: %v", err)
	}
	if removed, err := f.Remove(context.Background(), "life-cycle"); removed || err != nil {
		t.Errorf("Remove() of a link = %v, %v", removed, err)
	}
}

func TestRemove(t *testing.T) {
	f := newFixture(t, newHost(t))
	f.must(version(t, "1.0.0"), "added life-cycle 1.0.0")
	if removed, err := f.Remove(context.Background(), "life-cycle"); !removed || err != nil {
		t.Errorf("Remove() = %v, %v", removed, err)
	}
	for name := range f.files() {
		if !strings.HasPrefix(name, "bin/") {
			t.Errorf("it left %s", name)
		}
	}
	if removed, err := f.Remove(context.Background(), "life-cycle"); removed || err != nil {
		t.Errorf("again: %v, %v", removed, err)
	}
	for _, id := range []string{"", "..", "../capsules", "a/b"} {
		if removed, err := f.Remove(context.Background(), id); removed || err == nil {
			t.Errorf("Remove(%q) = %v, %v", id, removed, err)
		}
	}
	f.must(version(t, "1.0.0"), "added life-cycle 1.0.0")
}

// A developer's versions do not pile up, and no other capsule loses its module.
func TestDropReplaced(t *testing.T) {
	host := newHost(t)
	f, other := newFixture(t, host), newFixture(t, host)
	other.Home, other.Principal = f.Home, "ada"
	drop := InstallOptions{DropReplaced: true}
	modules := func() int {
		all, err := filepath.Glob(f.Home.ModulePath("*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	first, second := version(t, "1.0.0"), otherModule(t, "1.0.0")
	for i, c := range []struct {
		by   *fixture
		path string
		want int
	}{{f, first, 1}, {f, second, 1}, {other, second, 1}, {f, first, 2}, {other, first, 1}, {other, first, 1}} {
		if _, err := c.by.install(c.path, drop); err != nil {
			t.Fatal(err)
		}
		if got := modules(); got != c.want {
			t.Errorf("%d: there are %d modules, want %d", i, got, c.want)
		}
	}
	f.must(second, "upgraded life-cycle 1.0.0 -> 1.0.0")
	if got := modules(); got != 2 {
		t.Errorf("without the option: there are %d modules", got)
	}
}
