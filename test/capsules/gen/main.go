// Command gen builds the modules that are written as WebAssembly text. For each
// .wat file below the directories it is given it
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
// With -check nothing is written: each file that would be is named, as is each
// .wasm file that has no .wat beside it, and the command fails.
//
// WebAssembly text can't include a file. So that each .wat is whole and
// wat2wasm alone can assemble it, a shared part is copied in between two marks,
//
//	;; --- payload.wat ---
//	;; --- end of payload.wat ---
//
// and what stands between them is replaced by lib/payload.wat. Change the part
// in lib, never the copies.
//
// A module that uses a proposal which wat2wasm does not assume turns it on in
// its first line:
//
//	;; wat2wasm: --enable-tail-call
package main

import (
	"bytes"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed lib/*.wat
var lib embed.FS

func main() {
	check := flag.Bool("check", false, "write nothing; fail where a file differs")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: gen [-check] DIR...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	b := builder{check: *check, assemble: wat2wasm}
	if err := b.buildAll(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// builder builds modules, or with check finds out which are not as it would
// build them.
type builder struct {
	check    bool
	assemble func(path string, flags []string) (wasm []byte, err error)

	stale []error // with check: a file that differs, each
}

// buildAll builds every module below each of dirs. It stops at the first that
// can't be built; those that merely differ are all reported.
func (b *builder) buildAll(dirs []string) error {
	for _, dir := range dirs {
		if err := filepath.WalkDir(dir, b.visit); err != nil {
			return errors.Join(append(b.stale, err)...)
		}
	}
	return errors.Join(b.stale...)
}

// visit is called for everything below a directory.
func (b *builder) visit(path string, d fs.DirEntry, err error) error {
	switch {
	case err != nil:
		return err
	case d.IsDir() && d.Name() == "lib":
		return fs.SkipDir // parts of modules
	case d.IsDir():
		return nil
	case filepath.Ext(path) == ".wat":
		return b.build(path)
	case filepath.Ext(path) == ".wasm" && b.check:
		source := withExt(path, ".wat")
		if !exists(source) {
			b.stale = append(b.stale, fmt.Errorf("%s: its source %s is missing", path, filepath.Base(source)))
		}
	}
	return nil
}

// build builds the module whose source is at path.
func (b *builder) build(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	whole, err := share(string(text))
	if err != nil {
		return fmt.Errorf("update %s: %w", path, err)
	}
	if err := b.put(path, []byte(whole)); err != nil {
		return err
	}
	flags, err := flagsOf(whole)
	if err != nil {
		return fmt.Errorf("assemble %s: %w", path, err)
	}
	wasm, err := b.assemble(path, flags)
	if err != nil {
		return err
	}
	if err := b.put(withExt(path, ".wasm"), wasm); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if !exists(filepath.Join(dir, "Capsule.toml")) {
		return nil // a bare module, not a capsule
	}
	meta := filepath.Join(dir, "meta.json")
	sealed, err := seal(meta, wasm)
	if err != nil {
		return err
	}
	return b.put(meta, sealed)
}

// put writes content to path unless it is there already; with check it only
// notes that it is not.
func (b *builder) put(path string, content []byte) error {
	old, err := os.ReadFile(path)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !missing:
		return err
	case !missing && bytes.Equal(old, content):
		return nil
	case !b.check:
		return os.WriteFile(path, content, 0o644)
	case missing:
		b.stale = append(b.stale, fmt.Errorf("%s: is missing", path))
	default:
		b.stale = append(b.stale, fmt.Errorf("%s: differs from what is built from its source", path))
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// withExt returns path with another extension.
func withExt(path, ext string) string {
	return path[:len(path)-len(filepath.Ext(path))] + ext
}
