package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

// secret is in every file that the guest must not reach.
const secret = "the-secret"

// attacked is a world with secrets around, and a capsule that may read and write
// cwd://granted, all of home:// and /tmp.
func attacked(t *testing.T) (*world, guest) {
	w := newWorld(t, nil)
	w.put("outside/file", secret)
	w.put("workspace/secret.txt", secret)
	w.put("workspace/granted-not/file", secret)
	w.put("workspace/granted/ok", "fine")
	w.put("workspace/granted/sub/ok", "fine")
	w.put(w.principal(".config/env/other.env.json"), secret)
	w.put(w.principal(".local/capsules/other/Capsule.toml"), secret)
	w.put("astrid/home/other/notes", secret)
	w.put("astrid/cache/key", secret)
	link := func(target, at string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(w.dir, at)); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(w.dir, "outside")
	link(outside, "workspace/granted/abs-dir")
	link(filepath.Join(outside, "file"), "workspace/granted/abs-file")
	link("../../outside", "workspace/granted/rel-dir")
	link("../../outside/file", "workspace/granted/rel-file")
	link("..", "workspace/granted/up")
	link("../secret.txt", "workspace/granted/beside")
	link("../granted-not", "workspace/granted/beside-dir")
	link("rel-dir", "workspace/granted/twice")
	link("up/up/up/outside", "workspace/granted/ladder")
	link("/ok", "workspace/granted/abs-ok")
	link("loop", "workspace/granted/loop")
	link("loop-b", "workspace/granted/loop-a")
	link("loop-a", "workspace/granted/loop-b")
	link("/", "workspace/granted/slash")
	link("/proc/self/root", "workspace/granted/proc")
	link("/dev/zero", "workspace/granted/zero")
	link("../../outside/new", "workspace/granted/dangling")
	link("../../astrid", "workspace/granted/astrid")
	link(outside, w.principal("abs"))
	link("../other", w.principal("other"))
	link("../../cache", w.principal("cache"))
	link(".config/env", w.principal("env"))
	link(".local", w.principal("local"))
	if err := os.MkdirAll(filepath.Join(w.dir, w.principal(".local/tmp")), 0o700); err != nil {
		t.Fatal(err)
	}
	link("../capsules", w.principal(".local/tmp/capsules"))
	if err := syscall.Mkfifo(filepath.Join(w.workspace, "granted", "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	granted := []string{"cwd://granted", "home://", "/tmp"}
	g := w.guest("attacker", Grants{Read: granted, Write: granted})
	return w, g
}

// Each attack names a file that the capsule was not granted, in some form. Every
// operation is tried with it: none may read a secret, and none may change anything
// outside the grants.
func TestEscapes(t *testing.T) {
	w, g := attacked(t)
	long := strings.Repeat("../", 1000)
	attacks := map[string]string{
		"absolute path":                        filepath.Join(w.dir, "outside", "file"),
		"absolute path of the machine":         "/etc/passwd",
		"absolute path in cwd":                 "cwd:///etc/passwd",
		"absolute path in home":                "home:///etc/passwd",
		"parent of the grant":                  "granted/../secret.txt",
		"parent of the workspace":              "granted/../../outside/file",
		"parent at once":                       "../outside/file",
		"parent in cwd":                        "cwd://../outside/file",
		"parent in cwd after a slash":          "cwd:///../outside/file",
		"parent in home":                       "home://../other/notes",
		"parent in home, twice":                "home://../../cache/key",
		"parent in tmp":                        "/tmp/../capsules/other/Capsule.toml",
		"parent of tmp":                        "/tmp/..",
		"many parents":                         long + "etc/passwd",
		"many parents in tmp":                  "/tmp/" + long + "etc/passwd",
		"parents between names":                "granted/sub/../../secret.txt",
		"parents with dots and slashes":        "granted/.//.././/../outside/file",
		"parent of a missing directory":        "granted/no/../../secret.txt",
		"parent of a file":                     "granted/ok/../../secret.txt",
		"trailing parent":                      "granted/..",
		"prefix of the name":                   "granted-not/file",
		"grant by another case":                "GRANTED/../secret.txt",
		"file beside the grant":                "secret.txt",
		"the workspace itself":                 "cwd://",
		"empty path":                           "",
		"dot":                                  ".",
		"absolute link to a directory":         "granted/abs-dir/file",
		"absolute link to a file":              "granted/abs-file",
		"absolute link, read as relative":      "granted/abs-ok",
		"relative link to a directory":         "granted/rel-dir/file",
		"relative link to a file":              "granted/rel-file",
		"link to the parent":                   "granted/up/secret.txt",
		"link to the parent, and parent":       "granted/up/../outside/file",
		"link to a file that is not granted":   "granted/beside",
		"link to a directory not granted":      "granted/beside-dir/file",
		"link to a link":                       "granted/twice/file",
		"links like a ladder":                  "granted/ladder/file",
		"link to itself":                       "granted/loop",
		"links in a circle":                    "granted/loop-a/x",
		"link to the root":                     "granted/slash/etc/passwd",
		"link to the root of the process":      "granted/proc/etc/passwd",
		"link to a device":                     "granted/zero",
		"link to what does not exist":          "granted/dangling",
		"link into Astrid's home":              "granted/astrid/cache/key",
		"named pipe":                           "granted/pipe",
		"below a named pipe":                   "granted/pipe/x",
		"link out of home":                     "home://abs/file",
		"link to another principal":            "home://other/notes",
		"link to the cache":                    "home://cache/key",
		"settings of capsules":                 "home://.config/env/other.env.json",
		"modules of capsules":                  "home://.local/capsules/other/Capsule.toml",
		"modules by a parent":                  "home://x/../.local/capsules/other/Capsule.toml",
		"settings by a link":                   "home://env/other.env.json",
		"modules by a link":                    "home://local/capsules/other/Capsule.toml",
		"modules by a link in tmp":             "/tmp/capsules/other/Capsule.toml",
		"new settings":                         "home://.config/env/new.env.json",
		"new module":                           "home://.local/capsules/new/Capsule.toml",
		"zero byte":                            "granted/ok\x00/../../secret.txt",
		"zero byte at the end":                 "secret.txt\x00granted/ok",
		"not UTF-8":                            "granted/\xff/../../secret.txt",
		"overlong slash":                       "granted/\xc0\xae\xc0\xae/secret.txt",
		"percent":                              "granted/%2e%2e/secret.txt",
		"backslash":                            `granted\..\..\outside\file`,
		"fullwidth dots":                       "granted/\uff0e\uff0e/secret.txt",
		"fullwidth slash":                      "granted\uff0f..\uff0fsecret.txt",
		"invisible characters":                 "granted/.\u200b./secret.txt",
		"right to left":                        "granted/\u202e../secret.txt",
		"one-dot leader":                       "granted/\u2025/secret.txt",
		"file URL":                             "file:///etc/passwd",
		"scheme in capitals":                   "HOME://../other/notes",
		"two schemes":                          "cwd://home://../other/notes",
		"home in tmp":                          "/tmp/home://../../.config/env/other.env.json",
		"tmp with a suffix":                    "/tmpfile/../../outside/file",
		"drive letter":                         `C:\outside\file`,
		"UNC path":                             `\\machine\share\file`,
		"tilde":                                "~/.astrid/cache/key",
		"too long":                             strings.Repeat("a", MaxPath+1),
		"too deep":                             strings.Repeat("a/", maxDepth+10),
		"long name":                            "granted/" + strings.Repeat("a", 300),
		"reserved name":                        "home://" + tempPrefix + "x",
		"trailing slash":                       "secret.txt/",
		"invisible character in a hidden name": "home://.con\u200cfig/../.config/env/other.env.json",
	}
	if len(attacks) < 60 {
		t.Fatalf("only %d attacks", len(attacks))
	}
	protected := []string{"outside", "workspace", "astrid/cache", "astrid/home/other", w.principal(".config"), w.principal(".local/capsules")}
	before := map[string]map[string]string{}
	for _, dir := range protected {
		before[dir] = snapshot(t, filepath.Join(w.dir, dir))
	}
	for name, path := range attacks {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if data, err := g.ReadFile(ctx, path); err == nil {
				t.Errorf("read %q", data)
			}
			if names, err := g.ReadDir(ctx, path); err == nil {
				t.Errorf("listed %q", names)
			}
			_ = g.WriteFile(ctx, path, []byte("overwritten")) // what it changes is seen below
			_ = g.Mkdir(ctx, path+"/made")
			_ = g.Remove(ctx, path)
			for _, dir := range protected {
				expect(t, dir, snapshot(t, filepath.Join(w.dir, dir)), before[dir])
			}
			if text := fmt.Sprint(g.Files.Stat(ctx, path)); strings.Contains(text, w.dir) && !strings.Contains(path, w.dir) {
				t.Errorf("the error names a directory of the machine: %s", text)
			}
		})
	}
	expect(t, "what is granted", g.read("cwd://granted/ok"), "fine")
	expect(t, "the layers", kept(t, w.Space)["attacker"] == nil || !slices.ContainsFunc(kept(t, w.Space)["attacker"], func(c string) bool {
		return !strings.Contains(c, " granted")
	}), true)
}

