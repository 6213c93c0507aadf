package catalog

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"lukechampine.com/blake3"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/archive"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

// The directories of an installation, in the staging directory.
const (
	unpackedDir = "unpacked" // what was in the archive
	newDir      = "new"      // the new capsule; after it was exchanged, the old one
	asideDir    = "aside"    // the old capsule, under its id, where an exchange is not possible
)

// new is the directory of the staged capsule.
func (t *installation) new() string { return filepath.Join(t.staging(), newDir) }

// target is the capsule's place.
func (t *installation) target() string {
	return filepath.Join(t.Home.CapsulesDir(t.Principal), t.manifest.ID())
}

// stage writes the new capsule beside its place, with everything on the disk. A sealed
// module is shared: it goes into the home under its hash. One that is not sealed has no
// other place than the capsule's directory.
func (t *installation) stage(source *manifest.Manifest, wasm []byte) error {
	names, err := archive.Files(source)
	if err != nil {
		return err
	}
	from, err := os.OpenRoot(source.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()              // it was only read
	if err := os.Mkdir(t.new(), 0o755); err != nil { //nolint:gosec // as readable as the capsules of Astrid's installer
		return err
	}
	total := int64(len(wasm))
	for _, name := range names {
		if total, err = t.copyFile(from, name, total); err != nil {
			return err
		}
	}
	if t.manifest, err = manifest.Load(t.new()); err != nil {
		return err // it has changed since
	}
	if t.manifest.ID() != source.ID() {
		return errors.New("the capsule has changed while it was being installed")
	}
	if t.old != nil {
		if text, err := os.ReadFile(filepath.Join(t.old.dir, envFile)); err == nil {
			names = append(names, envFile)
			if err := t.write(envFile, 0o600, bytes.NewReader(text)); err != nil {
				return err
			}
		}
	}
	meta := metaOf(t.manifest, time.Now().UTC().Format(time.RFC3339), t.old)
	if t.sealed {
		meta.WasmHash = t.hash
	} else {
		module := filepath.FromSlash(t.manifest.Components[0].File)
		names = append(names, module)
		if err := t.write(module, 0o644, bytes.NewReader(wasm)); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return err
	}
	if err := t.write(manifest.MetaName, 0o644, bytes.NewReader(append(text, '\n'))); err != nil {
		return err
	}
	for _, dir := range parents(names) {
		if err := t.sync(dir, filepath.Join(t.new(), dir)); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies one of the capsule's files, and returns the bytes of all so far.
func (t *installation) copyFile(from *os.Root, name string, total int64) (int64, error) {
	f, err := from.Open(name)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	total += info.Size()
	if total > archive.MaxBytes || !info.Mode().IsRegular() {
		return 0, fmt.Errorf("its files have more than %d bytes, the limit, or are no plain files", archive.MaxBytes)
	}
	return total, t.write(name, 0o644, io.LimitReader(f, info.Size()))
}

// write writes a file of the staged capsule to the disk.
func (t *installation) write(name string, mode fs.FileMode, content io.Reader) (err error) {
	if err := t.step("write %s", name); err != nil {
		return err
	}
	path := filepath.Join(t.new(), filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as readable as the capsules of Astrid's installer
		return err
	}
	return writeSynced(path, mode, content)
}

// check compiles the module as a load would, and calls its hook. Then nothing is left that
// could refuse the module but a lack of space. The module is kept until the installation is
// over: the load at its end need not compile it again.
func (t *installation) check(ctx context.Context, wasm []byte) error {
	if err := t.step("compile"); err != nil {
		return err
	}
	module, err := t.Host.Compile(ctx, wasm)
	if err != nil {
		return plainFailure(err)
	}
	t.module = module
	if err := module.Serves(len(t.manifest.Interceptors)); err != nil {
		return plainFailure(err)
	}
	if err := t.hook(ctx, module); err != nil {
		return err
	}
	if !t.sealed {
		return nil
	}
	return t.share(wasm)
}

// plainFailure returns what a person can act upon, without the kind and the stack.
func plainFailure(err error) error {
	if f, ok := errors.AsType[*capsulehost.Failure](err); ok {
		return errors.New(f.Message)
	}
	return err
}

// share writes the module into the home, under its hash, unless it is there.
func (t *installation) share(wasm []byte) error {
	if err := t.step("share"); err != nil {
		return err
	}
	path := t.Home.ModulePath(t.hash)
	if have, err := os.ReadFile(path); err == nil && blake3.Sum256(have) == blake3.Sum256(wasm) {
		return nil
	}
	if err := mkdirSynced(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	staged := filepath.Join(t.staging(), "module")
	if err := writeSynced(staged, 0o644, bytes.NewReader(wasm)); err != nil {
		return err
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		t.createdModule = path
	}
	if err := t.step("name the module"); err != nil {
		return err
	}
	if err := os.Rename(staged, path); err != nil {
		return err
	}
	return t.sync("the modules", filepath.Dir(path))
}

// sync is the step that makes the names in a directory last, which what describes.
func (t *installation) sync(what, dir string) error {
	if err := t.step("sync %s", what); err != nil {
		return err
	}
	return syncDir(dir)
}

// place puts the staged capsule into its place.
func (t *installation) place() error {
	if err := t.step("place"); err != nil {
		return err
	}
	if err := mkdirSynced(filepath.Dir(t.target()), 0o755); err != nil {
		return err
	}
	err := t.swap()
	if err != nil {
		return err
	}
	t.placed = true
	return t.sync("the place", filepath.Dir(t.target()))
}

// swap exchanges what is staged with what is in its place.
func (t *installation) swap() error {
	if t.old == nil {
		return os.Rename(t.new(), t.target())
	}
	err := t.exchanger()(t.new(), t.target())
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	// For a moment there is no capsule; if the process dies in it, repair puts it back.
	aside := filepath.Join(t.staging(), asideDir)
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	moved := filepath.Join(aside, t.manifest.ID())
	if err := os.Rename(t.target(), moved); err != nil {
		return err
	}
	if !t.placed {
		if err := t.step("between the renames"); err != nil {
			return errors.Join(err, os.Rename(moved, t.target()))
		}
	}
	if err := os.Rename(t.new(), t.target()); err != nil {
		return errors.Join(err, os.Rename(moved, t.target()))
	}
	return os.Rename(moved, t.new())
}

// undo puts everything back as it was. The staging directory is removed by the caller.
func (t *installation) undo() error {
	var errs []error
	if t.placed {
		if t.old != nil {
			errs = append(errs, t.swap())
		} else {
			errs = append(errs, os.Rename(t.target(), t.new()))
		}
		errs = append(errs, syncDir(filepath.Dir(t.target())))
	}
	if t.createdModule != "" {
		if err := os.Remove(t.createdModule); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// dropReplaced removes the shared module of the version that was replaced, unless another
// installed capsule uses it. In doubt it stays.
func (t *installation) dropReplaced() {
	if t.old == nil || !validModule(t.old.meta.WasmHash) || t.old.meta.WasmHash == t.hash {
		return
	}
	principals, err := filepath.Glob(filepath.Join(filepath.Dir(t.Home.PrincipalDir(t.Principal)), "*"))
	if err != nil {
		return
	}
	for _, p := range principals {
		all, err := filepath.Glob(filepath.Join(t.Home.CapsulesDir(home.Principal(filepath.Base(p))), "*"))
		if err != nil {
			return
		}
		for _, dir := range all {
			var used meta
			text, err := os.ReadFile(filepath.Join(dir, manifest.MetaName))
			if err == nil && json.Unmarshal(text, &used) == nil && used.WasmHash == t.old.meta.WasmHash {
				return
			}
		}
	}
	if err := os.Remove(t.Home.ModulePath(t.old.meta.WasmHash)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Log.Warn("a module that was replaced can't be removed", "err", err)
	}
}

// validModule reports whether a hash is one that Install has written.
func validModule(hash string) bool {
	_, err := hex.DecodeString(hash)
	return err == nil && len(hash) == 64
}
