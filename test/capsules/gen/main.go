// Command gen builds the modules that are written as WebAssembly text. For each .wat
// file below the given directories it
//
//   - updates the parts that capsules share (see below),
//   - assembles it with wat2wasm (Debian's wabt) into the .wasm beside it, and
//   - if there is a Capsule.toml beside both, writes the module's BLAKE3 hash
//     into meta.json, as `astrid-actors seal` does, and keeps its other keys.
//
// Files that are up to date are not changed. From the top of the repository:
//
//	go run ./test/capsules/gen test/capsules cmd/astrid-actors/demo
//
// With -check nothing is written: the command names each file that it would write, and
// each .wasm file without a .wat beside it, and fails.
//
// WebAssembly text can't include a file. So that each .wat is complete and wat2wasm
// alone can assemble it, a shared part is copied between two marks,
//
//	;; --- payload.wat ---
//	;; --- end of payload.wat ---
//
// and the text between them is replaced by lib/payload.wat. Change the part in lib,
// never the copies.
//
// A module that uses a proposal that wat2wasm does not enable by default enables it in
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

// builder builds modules; with check it reports those that are not up to date.
type builder struct {
	check    bool
	assemble func(path string, flags []string) (wasm []byte, err error)

	stale []error // with check: one error for each file that differs
}

// buildAll builds every module below each of dirs. It stops at the first one that can't
// be built; with check it reports all files that differ.
func (b *builder) buildAll(dirs []string) error {
	for _, dir := range dirs {
		if err := filepath.WalkDir(dir, b.visit); err != nil {
			return errors.Join(append(b.stale, err)...)
		}
	}
	return errors.Join(b.stale...)
}

// visit is called for every entry below a directory.
func (b *builder) visit(path string, d fs.DirEntry, err error) error {
	switch {
	case err != nil:
		return err
	case d.IsDir() && d.Name() == "lib":
		return fs.SkipDir // these are parts of modules
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

// put writes content to path unless the file has it already; with check it only records
// that it does not.
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
