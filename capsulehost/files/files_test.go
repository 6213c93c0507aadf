package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// all grants everything that a manifest can.
var all = Grants{Read: []string{"*", "home://", "/tmp"}, Write: []string{"*", "home://", "/tmp"}}

// world is a space on fresh directories.
type world struct {
	*Space
	t         *testing.T
	dir       string // holds all others
	workspace string
	home      home.Home
}

func newWorld(t *testing.T, change func(*Config)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.workspace = filepath.Join(w.dir, "workspace")
	w.put("workspace/README.md", "read me")
	w.put("workspace/src/main.go", "package main")
	var err error
	if w.home, err = home.Resolve(filepath.Join(w.dir, "astrid")); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Home: w.home, Principal: home.DefaultPrincipal, Workspace: w.workspace}
	if change != nil {
		change(&cfg)
	}
	if w.Space, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

// put writes a file of the machine.
func (w *world) put(path, text string) {
	w.t.Helper()
	path = filepath.Join(w.dir, path)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(path string) string {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, path))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(data)
}

func (w *world) principal(path string) string {
	return filepath.Join("astrid", "home", home.DefaultPrincipal, path)
}

// guest drives one capsule's files.
type guest struct {
	*Files
	t *testing.T
}

func (w *world) guest(id string, g Grants) guest { return guest{w.For(id, g), w.t} }

func (g guest) write(path, text string) {
	g.t.Helper()
	if err := g.WriteFile(g.t.Context(), path, []byte(text)); err != nil {
		g.t.Fatal(err)
	}
}

func (g guest) remove(path string) {
	g.t.Helper()
	if err := g.Remove(g.t.Context(), path); err != nil {
		g.t.Fatal(err)
	}
}

func (g guest) mkdir(path string) {
	g.t.Helper()
	if err := g.Mkdir(g.t.Context(), path); err != nil {
		g.t.Fatal(err)
	}
}

// read returns a file's text, or the error's.
func (g guest) read(path string) string {
	data, err := g.ReadFile(g.t.Context(), path)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(data)
}

func (g guest) list(path string) string {
	names, err := g.ReadDir(g.t.Context(), path)
	if err != nil {
		return "error: " + err.Error()
	}
	return strings.Join(names, " ")
}

func (g guest) exists(path string) bool {
	g.t.Helper()
	found, err := g.Files.Exists(g.t.Context(), path)
	if err != nil {
		g.t.Fatal(err)
	}
	return found
}

