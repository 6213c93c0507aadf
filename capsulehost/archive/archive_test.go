package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/astrid-actors/astrid-actors/capsulehost/archive"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	header = `[package]
name = "greeter"
version = "1.2.0-rc.1"
%s
[[component]]
file = "greeter.wasm"
%s
`
	wasm     = "\x00asm\x01\x00\x00\x00"
	wasmHash = "0d66d411a21e80d93afa1487b002a1867432c04ba1d08dc790d259639f6a69c4"
)

// write writes files below a directory.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// read returns the files below a directory.
func read(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// pack returns the archive of the capsule in dir.
func pack(t testing.TB, dir string) ([]byte, error) {
	t.Helper()
	m, err := manifest.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	h, err := home.Resolve(filepath.Join(dir, "home"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = archive.Write(&out, h, m)
	return out.Bytes(), err
}

// A capsule comes out of its archive as it went in, without what is not its own.
func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	toml := fmt.Sprintf(header, "readme = \"docs/README.md\"\ninclude = [\"data\", \"*.txt\", \"*.none\"]\nexclude = [\"data/*.tmp\"]",
		"[[component]]\nfile = \"lib/lib.wasm\"\n[[skill]]\nname = \"s\"\nfile = \"./skills/s.md\"\n[[topic]]\nname = \"t\"\ndirection = \"publish\"\nschema = \"t.json\"")
	write(t, dir, map[string]string{
		"Capsule.toml": toml, "greeter.wasm": wasm, "lib/lib.wasm": "lib", "meta.json": `{"wasm_hash": "` + strings.ToUpper(wasmHash) + `", "installed_at": "x"}`,
		"docs/README.md": "read", "skills/s.md": "skill", "t.json": "{}", "wit/a/b.wit": "wit", "note.txt": "note",
		"data/a": "a", "data/b.tmp": "b", "data/deep/c": strings.Repeat("c", 100_000), "data/.secret": "s",
		".env.json": `{"key": "secret"}`, "main.go": "package main", "go.mod": "module x", ".git/config": "git", ".note.txt": "hidden",
	})
	if err := os.Symlink("note.txt", filepath.Join(dir, "link.txt")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "out.txt")); err != nil { // leads out: left out
		t.Fatal(err)
	}
	packed, err := pack(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if err := archive.Extract(bytes.NewReader(packed), to); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"Capsule.toml": toml, "greeter.wasm": wasm, "lib/lib.wasm": "lib", "meta.json": `{"wasm_hash":"` + wasmHash + "\"}\n",
		"docs/README.md": "read", "skills/s.md": "skill", "t.json": "{}", "wit/a/b.wit": "wit", "note.txt": "note", "link.txt": "note",
		"data/a": "a", "data/deep/c": strings.Repeat("c", 100_000),
	}
	if diff := cmp.Diff(want, read(t, to)); diff != "" {
		t.Error(diff)
	}
	if again, err := pack(t, to); err != nil || !bytes.Equal(again, packed) {
		t.Errorf("what was extracted packs to %d other bytes, %v", len(again), err)
	}
}

// The bytes depend on names and contents only.
func TestDeterministic(t *testing.T) {
	var first []byte
	for i := range 3 {
		dir := t.TempDir()
		files := map[string]string{"Capsule.toml": fmt.Sprintf(header, "include = [\"d\"]", ""), "greeter.wasm": wasm}
		for n := range 20 {
			files[fmt.Sprint("d/", n)] = fmt.Sprint(n)
		}
		write(t, dir, files)
		when := time.Unix(int64(1e9+i), 0)
		if err := os.Chtimes(filepath.Join(dir, "greeter.wasm"), when, when); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, "d", "1"), fs.FileMode(0o400|i)); err != nil {
			t.Fatal(err)
		}
		packed, err := pack(t, dir)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = packed
		}
		if !bytes.Equal(first, packed) {
			t.Error("the same files gave other bytes")
		}
	}

	// The order is Astrid's: the manifest, the module, the rest. No entry is for a directory.
	unzipped, err := gzip.NewReader(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	entries := tar.NewReader(unzipped)
	var names []string
	for {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if h.Typeflag != tar.TypeReg || h.Mode != 0o644 || h.ModTime.Unix() != 0 || h.Uid != 0 || h.Uname != "" {
			t.Errorf("entry %+v", h)
		}
	}
	if diff := cmp.Diff([]string{"Capsule.toml", "greeter.wasm", "d/0", "d/1"}, names[:4]); diff != "" {
		t.Error(diff)
	}
}

