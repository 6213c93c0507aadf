package main

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// answerPart returns lib/answer.wat as it is in a module, indented by two.
func answerPart(t *testing.T) string {
	t.Helper()
	text, err := lib.ReadFile("lib/answer.wat")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("  ;; --- answer.wat ---\n")
	for line := range strings.Lines(string(text)) {
		b.WriteString("  " + line)
	}
	b.WriteString("  ;; --- end of answer.wat ---\n")
	return b.String()
}

// An assembler whose module contains its arguments; TestWat2wasm and make check test
// wat2wasm itself.
func echo(path string, flags []string) ([]byte, error) {
	text, err := os.ReadFile(path)
	return []byte(strings.Join(flags, " ") + "|" + string(text)), err
}

func TestBuild(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"bare/bare.wat":         "(module)\n",
		"tail/tail.wat":         ";; wat2wasm: --enable-tail-call --disable-simd\n(module)\n",
		"sealed/Capsule.toml":   "",
		"sealed/sealed.wat":     "(module\n  ;; --- answer.wat ---\n  ;; --- end of answer.wat ---\n)\n",
		"sealed/meta.json":      `{"installed": "by hand", "wasm_hash": "old"}`,
		"unsealed/Capsule.toml": "",
		"unsealed/unsealed.wat": "(module)\n",
		"lib/part.wat":          "no module",
	})
	b := builder{assemble: echo}
	if err := b.buildAll([]string{dir}); err != nil {
		t.Fatal(err)
	}
	whole := "(module\n" + answerPart(t) + ")\n"
	want := map[string]string{
		"bare/bare.wat":          "(module)\n",
		"bare/bare.wasm":         "|(module)\n",
		"tail/tail.wat":          ";; wat2wasm: --enable-tail-call --disable-simd\n(module)\n",
		"tail/tail.wasm":         "--enable-tail-call --disable-simd|;; wat2wasm: --enable-tail-call --disable-simd\n(module)\n",
		"sealed/Capsule.toml":    "",
		"sealed/sealed.wat":      whole,
		"sealed/sealed.wasm":     "|" + whole,
		"sealed/meta.json":       read(t, dir)["sealed/meta.json"], // below
		"unsealed/Capsule.toml":  "",
		"unsealed/unsealed.wat":  "(module)\n",
		"unsealed/unsealed.wasm": "|(module)\n",
		// the output of b3sum for unsealed.wasm
		"unsealed/meta.json": "{\n  \"wasm_hash\": \"2c497399abe993673cadc630634af0d1162c4fec719bfd14e523dbfe42ffabd5\"\n}\n",
		"lib/part.wat":       "no module",
	}
	if diff := cmp.Diff(want, read(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if got := read(t, dir)["sealed/meta.json"]; !strings.Contains(got, `"installed": "by hand"`) || strings.Contains(got, "old") {
		t.Errorf("sealed/meta.json: %s", got)
	}

	again := builder{assemble: echo, check: true}
	if err := again.buildAll([]string{dir}); err != nil {
		t.Errorf("check what was just built: %v", err)
	}
}

// Each way in which the outputs can differ from the sources is reported, all at once,
// and nothing is written.
func TestCheck(t *testing.T) {
	built := func(t *testing.T) string {
		t.Helper()
		dir := t.TempDir()
		write(t, dir, map[string]string{
			"a/Capsule.toml": "",
			"a/a.wat":        "(module\n" + answerPart(t) + ")\n",
			"b/b.wat":        "(module)\n",
		})
		b := builder{assemble: echo}
		if err := b.buildAll([]string{dir}); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, tt := range []struct {
		name   string
		change map[string]string // "" removes
		want   []string          // the file, and the first word of the problem
	}{
		{"a source", map[string]string{"b/b.wat": "(module (memory 1))\n"}, []string{"b.wasm differs"}},
		{"a module", map[string]string{"a/a.wasm": "other"}, []string{"a.wasm differs"}},
		{"a missing module", map[string]string{"a/a.wasm": ""}, []string{"a.wasm is"}},
		{"a hash", map[string]string{"a/meta.json": "{\"wasm_hash\": \"00\"}"}, []string{"meta.json differs"}},
		{"a missing hash", map[string]string{"a/meta.json": ""}, []string{"meta.json is"}},
		{"a missing source", map[string]string{"b/b.wat": ""}, []string{"b.wasm its"}},
		{
			"a copy of a shared part",
			map[string]string{"a/a.wat": "(module\n  ;; --- answer.wat ---\n  ;; mine\n  ;; --- end of answer.wat ---\n)\n"},
			[]string{"a.wat differs", "a.wasm differs", "meta.json differs"},
		},
		{
			"two at once",
			map[string]string{"a/a.wasm": "other", "b/b.wasm": "other"},
			[]string{"a.wasm differs", "b.wasm differs"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := built(t)
			write(t, dir, tt.change)
			before := read(t, dir)
			b := builder{assemble: echo, check: true}
			err := b.buildAll([]string{dir})
			if err == nil {
				t.Fatal("no error")
			}
			var named []string
			for line := range strings.Lines(err.Error()) {
				path, problem, _ := strings.Cut(line, ": ")
				named = append(named, filepath.Base(path)+" "+strings.Fields(problem)[0])
			}
			if diff := cmp.Diff(tt.want, named); diff != "" {
				t.Errorf("named (-want +got):\n%s\n%v", diff, err)
			}
			if diff := cmp.Diff(before, read(t, dir)); diff != "" {
				t.Errorf("check has written (-before +after):\n%s", diff)
			}
		})
	}
}

func TestBadSource(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"flag", ";; wat2wasm: --output=elsewhere\n(module)\n", `flag "--output=elsewhere"`},
		{"unknown part", "(module\n;; --- absent.wat ---\n;; --- end of absent.wat ---\n)\n", "absent.wat"},
		{"crossed marks", "(module\n;; --- answer.wat ---\n;; --- end of put.wat ---\n)\n", "answer.wat is closed by the end of put.wat"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, map[string]string{"bad.wat": tt.text})
			b := builder{assemble: echo}
			err := b.buildAll([]string{dir})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "bad.wat") {
				t.Errorf("error %v, want one with bad.wat and %q", err, tt.want)
			}
			if diff := cmp.Diff(map[string]string{"bad.wat": tt.text}, read(t, dir)); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
		})
	}
}