func expect[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// What a capsule writes below cwd:// hides the workspace from it alone.
func TestTheWorkspaceIsCopiedOnWrite(t *testing.T) {
	w := newWorld(t, nil)
	g, other := w.guest("editor", all), w.guest("other", all)
	expect(t, "first", g.read("README.md"), "read me")
	g.write("cwd://README.md", "changed")
	g.write("/src/deep/er/new.go", "new") // the leading slash is the workspace's
	expect(t, "changed", g.read("cwd://README.md"), "changed")
	expect(t, "list", g.list("src"), "deep main.go")
	expect(t, "list of the root", g.list(""), "README.md src")
	expect(t, "the workspace", w.get("workspace/README.md"), "read me")
	expect(t, "another capsule", other.read("README.md"), "read me")
	expect(t, "another capsule's list", other.list("src"), "main.go")

	g.remove("src/main.go")
	expect(t, "removed", g.exists("src/main.go"), false)
	expect(t, "list without it", g.list("src"), "deep")
	expect(t, "the workspace has it", w.get("workspace/src/main.go"), "package main")
	g.write("src/main.go", "again")
	expect(t, "written again", g.read("src/main.go"), "again")
	g.remove("src/main.go")
	g.remove("src/deep/er/new.go")
	g.remove("src/deep/er")
	g.remove("src/deep")
	g.remove("src")
	expect(t, "without src", g.list(""), "README.md")
	g.mkdir("src")
	expect(t, "a new src is empty", g.list("src"), "")
}

func TestHomeAndTemporaryFiles(t *testing.T) {
	w := newWorld(t, nil)
	g, other := w.guest("one", all), w.guest("other", all)
	expect(t, "nothing yet", g.exists("home://notes.txt"), false)
	g.write("home://notes.txt", "remember")
	g.write("/tmp/scratch", "1")
	expect(t, "other capsules of the principal share it", other.read("home://notes.txt"), "remember")
	expect(t, "on disk", w.get(w.principal("notes.txt")), "remember")
	expect(t, "temporary, on disk", w.get(w.principal(".local/tmp/scratch")), "1")
	expect(t, "list", g.list("home://"), "notes.txt")
	expect(t, "list", g.list("/tmp"), "scratch")
	if err := g.WriteFile(t.Context(), "home://no/dir/file", nil); err == nil {
		t.Error("a file was written into a directory that does not exist")
	}
	g.mkdir("home://no/dir")
	g.write("home://no/dir/file", "")
	stat, err := g.Files.Stat(t.Context(), "home://no/dir")
	if err != nil || !stat.Dir {
		t.Errorf("stat of a directory: %+v, %v", stat, err)
	}
	stat, err = g.Files.Stat(t.Context(), "/tmp/scratch")
	if err != nil || stat.Dir || stat.Size != 1 || time.Since(stat.ModTime) > time.Hour {
		t.Errorf("stat of a file: %+v, %v", stat, err)
	}
}

func TestErrors(t *testing.T) {
	w := newWorld(t, nil)
	w.put("workspace/full/file", "")
	g := w.guest("one", all)
	for _, tt := range []struct {
		what string
		do   func(ctx context.Context) error
		want string
	}{
		{"read a missing file", func(ctx context.Context) error { _, err := g.ReadFile(ctx, "no"); return err }, `read "no": file does not exist`},
		{"read a directory", func(ctx context.Context) error { _, err := g.ReadFile(ctx, "src"); return err }, `read "src": it is a directory`},
		{"read the root", func(ctx context.Context) error { _, err := g.ReadFile(ctx, ""); return err }, `read "": it is a directory`},
		{"read below a file", func(ctx context.Context) error { _, err := g.ReadFile(ctx, "README.md/x"); return err }, `read "README.md/x": "README.md" is not a directory`},
		{"list a file", func(ctx context.Context) error { _, err := g.ReadDir(ctx, "README.md"); return err }, `list "README.md": it is not a directory`},
		{"write over a directory", func(ctx context.Context) error { return g.WriteFile(ctx, "src", nil) }, `write "src": it is a directory`},
		{"write the root", func(ctx context.Context) error { return g.WriteFile(ctx, "cwd://", nil) }, `write "cwd://": it is a directory`},
		{"make the root", func(ctx context.Context) error { return g.Mkdir(ctx, "cwd://") }, `make the directory "cwd://": it is the root`},
		{"make a directory over a file", func(ctx context.Context) error { return g.Mkdir(ctx, "README.md") }, `make the directory "README.md": there is something else that is not a directory`},
		{"make a directory twice", func(ctx context.Context) error { return g.Mkdir(ctx, "src") }, ""},
		{"remove the root", func(ctx context.Context) error { return g.Remove(ctx, "home://") }, `remove "home://": it is the root`},
		{"remove a full directory", func(ctx context.Context) error { return g.Remove(ctx, "full") }, `remove "full": the directory is not empty`},
		{"remove a missing file", func(ctx context.Context) error { return g.Remove(ctx, "no") }, `remove "no": file does not exist`},
		{"write too much", func(ctx context.Context) error { return g.WriteFile(ctx, "large", make([]byte, MaxFile+1)) }, `write "large": 10485761 bytes are over the limit of 10485760`},
		{"an ended call", func(context.Context) error {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(errors.New("the call is over"))
			return g.WriteFile(ctx, "README.md", []byte("never"))
		}, "the call is over"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			got := ""
			if err := tt.do(t.Context()); err != nil {
				got = err.Error()
			}
			if got != tt.want && !(tt.what == "an ended call" && strings.HasSuffix(got, tt.want)) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	large := filepath.Join(w.workspace, "large")
	if err := os.Truncate(large, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the file that was too large exists")
	}
	w.put("workspace/large", "")
	if err := os.Truncate(large, MaxFile+1); err != nil {
		t.Fatal(err)
	}
	expect(t, "read too much", g.read("large"), `error: read "large": 10485761 bytes are over the limit of 10485760`)
}

// A manifest's pattern grants a path and what is below it, in its own scheme only.
func TestGrants(t *testing.T) {
	w := newWorld(t, nil)
	w.put("workspace/src2/x", "not granted")
	w.put("workspace/docs/x", "granted")
	for _, name := range []string{"src", "home-secret"} {
		w.put(w.principal(name+"/x"), "home")
	}
	if err := os.Symlink("../src2", filepath.Join(w.workspace, "src", "aside")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("src/main.go", filepath.Join(w.workspace, "entry")); err != nil {
		t.Fatal(err)
	}
	g := w.guest("one", Grants{Read: []string{"cwd://src", filepath.Join(w.workspace, "docs"), "home://src/x", "cwd://../astrid", "relative", "/etc"}})
	const denied = "the manifest of the capsule does not grant this path"
	for path, want := range map[string]string{
		"src/main.go":            "package main",
		"cwd://src/main.go":      "package main",
		"src/../src/main.go":     "package main",
		"entry":                  "package main", // a link to what is granted
		"docs/x":                 "granted",
		"home://src/x":           "home",
		"src2/x":                 denied,
		"src/aside/x":            denied, // a link to what is not
		"README.md":              denied,
		"no-such-file":           denied,
		"README.md/below-a-file": denied,
		"home://home-secret/x":   denied,
		"/tmp/x":                 denied,
		"/etc/passwd":            denied,
	} {
		if got := g.read(path); !strings.HasSuffix(got, want) {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
	if err := g.WriteFile(t.Context(), "src/main.go", nil); !errors.Is(err, errDenied) {
		t.Errorf("written with a grant to read: %v", err)
	}
	wild := w.guest("two", Grants{Read: []string{"*"}})
	expect(t, "* is the workspace", wild.read("README.md"), "read me")
	if got := wild.read("home://src/x"); !strings.HasSuffix(got, denied) {
		t.Errorf("* has granted the home: %q", got)
	}
}

func TestWithoutAWorkspace(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Workspace = "" })
	expect(t, "read", w.guest("one", all).read("x"), `error: read "x": there is no workspace: the daemon runs without --workspace`)
}

func TestQuotas(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.CapsuleQuota, c.PrincipalQuota = Quota{Bytes: 100, Files: 4}, Quota{Bytes: 50, Files: 2}
	})
	g := w.guest("one", all)
	try := func(path string, size int) string {
		if err := g.WriteFile(t.Context(), path, make([]byte, size)); err != nil {
			return strings.TrimPrefix(err.Error(), fmt.Sprintf("write %q: ", path))
		}
		return ""
	}
	expect(t, "fits", try("a", 60), "")
	expect(t, "too much", try("b", 41), "the quota is used up: there would be 101 bytes in 2 files below cwd://, and 100 bytes in 4 files are allowed")
	expect(t, "shrunk", try("a", 10), "")
	expect(t, "fits now", try("b", 90), "")
	expect(t, "nothing was left behind by what failed", g.list("cwd://"), "README.md a b src")
	g.remove("b")
	expect(t, "directories count", try("c/d/f", 0), "")
	expect(t, "too many", try("e", 0), "the quota is used up: there would be 10 bytes in 5 files below cwd://, and 100 bytes in 4 files are allowed")
	expect(t, "another capsule has its own", w.guest("two", all).WriteFile(t.Context(), "e", nil), nil)
	expect(t, "of all capsules", try("home://a", 50), "")
	if err := w.guest("two", all).WriteFile(t.Context(), "home://b", []byte("x")); err == nil {
		t.Error("two capsules had more than their principal")
	}
	expect(t, "temporary files have their own", try("/tmp/a", 50), "")

	// A new daemon counts what is there.
	again, err := New(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Space = again
	g = w.guest("one", all)
	expect(t, "after a restart", try("e", 0), "the quota is used up: there would be 10 bytes in 5 files below cwd://, and 100 bytes in 4 files are allowed")
}

// A write that is cut off leaves the old file, and nothing beside it.
func TestAWriteIsCompleteOrNotDone(t *testing.T) {
	w := newWorld(t, nil)
	g := w.guest("one", all)
	g.write("home://file", "old")
	hard := filepath.Join(w.dir, "elsewhere")
	if err := os.Link(filepath.Join(w.dir, w.principal("file")), hard); err != nil {
		t.Fatal(err)
	}
	ended := errors.New("ended")
	p, release, err := g.find(t.Context(), "home://file", g.Files.write, true)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	err = replace(p.last().upper, "file", []byte("new"), 0o600, func() error { return ended })
	if !errors.Is(err, ended) {
		t.Errorf("err = %v", err)
	}
	expect(t, "the old file", g.read("home://file"), "old")
	g.write("home://file", "new")
	expect(t, "a hard link keeps its content", w.get("elsewhere"), "old")
	expect(t, "nothing else", entries(t, filepath.Join(w.dir, w.principal(""))), []string{".config", ".local", "file"})

	// A file that a crash left is not seen, and is removed when the space is measured.
	stale := filepath.Join(w.dir, w.principal(tempPrefix+"stale"))
	w.put(w.principal(tempPrefix+"stale"), "half")
	if err := os.Chtimes(stale, time.Time{}, time.Now().Add(-2*abandonedAfter)); err != nil {
		t.Fatal(err)
	}
	expect(t, "list", g.list("home://"), "file")
	p.area.measure()
	if _, err := os.Lstat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the abandoned file is still there")
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	found, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range found {
		names = append(names, e.Name())
	}
	return names
}

// snapshot returns every file below a directory with its content.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			found[path] = entry.Type().String()
			return err
		}
		data, err := os.ReadFile(path)
		found[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// kept returns a Space's capsules with what they changed.
func kept(t *testing.T, s *Space) map[string][]string {
	t.Helper()
	ids, err := s.Capsules()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, id := range ids {
		changes, err := s.Changes(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			found[id] = append(found[id], describe(c))
		}
	}
	return found
}

func describe(c Change) string {
	text := string(c.Kind) + " " + c.Path
	if c.Dir {
		text += "/"
	}
	if c.Conflict {
		text += " in conflict"
	}
	return text
}

func TestCommitAndDiscard(t *testing.T) {
	w := newWorld(t, nil)
	w.put("workspace/old/a", "a")
	w.put("workspace/old/b", "b")
	if err := os.Chmod(filepath.Join(w.workspace, "README.md"), 0o640); err != nil {
		t.Fatal(err)
	}
	g := w.guest("editor", all)
	expect(t, "nothing yet", kept(t, w.Space), map[string][]string{})
	g.write("README.md", "changed")
	g.write("new/file", "new")
	g.remove("old/a")
	g.remove("old/b")
	g.remove("old")
	g.remove("src/main.go")
	g.write("src/main.go", "rewritten")
	w.guest("other", all).write("x", "")
	expect(t, "changes", kept(t, w.Space), map[string][]string{
		"editor": {"modified README.md", "added new/", "added new/file", "removed old/", "removed old/a", "removed old/b", "modified src/main.go"},
		"other":  {"added x"},
	})
	before, after, err := w.Contents(t.Context(), Change{Capsule: "editor", Path: "README.md", Kind: Modified})
	if err != nil || string(before) != "read me" || string(after) != "changed" {
		t.Errorf("contents: %q, %q, %v", before, after, err)
	}
	done, left, err := w.Commit(t.Context(), "editor", false)
	if err != nil || len(done) != 7 || len(left) != 0 {
		t.Fatalf("commit: %v, %v, %v", done, left, err)
	}
	files := snapshot(t, w.workspace)
	maps.DeleteFunc(files, func(path, text string) bool { return strings.HasPrefix(text, "d") })
	expect(t, "the workspace", files, map[string]string{
		filepath.Join(w.workspace, "README.md"): "changed", filepath.Join(w.workspace, "new", "file"): "new",
		filepath.Join(w.workspace, "src", "main.go"): "rewritten",
	})
	if info, err := os.Stat(filepath.Join(w.workspace, "README.md")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode is %v (%v), want that of the file before", info.Mode(), err)
	}
	expect(t, "what is left", kept(t, w.Space), map[string][]string{"other": {"added x"}})
	expect(t, "the capsule's view", g.read("README.md"), "changed")

	g.write("README.md", "again")
	discarded, err := w.Discard(t.Context(), "editor")
	if err != nil || len(discarded) != 1 {
		t.Fatalf("discard: %v, %v", discarded, err)
	}
	expect(t, "after discard", g.read("README.md"), "changed")
	g.write("README.md", "once more") // the layer is made again
	expect(t, "after a new write", g.read("README.md"), "once more")
}

// A path that the workspace changed, too, is not overwritten unless it is forced.
func TestConflicts(t *testing.T) {
	w := newWorld(t, nil)
	w.put("workspace/gone", "1")
	g := w.guest("editor", all)
	g.write("README.md", "mine")
	g.write("both", "mine")
	g.remove("gone")
	g.write("fine", "mine")
	w.put("workspace/README.md", "theirs")
	w.put("workspace/both", "theirs")
	w.put("workspace/gone", "theirs, longer")
	_, left, err := w.Commit(t.Context(), "editor", false)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range left {
		names = append(names, describe(c))
	}
	expect(t, "left", names, []string{"removed gone in conflict", "modified README.md in conflict", "added both in conflict"})
	expect(t, "theirs", w.get("workspace/README.md"), "theirs")
	expect(t, "no conflict", w.get("workspace/fine"), "mine")
	expect(t, "the capsule's view", g.read("README.md"), "mine")
	if _, left, err = w.Commit(t.Context(), "editor", true); err != nil || len(left) != 0 {
		t.Fatalf("forced: %v, %v", left, err)
	}
	expect(t, "forced", w.get("workspace/README.md"), "mine")
	if slices.Contains(entries(t, w.workspace), "gone") {
		t.Error("the removed file is still there")
	}
}
