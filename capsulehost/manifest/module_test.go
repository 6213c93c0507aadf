package manifest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const wasm = "\x00asm\x01\x00\x00\x00"

// The hash of wasm, as `b3sum` prints it.
const wasmHash = "0d66d411a21e80d93afa1487b002a1867432c04ba1d08dc790d259639f6a69c4"

func meta(hash string) string { return `{"wasm_hash": "` + hash + `"}` }

func TestReadModule(t *testing.T) {
	other := strings.Repeat("0", 64)
	for _, c := range []struct {
		name       string
		manifest   string            // after the header
		files      map[string]string // in the capsule's directory
		home       map[string]string
		unverified bool
		want       string // an error, or "" for the module; DIR and HOME are replaced by the directories
	}{
		{name: "sealed", files: map[string]string{"greeter.wasm": wasm, "meta.json": meta(wasmHash)}},
		{name: "sealed in capitals", files: map[string]string{"greeter.wasm": wasm, "meta.json": meta(strings.ToUpper(wasmHash))}},
		{name: "with its own hash too", manifest: `hash = "` + wasmHash + `"`, files: map[string]string{"greeter.wasm": wasm, "meta.json": meta(wasmHash)}},
		{name: "with other keys", files: map[string]string{"greeter.wasm": wasm, "meta.json": `{"a": [1], "wasm_hash": "` + wasmHash + `", "b": null}`}},
		{name: "from the home", files: map[string]string{"meta.json": meta(wasmHash)}, home: map[string]string{"bin/" + wasmHash + ".wasm": wasm}},
		{name: "from the home, sealed in capitals", files: map[string]string{"meta.json": meta(strings.ToUpper(wasmHash))}, home: map[string]string{"bin/" + wasmHash + ".wasm": wasm}},
		{name: "the capsule's own goes first", files: map[string]string{"greeter.wasm": wasm, "meta.json": meta(wasmHash)}, home: map[string]string{"bin/" + wasmHash + ".wasm": "other"}},
		{name: "no hash, allowed", files: map[string]string{"greeter.wasm": wasm}, unverified: true},
		{name: "no hash in meta.json, allowed", files: map[string]string{"greeter.wasm": wasm, "meta.json": `{}`}, unverified: true},

		{name: "no meta.json", files: map[string]string{"greeter.wasm": wasm},
			want: `verify the module of capsule "greeter": there is no wasm_hash in DIR/meta.json, and a module without one is not run; seal the capsule if you trust it`},
		{name: "no hash in meta.json", files: map[string]string{"greeter.wasm": wasm, "meta.json": `{}`},
			want: `verify the module of capsule "greeter": there is no wasm_hash in DIR/meta.json, and a module without one is not run; seal the capsule if you trust it`},
		{name: "its own hash does not stand for the seal", manifest: `hash = "` + wasmHash + `"`, files: map[string]string{"greeter.wasm": wasm},
			want: `verify the module of capsule "greeter": there is no wasm_hash in DIR/meta.json, and a module without one is not run; seal the capsule if you trust it`},
		{name: "another hash", files: map[string]string{"greeter.wasm": wasm, "meta.json": meta(other)},
			want: `verify the module of capsule "greeter": DIR/greeter.wasm has the BLAKE3 hash ` + wasmHash + `, and meta.json says ` + other + `; it was changed since it was sealed`},
		{name: "another hash, unverified allowed", files: map[string]string{"greeter.wasm": wasm, "meta.json": meta(other)}, unverified: true,
			want: `verify the module of capsule "greeter": DIR/greeter.wasm has the BLAKE3 hash ` + wasmHash + `, and meta.json says ` + other + `; it was changed since it was sealed`},
		{name: "another hash of the module in the home", files: map[string]string{"meta.json": meta(wasmHash)}, home: map[string]string{"bin/" + wasmHash + ".wasm": "other"},
			want: `verify the module of capsule "greeter": HOME/bin/` + wasmHash + `.wasm has the BLAKE3 hash ` + blake3Hex("other") + `, and meta.json says ` + wasmHash + `; it was changed since it was sealed`},
		{name: "another hash of its own", manifest: `hash = "` + other + `"`, files: map[string]string{"greeter.wasm": wasm, "meta.json": meta(wasmHash)},
			want: `DIR/Capsule.toml:6: component.hash: is ` + other + `, and DIR/greeter.wasm has the BLAKE3 hash ` + wasmHash},
		{name: "another hash of its own, unverified allowed", manifest: `hash = "` + other + `"`, files: map[string]string{"greeter.wasm": wasm}, unverified: true,
			want: `DIR/Capsule.toml:6: component.hash: is ` + other + `, and DIR/greeter.wasm has the BLAKE3 hash ` + wasmHash},

		{name: "no module", files: map[string]string{"meta.json": meta(wasmHash)},
			want: `DIR/Capsule.toml:5: component.file: there is neither a module DIR/greeter.wasm nor a HOME/bin/` + wasmHash + `.wasm`},
		{name: "no module and no hash", unverified: true,
			want: `DIR/Capsule.toml:5: component.file: there is no module DIR/greeter.wasm; build it first`},
		{name: "no module, no hash, and unverified not allowed",
			want: `DIR/Capsule.toml:5: component.file: there is no module DIR/greeter.wasm; build it first`},
		{name: "a directory for a module", files: map[string]string{"greeter.wasm/x": "", "meta.json": meta(wasmHash)},
			want: `DIR/Capsule.toml:5: component.file: the module DIR/greeter.wasm can't be read: it is no regular file`},

		{name: "meta.json is no JSON", files: map[string]string{"greeter.wasm": wasm, "meta.json": "{\n \"a\": 1,\n \"b\": }"}, unverified: true,
			want: `DIR/meta.json:3: column 7: not valid JSON: invalid character '}' looking for beginning of value`},
		{name: "meta.json is a list", files: map[string]string{"greeter.wasm": wasm, "meta.json": `[]`},
			want: `DIR/meta.json:1: column 1: must be a JSON object: {...}`},
		{name: "meta.json is null", files: map[string]string{"greeter.wasm": wasm, "meta.json": `null`},
			want: `DIR/meta.json:1: column 1: must be a JSON object: {...}`},
		{name: "meta.json is empty", files: map[string]string{"greeter.wasm": wasm, "meta.json": ``},
			want: `DIR/meta.json:1: column 1: not valid JSON: unexpected end of JSON input`},
		{name: "a hash that is a number", files: map[string]string{"greeter.wasm": wasm, "meta.json": `{"wasm_hash": 7}`}, unverified: true,
			want: `DIR/meta.json:1: wasm_hash: is 7, and must be a BLAKE3 hash: 64 hexadecimal digits`},
		{name: "a hash that is null", files: map[string]string{"greeter.wasm": wasm, "meta.json": `{"wasm_hash": null}`},
			want: `DIR/meta.json:1: wasm_hash: is null, and must be a BLAKE3 hash: 64 hexadecimal digits`},
		{name: "a hash that is a path", files: map[string]string{"meta.json": "{\n\"wasm_hash\": \"../../evil\"}"}, home: map[string]string{"evil.wasm": wasm},
			want: `DIR/meta.json:2: wasm_hash: is "../../evil", and must be a BLAKE3 hash: 64 hexadecimal digits`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, dir := newHome(t), t.TempDir()
			write(t, filepath.Join(dir, FileName), header+c.manifest)
			for name, text := range c.files {
				write(t, filepath.Join(dir, name), text)
			}
			for name, text := range c.home {
				write(t, filepath.Join(h.Dir(), name), text)
			}
			m, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			got, hash, err := m.ReadModule(h, c.unverified)
			if c.want == "" {
				if err != nil || string(got) != wasm || hash != wasmHash {
					t.Errorf("ReadModule() = %q, %s, %v", got, hash, err)
				}
				return
			}
			message := "no error"
			if err != nil {
				message = strings.NewReplacer(dir, "DIR", h.Dir(), "HOME").Replace(err.Error())
			}
			if diff := cmp.Diff(c.want, message); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A link inside the capsule's directory is followed; a link out of it is not.
func TestModuleLinks(t *testing.T) {
	h, dir, outside := newHome(t), t.TempDir(), t.TempDir()
	write(t, filepath.Join(dir, FileName), header)
	write(t, filepath.Join(dir, "sub", "real.wasm"), wasm)
	write(t, filepath.Join(dir, MetaName), meta(wasmHash))
	write(t, filepath.Join(outside, "secret.wasm"), wasm)
	m, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		target string
		ok     bool
	}{
		{"sub/real.wasm", true}, {"sub/../sub/real.wasm", true},
		{filepath.Join(outside, "secret.wasm"), false}, {"../" + filepath.Base(outside) + "/secret.wasm", false},
		{"greeter.wasm", false},
	} {
		link := filepath.Join(dir, "greeter.wasm")
		_ = os.Remove(link)
		if err := os.Symlink(c.target, link); err != nil {
			t.Fatal(err)
		}
		if _, _, err := m.ReadModule(h, true); (err == nil) != c.ok {
			t.Errorf("module linked to %s: error %v, want it read: %v", c.target, err, c.ok)
		}
	}
}

// Reading a pipe must not block.
func TestModuleIsAPipe(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, FileName), header)
	if err := syscall.Mkfifo(filepath.Join(dir, "greeter.wasm"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.ReadModule(newHome(t), true); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("error %v", err)
	}
}

func TestModuleTooLarge(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, FileName), header)
	write(t, filepath.Join(dir, "greeter.wasm"), wasm)
	if err := os.Truncate(filepath.Join(dir, "greeter.wasm"), MaxModule+1); err != nil {
		t.Fatal(err)
	}
	m, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.ReadModule(newHome(t), true); err == nil || !strings.Contains(err.Error(), "more than 134217728 bytes") {
		t.Errorf("error %v", err)
	}
}

