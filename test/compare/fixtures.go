package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// fixtures are the guests, and the directories of one run.
type fixtures struct {
	dir string // temporary
}

func newFixtures() (*fixtures, error) {
	if _, err := os.Stat(capsulesAt); err != nil {
		return nil, fmt.Errorf("find the guests: %w: run this in its own directory", err)
	}
	dir, err := os.MkdirTemp("", "astrid-compare-")
	return &fixtures{dir: dir}, err
}

func (f *fixtures) close() error { return os.RemoveAll(f.dir) }

// The directories of the guests, and the kernel.
const (
	capsulesAt = "../capsules"
	guestsAt   = "guests"
	kernelAt   = "../../capsulehost/internal/kernel/kernel.wasm"
)

// guest reads a guest's module, from guests/ or else from test/capsules.
func (f *fixtures) guest(name string) ([]byte, error) {
	switch name {
	case "stock-go":
		return f.stockGo()
	case "mirror", "nest", "recall", "work":
		return os.ReadFile(filepath.Join(guestsAt, name, name+".wasm"))
	default:
		return os.ReadFile(filepath.Join(capsulesAt, name, name+".wasm"))
	}
}

// stockGo builds guests/stock-go with Go's own compiler.
func (f *fixtures) stockGo() ([]byte, error) {
	file := filepath.Join(f.dir, "stock-go.wasm")
	if wasm, err := os.ReadFile(file); err == nil {
		return wasm, nil
	}
	build := exec.Command("go", "build", "-buildmode=c-shared", "-o", file, "./"+guestsAt+"/stock-go")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the guest in Go: %w\n%s", err, out)
	}
	return os.ReadFile(file)
}

// home returns the directory of the homes of all supervisors.
func (f *fixtures) home() string { return filepath.Join(f.dir, "home") }

// cache returns the cache that they share.
func (f *fixtures) cache() string { return filepath.Join(f.home(), "cache") }

// interceptors returns the part of a manifest that subscribes to events.
func interceptors(events ...string) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "[[interceptor]]\nevent = %q\naction = %q\n", e, action)
	}
	return b.String()
}

// capsules creates n capsules of one guest, and returns their parent directory. The
// result of manifest for each is appended to its Capsule.toml.
func (f *fixtures) capsules(guest string, n int, manifest func(i int) string) (string, error) {
	wasm, err := f.guest(guest)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(f.dir, guest+"-")
	if err != nil {
		return "", err
	}
	for i := range n {
		id := fmt.Sprintf("%s-%05d", guest, i)
		text := fmt.Sprintf("[package]\nname = %q\nversion = \"1.0.0\"\n[[component]]\nid = \"main\"\nfile = \"module.wasm\"\n%s", id, manifest(i))
		own := filepath.Join(dir, id)
		if err := errors.Join(
			os.Mkdir(own, 0o755),
			os.WriteFile(filepath.Join(own, "Capsule.toml"), []byte(text), 0o644),
			os.WriteFile(filepath.Join(own, "module.wasm"), wasm, 0o644),
		); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// seal copies the seal of a capsule of test/capsules to each capsule in dir.
func (f *fixtures) seal(dir, guest string) error {
	meta, err := os.ReadFile(filepath.Join(capsulesAt, guest, "meta.json"))
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.WriteFile(filepath.Join(dir, e.Name(), "meta.json"), meta, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// closers are the functions that free a row's resources; they run in reverse order.
type closers []func(context.Context) error

func (c *closers) add(f func(context.Context) error) { *c = append(*c, f) }

func (c *closers) close(ctx context.Context) error {
	var errs []error
	for _, f := range slices.Backward(*c) {
		errs = append(errs, f(ctx))
	}
	return errors.Join(errs...)
}
