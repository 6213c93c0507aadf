package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"lukechampine.com/blake3"
)

// part matches a shared part: indentation, name, content, and the closing mark.
var part = regexp.MustCompile(`(?ms)^([ \t]*);; --- ([a-z]+\.wat) ---\n(.*?)^[ \t]*;; --- end of ([a-z]+\.wat) ---$`)

// share returns text with its copies of shared parts updated from lib.
func share(text string) (string, error) {
	var problems []error
	whole := part.ReplaceAllStringFunc(text, func(old string) string {
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
	return whole, errors.Join(problems...)
}

// flagsOf returns the flags of wat2wasm in a module's first line: those that enable or
// disable a proposal, and no others.
func flagsOf(text string) ([]string, error) {
	first, _, _ := strings.Cut(text, "\n")
	list, ok := strings.CutPrefix(first, ";; wat2wasm:")
	if !ok {
		return nil, nil
	}
	flags := strings.Fields(list)
	for _, f := range flags {
		if !strings.HasPrefix(f, "--enable-") && !strings.HasPrefix(f, "--disable-") {
			return nil, fmt.Errorf("flag %q in the first line: only --enable-... and --disable-... are allowed", f)
		}
	}
	return flags, nil
}

// wat2wasm assembles the file at path into a module with the names of the functions,
// which stack traces of a crash show.
func wat2wasm(path string, flags []string) ([]byte, error) {
	var out, problems bytes.Buffer
	cmd := exec.Command("wat2wasm", append(flags, "--debug-names", "--output=-", path)...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, errors.New("wat2wasm is missing: install the Debian package wabt")
		}
		return nil, fmt.Errorf("assemble %s: %w\n%s", path, err, problems.Bytes())
	}
	return out.Bytes(), nil
}

// seal returns the content of the meta.json at path with the module's hash in it.
func seal(path string, wasm []byte) ([]byte, error) {
	meta := map[string]any{}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(text, &meta); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
	}
	hash := blake3.Sum256(wasm)
	meta["wasm_hash"] = hex.EncodeToString(hash[:])
	text, err = json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}
