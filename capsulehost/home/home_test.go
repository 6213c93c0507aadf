package home_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ExampleHome() {
	h, err := home.Resolve("/srv/astrid")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.SocketPath())
	fmt.Println(h.CapsulesDir(home.DefaultPrincipal))
	fmt.Println(h.EnvFile("alice", "greeter"))
	// Output:
	// /srv/astrid/run/actors.sock
	// /srv/astrid/home/default/.local/capsules
	// /srv/astrid/home/alice/.config/env/greeter.env.json
}

func TestLayout(t *testing.T) {
	h, err := home.Resolve("/h")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{
		"Dir": h.Dir(), "SocketPath": h.SocketPath(), "CacheDir": h.CacheDir(), "ModulePath": h.ModulePath("abc"), "InstallLock": h.InstallLock(),
		"PrincipalDir": h.PrincipalDir("p"), "CapsulesDir": h.CapsulesDir("p"), "LogDir": h.LogDir("p", "c"), "EnvFile": h.EnvFile("p", "c"),
	}
	want := map[string]string{
		"Dir": "/h", "SocketPath": "/h/run/actors.sock", "CacheDir": "/h/cache", "ModulePath": "/h/bin/abc.wasm", "InstallLock": "/h/run/install.lock",
		"PrincipalDir": "/h/home/p", "CapsulesDir": "/h/home/p/.local/capsules", "LogDir": "/h/home/p/.local/log/c",
		"EnvFile": "/h/home/p/.config/env/c.env.json",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestResolve(t *testing.T) {
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, dir, variable, user string
		want, wrong               string
	}{
		{name: "a directory", dir: "/a/b", variable: "/x", want: "/a/b"},
		{name: "a relative directory", dir: "a", want: filepath.Join(cwd, "a")},
		{name: "a directory above", dir: "..", want: filepath.Dir(cwd)},
		{name: "the variable", variable: "/x/y/", user: "/u", want: "/x/y"},
		{name: "a relative variable", variable: "x/y", wrong: `"x/y"`},
		{name: "dots in the variable", variable: "/x/../y", wrong: "`..`"},
		{name: "dots at its end", variable: "/x/..", wrong: "`..`"},
		{name: "dots that are a name", variable: "/x/..y", want: "/x/..y"},
		{name: "the user's home", user: "/u", want: "/u/.astrid"},
		{name: "no home at all", wrong: "$ASTRID_HOME"},
		{name: "a relative user's home", user: "u", wrong: `"u"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(home.Variable, c.variable)
			t.Setenv("HOME", c.user)
			h, err := home.Resolve(c.dir)
			switch {
			case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
				t.Errorf("Resolve(%q) = %q, %v; want an error that names %s", c.dir, h.Dir(), err, c.wrong)
			case c.wrong == "" && (err != nil || h.Dir() != c.want):
				t.Errorf("Resolve(%q) = %q, %v; want %q", c.dir, h.Dir(), err, c.want)
			}
		})
	}
}

func TestParsePrincipal(t *testing.T) {
	for s, wrong := range map[string]string{
		"default": "", "a": "", "A-z_09": "", "-": "", strings.Repeat("x", 64): "",
		"":                      "is empty",
		strings.Repeat("x", 65): "65 characters",
		"..":                    `'.'`,
		"a/b":                   `'/'`,
		"a b":                   `' '`,
		"é":                     `'é'`,
		"a\x00":                 `'\x00'`,
		"a\n":                   `'\n'`,
		"\xff":                  "only a-z A-Z 0-9 _ -",
	} {
		p, err := home.ParsePrincipal(s)
		if wrong == "" && (err != nil || string(p) != s) {
			t.Errorf("ParsePrincipal(%q) = %q, %v", s, p, err)
		}
		if wrong != "" && (err == nil || p != "" || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("ParsePrincipal(%q) = %q, %v; want an error with %q", s, p, err, wrong)
		}
	}
}

func TestValidCapsule(t *testing.T) {
	for id, want := range map[string]bool{
		"a": true, "a-1": true, "-": true, "0": true,
		"": false, "A": false, "a_b": false, "a.b": false, "a/b": false, "é": false, "a\n": false, "\xff": false,
	} {
		if got := home.ValidCapsule(id); got != want {
			t.Errorf("ValidCapsule(%q) = %v, want %v", id, got, want)
		}
	}
}

// For all valid names, the files of a principal or capsule are inside the home and shared with
// no other.
func TestPathsStayInside(t *testing.T) {
	h, err := home.Resolve("/h")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		p, err := home.ParsePrincipal(rapid.StringMatching(`[a-zA-Z0-9_./-]{1,4}`).Draw(t, "principal"))
		capsule := rapid.StringMatching(`[a-z0-9./-]{0,5}`).Draw(t, "capsule")
		if err != nil || !home.ValidCapsule(capsule) {
			return
		}
		for _, path := range []string{h.LogDir(p, capsule), h.EnvFile(p, capsule)} {
			rel, err := filepath.Rel("/h/home/"+string(p), path)
			if err != nil || !filepath.IsLocal(rel) || !strings.Contains(rel, capsule) {
				t.Errorf("principal %q, capsule %q: %s is not inside", p, capsule, path)
			}
		}
	})
}
