package manifest

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
	"lukechampine.com/blake3"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// header is the required part of a manifest, in five lines.
const header = `[package]
name = "greeter"
version = "1.0.0"
[[component]]
file = "greeter.wasm"
`

// write creates a file and its directories.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newHome(t *testing.T) home.Home {
	t.Helper()
	h, err := home.Resolve(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// blake3Hex returns the BLAKE3 hash in hex, the same as `b3sum`.
func blake3Hex(text string) string {
	const digits = "0123456789abcdef"
	var out []byte
	for _, b := range blake3.Sum256([]byte(text)) {
		out = append(out, digits[b>>4], digits[b&15])
	}
	return string(out)
}
