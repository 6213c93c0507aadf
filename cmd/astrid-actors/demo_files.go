package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

//go:embed demo/*/Capsule.toml demo/*/meta.json demo/*/*.wasm
var demoFiles embed.FS

// extractDemo writes the demo capsules into a new directory below parent. The caller
// removes it after they have ended: until then their files may be read again.
func extractDemo(parent string) (dir string, err error) {
	capsules, err := fs.Sub(demoFiles, "demo")
	if err != nil {
		return "", fmt.Errorf("read the demo capsules: %w", err)
	}
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", fmt.Errorf("write the demo capsules: %w", err)
	}
	if dir, err = os.MkdirTemp(parent, "demo-"); err != nil {
		return "", fmt.Errorf("write the demo capsules: %w", err)
	}
	if err := os.CopyFS(dir, capsules); err != nil {
		return "", errors.Join(fmt.Errorf("write the demo capsules: %w", err), os.RemoveAll(dir))
	}
	return dir, nil
}