// Somebody swaps a directory for a link out of the workspace, and back, while a capsule
// reads and writes below it. The capsule meets one or the other, or an error.
func TestSwappedLinks(t *testing.T) {
	w, g := attacked(t)
	before := snapshot(t, filepath.Join(w.dir, "outside"))
	dir, link := filepath.Join(w.workspace, "granted", "swap"), filepath.Join(w.workspace, "granted", "swap-link")
	other := filepath.Join(w.workspace, "granted", "swap-dir")
	w.put("workspace/granted/swap/file", "fine")
	if err := os.Symlink(filepath.Join(w.dir, "outside"), link); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for ctx.Err() == nil {
			for _, step := range [][2]string{{dir, other}, {link, dir}, {dir, link}, {other, dir}} {
				if err := os.Rename(step[0], step[1]); err != nil {
					t.Errorf("swap: %v", err)
					return
				}
			}
		}
	})
	met := 0
	for range 300 {
		data, err := g.ReadFile(ctx, "granted/swap/file")
		if strings.Contains(string(data), secret) {
			t.Fatal("a secret was read")
		}
		if err == nil {
			met++
		}
		_ = g.WriteFile(ctx, "granted/swap/written", []byte("x"))
	}
	cancel()
	swapper.Wait()
	expect(t, "outside", snapshot(t, filepath.Join(w.dir, "outside")), before)
	t.Logf("%d of 300 reads met the directory", met)
}

