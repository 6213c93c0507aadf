// Command gen builds the capsules that are written as WebAssembly text. For
// each .wat file below the directories it is given it
//
//   - brings the parts that capsules share up to date (see below),
//   - assembles it with wat2wasm (Debian's wabt) into the .wasm beside it, and
//   - where a Capsule.toml stands beside both, writes the module's BLAKE3 hash
//     into meta.json, as `astrid-actors seal` does, keeping its other keys.
//
// A file that is already right is left alone. From the top of the repository:
//
//	go run ./test/capsules/gen test/capsules cmd/astrid-actors/demo
//
// WebAssembly text can't include a file. So that each .wat is whole and
// wat2wasm alone can assemble it, a shared part is copied in between two marks,
//
//	;; --- payload.wat ---
//	;; --- end of payload.wat ---
//
// and what stands between them is replaced by lib/payload.wat. Change the part
// in lib, never the copies.
package main

import (
	"bytes"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"lukechampine.com/blake3"
)

//go:embed lib/*.wat
var lib embed.FS

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: gen DIR...")
		os.Exit(2)
	}
	for _, dir := range os.Args[1:] {
		if err := build(dir); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
	}
}

// build builds every capsule below dir.
func build(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "lib" {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".wat" {
			return nil
		}
		if err := share(path); err != nil {
			return fmt.Errorf("update %s: %w", path, err)
		}
		wasm, err := assemble(path)
		if err != nil {
			return err
		}
		if err := write(strings.TrimSuffix(path, ".wat")+".wasm", wasm); err != nil {
			return err
		}
		at := filepath.Dir(path)
		if _, err := os.Stat(filepath.Join(at, "Capsule.toml")); err != nil {
			return nil // a bare module, not a capsule
		}
		return seal(filepath.Join(at, "meta.json"), wasm)
	})
}

// part matches a shared part: indentation, name, content, and the closing mark.
var part = regexp.MustCompile(`(?ms)^([ \t]*);; --- ([a-z]+\.wat) ---\n(.*?)^[ \t]*;; --- end of ([a-z]+\.wat) ---$`)

// share replaces the copies of shared parts in the file at path.
func share(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var problems []error
	changed := part.ReplaceAllStringFunc(string(text), func(old string) string {
		m := part.FindStringSubmatch(old)
		indent, name := m[1], m[2]
		if m[4] != name {
			problems = append(problems, fmt.Errorf("%s is closed by the end of %s", name, m[4]))
			return old
		}
		body, err := lib.ReadFile("lib/" + name)
		if err != nil {
			problems = append(problems, err)
			return old
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%s;; --- %s ---\n", indent, name)
		for line := range strings.Lines(string(body)) {
			b.WriteString(indent + line)
		}
		fmt.Fprintf(&b, "%s;; --- end of %s ---", indent, name)
		return b.String()
	})
	if err := errors.Join(problems...); err != nil {
		return err
	}
	return write(path, []byte(changed))
}

// assemble returns the module that wat2wasm makes of the file at path, with the
// functions' names, which stack traces of a crash show.
func assemble(path string) ([]byte, error) {
	var out, problems bytes.Buffer
	cmd := exec.Command("wat2wasm", "--debug-names", "--output=-", path)
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, errors.New("wat2wasm is missing: install the Debian package wabt")
		}
		return nil, fmt.Errorf("assemble %s: %w\n%s", path, err, problems.Bytes())
	}
	return out.Bytes(), nil
}

// seal writes the module's hash into the meta.json at path.
func seal(path string, wasm []byte) error {
	meta := map[string]any{}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(text, &meta); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
	}
	hash := blake3.Sum256(wasm)
	meta["wasm_hash"] = hex.EncodeToString(hash[:])
	text, err = json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return err
	}
	return write(path, append(text, '\n'))
}

// write writes content to path unless it is there already.
func write(path string, content []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	return os.WriteFile(path, content, 0o644)
}