func TestSeal(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, FileName), header)
	write(t, filepath.Join(dir, "greeter.wasm"), wasm)
	path := filepath.Join(dir, MetaName)
	for _, c := range []struct{ before, after string }{
		{"", "{\n  \"wasm_hash\": \"" + wasmHash + "\"\n}\n"},
		{meta(strings.Repeat("0", 64)), "{\n  \"wasm_hash\": \"" + wasmHash + "\"\n}\n"},
		{`{"wasm_hash":""}`, "{\n  \"wasm_hash\": \"" + wasmHash + "\"\n}\n"},
		{`{"z":1.50,"a":{"x":["<&>"]}}`,
			"{\n  \"a\": {\n    \"x\": [\n      \"<&>\"\n    ]\n  },\n  \"wasm_hash\": \"" + wasmHash + "\",\n  \"z\": 1.50\n}\n"},
		{`{"broken":`, ""},
	} {
		_ = os.Remove(path)
		if c.before != "" {
			write(t, path, c.before)
		}
		hash, err := Seal(dir, nil)
		got, readErr := os.ReadFile(path)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if c.after == "" {
			if err == nil || string(got) != c.before {
				t.Errorf("sealing over %q: error %v, and %q is there now", c.before, err, got)
			}
			continue
		}
		if err != nil || hash != wasmHash {
			t.Errorf("Seal() = %s, %v", hash, err)
		}
		if diff := cmp.Diff(c.after, string(got)); diff != "" {
			t.Error(diff)
		}
		mode := fs.FileMode(0o600) // the original mode
		if c.before == "" {
			mode = 0o644
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("meta.json has the mode %v, want %v; %v", info.Mode(), mode, err)
		}
		m, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := m.ReadModule(newHome(t), false); err != nil {
			t.Errorf("after sealing: %v", err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("sealing left more behind than it should: %v %v", entries, err)
	}
}

func TestSealRefuses(t *testing.T) {
	for more, want := range map[string]string{
		"[supervision]\nqueue = 0":                  "DIR/Capsule.toml:7: supervision.queue: is 0, and must be between 1 and 65536",
		"hash = \"" + strings.Repeat("0", 64) + `"`: "DIR/Capsule.toml:6: component.hash: is " + strings.Repeat("0", 64) + ", and DIR/greeter.wasm has the BLAKE3 hash " + wasmHash,
		"id = \"no module\"":                        "DIR/Capsule.toml:5: component.file: there is no module DIR/greeter.wasm; build it first",
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, FileName), header+more)
		if !strings.Contains(more, "no module") {
			write(t, filepath.Join(dir, "greeter.wasm"), wasm)
		}
		_, err := Seal(dir, nil)
		got := ""
		if err != nil {
			got = strings.ReplaceAll(err.Error(), dir, "DIR")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", more, diff)
		}
		if _, err := os.Stat(filepath.Join(dir, MetaName)); err == nil {
			t.Errorf("%q: meta.json was written", more)
		}
	}
}

// Seal does not vouch for what would not load.
func TestSealAsks(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, FileName), header)
	write(t, filepath.Join(dir, "greeter.wasm"), wasm)
	refused := errors.New("refused")
	if _, err := Seal(dir, func(m *Manifest, got []byte) error {
		if m.ID() != "greeter" || string(got) != wasm {
			t.Errorf("asked about %s, %q", m.ID(), got)
		}
		return refused
	}); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, MetaName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("meta.json: %v", err)
	}
}