func TestName(t *testing.T) {
	m, err := manifest.Parse("f", fmt.Appendf(nil, header, "", ""))
	if err != nil {
		t.Fatal(err)
	}
	if got := archive.Name(m); got != "greeter-1.2.0-rc.1.capsule" {
		t.Errorf("Name() = %s", got)
	}
}

func TestWriteRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		pkg, more string
		files     map[string]string
		want      string
	}{
		"no module":                   {files: map[string]string{}, want: "there is no module"},
		"changed since it was sealed": {files: map[string]string{"greeter.wasm": "other", "meta.json": `{"wasm_hash":"` + wasmHash + `"}`}, want: "it was changed since it was sealed"},
		"a name of nothing":           {more: "[[skill]]\nfile = \"s.md\"", want: `DIR/Capsule.toml:8: skill.file: is "s.md", which is not there`},
		"a name of a directory":       {more: "[[skill]]\nfile = \"s\"", files: map[string]string{"s/x": "", "greeter.wasm": wasm}, want: `is "s", which is no regular file`},
		"a name outside":              {more: "[[skill]]\nfile = \"../s.md\"", want: `is "../s.md", which must be a file inside the capsule's directory`},
		"an absolute name":            {more: "[[skill]]\nfile = \"/etc/passwd\"", want: "must be a file inside the capsule's directory"},
		"a pattern outside":           {pkg: `include = ["../*"]`, want: `package.include: holds "../*", which is no pattern`},
		"a pattern that is none":      {pkg: `include = ["["]`, want: `package.include: holds "[", which is no pattern`},
		"a file in target":            {pkg: `include = ["a"]`, files: map[string]string{"a/target/x": "", "greeter.wasm": wasm}, want: "a/target/x is below a/target, which Astrid's installer leaves out"},
		"a file in dist":              {pkg: `include = ["dist"]`, files: map[string]string{"dist/x": "", "greeter.wasm": wasm}, want: "dist/x is below dist"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if c.files == nil {
				c.files = map[string]string{"greeter.wasm": wasm}
			}
			write(t, dir, c.files)
			write(t, dir, map[string]string{"Capsule.toml": fmt.Sprintf(header, c.pkg, c.more)})
			_, err := pack(t, dir)
			if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), dir, "DIR"), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// Archives of other makers: with "./" in front, entries for directories, git's comment.
func TestOtherMakers(t *testing.T) {
	data := tarOf(t,
		entry{header: tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "0123"}}},
		entry{header: tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o777}},
		entry{header: tar.Header{Typeflag: tar.TypeDir, Name: "./wit/", Mode: 0o700}},
		file("./wit/a.wit", "a"), file("./Capsule.toml", "b"), file("long/"+strings.Repeat("x", 200), "c"),
		entry{header: tar.Header{Typeflag: tar.TypeDir, Name: "wit", Mode: 0o700}},
	)
	dir := t.TempDir()
	if err := archive.Extract(bytes.NewReader(gzipped(t, data, make([]byte, 8192))), dir); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"wit/a.wit": "a", "Capsule.toml": "b", "long/" + strings.Repeat("x", 200): "c"}
	if diff := cmp.Diff(want, read(t, dir)); diff != "" {
		t.Error(diff)
	}
	if err := archive.Extract(bytes.NewReader(gzipped(t, data)), dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over other files: %v", err)
	}
}

// FuzzExtract: whatever the bytes are, only plain files below the directory are written.
func FuzzExtract(f *testing.F) {
	f.Add(tarOf(f, file("Capsule.toml", "a"), file("../evil", "b")))
	f.Add(oldSparse(tarOf(f, file("Capsule.toml", "a"))))
	f.Add(newSparse(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		above := t.TempDir()
		dir := filepath.Join(above, "a", "b")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_ = archive.Extract(bytes.NewReader(gzipped(t, data)), dir)
		onlyPlain(t, above, dir)
	})
}
