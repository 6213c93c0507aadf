package manifest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

// All problems of a manifest are returned at once, each with its position.
func ExampleLoad() {
	dir, err := os.MkdirTemp("", "capsule")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	text := `[package]
name = "greeter"
version = "1.0"

[[component]]
file = "greeter.wasm"

[[interceptor]]
event = "greet..now"
action = "greet"
`
	if err := os.WriteFile(filepath.Join(dir, manifest.FileName), []byte(text), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	m, err := manifest.Load(dir)
	if problems, ok := errors.AsType[manifest.Problems](err); ok {
		for _, p := range problems {
			fmt.Printf("line %d, %s: %s\n", p.Line, p.Key, p.Message)
		}
	}
	fmt.Println("capsule", m.ID(), "is not loaded")
	// Output:
	// line 3, package.version: is "1.0", which is no full semantic version such as "1.0.0"
	// line 9, interceptor.event: is "greet..now", and a topic pattern has no empty segment
	// capsule greeter is not loaded
}

// Capsules are sorted by the names of their directories, and start after the capsules whose
// exports they import.
func ExampleDiscover() {
	dir, err := os.MkdirTemp("", "capsules")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for id, tables := range map[string]string{
		"chat":   "[imports.astrid]\nmemory = \"^1.0\"\n",
		"memory": "[exports.astrid]\nmemory = \"1.2.0\"\n",
	} {
		text := fmt.Sprintf("package = { name = %q, version = \"1.0.0\" }\ncomponent = [{ file = \"x.wasm\" }]\n%s", id, tables)
		err := errors.Join(os.Mkdir(filepath.Join(dir, id), 0o700),
			os.WriteFile(filepath.Join(dir, id, manifest.FileName), []byte(text), 0o600))
		if err != nil {
			fmt.Println(err)
			return
		}
	}

	start := manifest.Order(manifest.Discover([]string{dir}, true).Manifests)
	for i, m := range start.Manifests {
		fmt.Println(m.ID(), "waits for", start.WaitsFor[i])
	}
	// Output:
	// memory waits for []
	// chat waits for [0]
}