// The flags of the first line are passed to wat2wasm, and its message about a bad module
// is reported.
func TestWat2wasm(t *testing.T) {
	if _, err := exec.LookPath("wat2wasm"); err != nil {
		t.Skip("wat2wasm is not installed; make check needs it, make test does not")
	}
	dir := t.TempDir()
	tailCall := "(module (func $f return_call $f))\n"
	write(t, dir, map[string]string{
		"with/with.wat":       ";; wat2wasm: --enable-tail-call\n" + tailCall,
		"without/without.wat": tailCall,
	})
	b := builder{assemble: wat2wasm}
	if err := b.buildAll([]string{filepath.Join(dir, "with")}); err != nil {
		t.Fatal(err)
	}
	if wasm := read(t, dir)["with/with.wasm"]; !strings.HasPrefix(wasm, "\x00asm\x01\x00\x00\x00") {
		t.Errorf("with.wasm is %q", wasm)
	}
	err := b.buildAll([]string{filepath.Join(dir, "without")})
	if err == nil || !strings.Contains(err.Error(), "without.wat:1:") {
		t.Errorf("error %v, want wat2wasm's with the line", err)
	}
}

// write writes files below dir; empty content for an existing file removes it.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil && files[name] == "" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[name]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// read returns every file below dir.
func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	root := os.DirFS(dir)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, name)
		files[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
