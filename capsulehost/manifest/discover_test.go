package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// capsule creates a capsule's directory.
func capsule(t *testing.T, dir, id, version string) {
	t.Helper()
	text := strings.NewReplacer("greeter\"", id+"\"", "1.0.0", version).Replace(header)
	write(t, filepath.Join(dir, FileName), text)
}

// found formats a Discovery as text, without root in its paths.
func found(root string, d Discovery) []string {
	var out []string
	for _, m := range d.Manifests {
		out = append(out, fmt.Sprintf("%s: %s %s", m.Dir, m.ID(), m.Package.Version))
	}
	for _, r := range d.Rejected {
		out = append(out, fmt.Sprintf("%s: rejected %q: %v", r.Dir, r.ID, r.Err))
	}
	for _, w := range d.Warnings {
		out = append(out, "warning: "+w.String())
	}
	for i := range out {
		out[i] = strings.ReplaceAll(out[i], root+"/", "")
	}
	return out
}

func TestDiscover(t *testing.T) {
	root := t.TempDir()
	in := func(path string) string { return filepath.Join(root, path) }
	capsule(t, in("own/b"), "b", "1.0.0")
	capsule(t, in("own/a"), "z", "1.0.0")
	capsule(t, in("own/.hidden"), "hidden", "1.0.0")
	capsule(t, in("own/c/nested"), "nested", "1.0.0") // too deep
	write(t, in("own/readme.txt"), "no capsule")
	capsule(t, in("later/1"), "b", "2.0.0")
	capsule(t, in("later/2"), "new", "2.0.0")
	capsule(t, in("broken/1"), "b", "wrong")
	capsule(t, in("broken/2"), "worse", "wrong")
	capsule(t, in("broken/3"), "worse", "wrong as well")
	capsule(t, in("broken/4"), "no_id", "1.0.0")
	capsule(t, in("single"), "single", "1.0.0")
	capsule(t, in("single/below"), "below", "1.0.0")
	if err := os.Mkdir(in("empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(in("links"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(in("single"), in("links/l")); err != nil {
		t.Fatal(err)
	}
	wrong := func(version string) string {
		return fmt.Sprintf("Capsule.toml:3: package.version: is %q, which is no full semantic version such as %q", version, "1.0.0")
	}
	for _, c := range []struct {
		name     string
		dirs     []string
		explicit bool
		want     []string
	}{
		{"nothing", nil, false, nil},
		{"by name", []string{"own"}, false, []string{"own/.hidden: hidden 1.0.0", "own/a: z 1.0.0", "own/b: b 1.0.0"}},
		{"a capsule's own directory", []string{"single"}, true, []string{"single: single 1.0.0"}},
		{"a link", []string{"links"}, true, []string{"links/l: single 1.0.0"}},
		{"the first wins", []string{"own", "later"}, false, []string{
			"own/.hidden: hidden 1.0.0", "own/a: z 1.0.0", "own/b: b 1.0.0", "later/2: new 2.0.0",
			`warning: later/1/Capsule.toml:2: package.name: capsule "b" is not loaded from here: the one in own/b comes first`}},
		{"the first of the operator's order wins", []string{"later", "own/b"}, true, []string{
			"later/1: b 2.0.0", "later/2: new 2.0.0",
			`warning: own/b/Capsule.toml:2: package.name: capsule "b" is not loaded from here: the one in later/1 comes first`}},
		{"twice the same", []string{"single", "single"}, true, []string{"single: single 1.0.0",
			`warning: single/Capsule.toml:2: package.name: capsule "single" is not loaded from here: the one in single comes first`}},
		{"broken ones stop nobody, and take nobody's id", []string{"broken", "own"}, false, []string{
			"own/.hidden: hidden 1.0.0", "own/a: z 1.0.0", "own/b: b 1.0.0",
			`broken/1: rejected "": broken/1/` + wrong("wrong"),
			`broken/2: rejected "worse": broken/2/` + wrong("wrong"),
			`broken/3: rejected "": broken/3/` + wrong("wrong as well"),
			`broken/4: rejected "": broken/4/Capsule.toml:2: package.name: is "no_id", and a capsule's id is one or more of a-z 0-9 -`}},
		{"missing", []string{"nowhere", "single"}, false, []string{"single: single 1.0.0"}},
		{"missing though named", []string{"nowhere", "single"}, true, []string{"single: single 1.0.0",
			`nowhere: rejected "": look for capsules in nowhere: no such file or directory`}},
		{"empty", []string{"empty"}, false, nil},
		{"empty though named", []string{"empty"}, true, []string{"warning: empty: holds no capsules: neither it nor a directory in it has a Capsule.toml"}},
		{"no directory", []string{"own/readme.txt"}, false, []string{`own/readme.txt: rejected "": look for capsules in own/readme.txt: it is no directory`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var dirs []string
			for _, dir := range c.dirs {
				dirs = append(dirs, in(dir))
			}
			if diff := cmp.Diff(c.want, found(root, Discover(dirs, c.explicit))); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("not to be looked into", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Log("root may look into anything")
			return
		}
		if err := os.Chmod(in("own/b"), 0); err != nil {
			t.Fatal(err)
		}
		got := found(root, Discover([]string{in("own")}, false))
		if !slices.Contains(got, `own/b: rejected "": own/b/Capsule.toml: can't be read: permission denied`) {
			t.Errorf("%q", got)
		}
		if err := os.Chmod(in("own/b"), 0o700); err != nil {
			t.Fatal(err)
		}
	})
}
