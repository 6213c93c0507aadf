package guest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Stock Go builds the examples as capsules: with the exports that the host calls, and only
// with imports that it has.
func TestExamplesBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles Go's library for WebAssembly")
	}
	for name, want := range map[string][]string{
		"answerer":  {"_initialize", "astrid_hook_trigger", "run"},
		"counter":   {"_initialize", "astrid_hook_trigger"},
		"greeter":   {"_initialize", "astrid_hook_trigger"},
		"guardian":  {"_initialize", "astrid_hook_trigger"},
		"heartbeat": {"_initialize", "astrid_hook_trigger", "run"},
		"notes":     {"_initialize", "astrid_hook_trigger"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), name+".wasm")
			build := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-o", file, "./examples/"+name)
			build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			wasm, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			imports, exports, err := functions(wasm)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(exports)
			if !slices.Equal(exports, want) {
				t.Errorf("it exports %v, want %v", exports, want)
			}
			for _, i := range imports {
				if module, _, _ := strings.Cut(i, " "); !slices.Contains([]string{"extism:host/env", "extism:host/user", "wasi_snapshot_preview1"}, module) {
					t.Errorf("it imports %s", i)
				}
			}
		})
	}
}

// functions lists the functions that a module imports, as "module name", and exports.
func functions(wasm []byte) (imports, exports []string, err error) {
	r := &reader{Reader: bytes.NewReader(wasm)}
	if string(r.bytes(8)) != "\x00asm\x01\x00\x00\x00" {
		return nil, nil, errors.New("not a WebAssembly module")
	}
	for r.Len() > 0 && r.err == nil {
		kind, body := r.bytes(1)[0], r.bytes(r.number())
		s := &reader{Reader: bytes.NewReader(body)}
		switch kind {
		case 2:
			for range s.number() {
				imports = append(imports, s.text()+" "+s.text())
				if s.bytes(1)[0] != 0 {
					return nil, nil, errors.New("an import that is no function")
				}
				s.number()
			}
		case 7:
			for range s.number() {
				name, function := s.text(), s.bytes(1)[0] == 0
				if s.number(); function {
					exports = append(exports, name)
				}
			}
		}
		r.err = errors.Join(r.err, s.err)
	}
	return imports, exports, r.err
}

// reader reads parts of a module's binary format; it keeps the first error.
type reader struct {
	*bytes.Reader
	err error
}

func (r *reader) number() uint64 {
	n, err := binary.ReadUvarint(r)
	r.err = errors.Join(r.err, err)
	return n
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(r.Len()) {
		r.err = errors.Join(r.err, errors.New("the module ends too early"))
		return make([]byte, 1)
	}
	b := make([]byte, n)
	if _, err := r.Read(b); err != nil && n > 0 {
		r.err = errors.Join(r.err, err)
	}
	return b
}

func (r *reader) text() string { return string(r.bytes(r.number())) }