// A named pipe is refused without waiting for its other end.
func TestAPipeDoesNotBlock(t *testing.T) {
	_, g := attacked(t)
	expect(t, "read", g.read("granted/pipe"), `error: read "granted/pipe": it is not a regular file`)
	if err := g.WriteFile(t.Context(), "granted/pipe", nil); err == nil {
		t.Error("the pipe was written")
	}
}

func TestAWorkspaceInAstridsHomeIsRefused(t *testing.T) {
	h, err := home.Resolve(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{h.Dir(), h.PrincipalDir(home.DefaultPrincipal)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{Home: h, Principal: home.DefaultPrincipal, Workspace: dir}); err == nil {
			t.Errorf("%s is the workspace", dir)
		}
	}
}

// Astrid's home is not seen in a workspace around it.
func TestAstridsHomeIsNotSeenInTheWorkspace(t *testing.T) {
	w := newWorld(t, nil)
	w.put("workspace/.astrid/cache/key", secret)
	var err error
	if w.cfg.Home, err = home.Resolve(filepath.Join(w.workspace, ".astrid")); err != nil {
		t.Fatal(err)
	}
	g := w.guest("one", all)
	expect(t, "list", g.list("cwd://"), "README.md src")
	expect(t, "read", g.read("cwd://.astrid/cache/key"), `error: read "cwd://.astrid/cache/key": `+errHidden.Error())
}

// A directory is the one that was looked at, and a hidden one is known by what it is:
// other disks have several spellings of one name.
func TestDirectoriesAreCompared(t *testing.T) {
	w, g := attacked(t)
	p, release, err := g.find(t.Context(), "home://", g.Files.read, false)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	info, err := os.Lstat(filepath.Join(w.dir, w.principal(".local")))
	if err != nil {
		t.Fatal(err)
	}
	if !p.isHidden(".LOCAL", info) || p.isHidden("notes", nil) {
		t.Error("another spelling of .local is not hidden")
	}
	if root, err := openDir(p.path[0].upper, ".config", info); !errors.Is(err, errChanged) {
		t.Errorf("another directory was opened: %v, %v", root, err)
	}
}
