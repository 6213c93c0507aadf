package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

// Extension is the end of an archive's name.
const Extension = ".capsule"

// Name returns the name of a capsule's archive: ID-VERSION.capsule.
func Name(m *manifest.Manifest) string {
	return m.ID() + "-" + m.Package.Version + Extension
}

// Write writes the archive of a capsule, whose module is read and verified as at a load,
// with h for a shared one. If the capsule is sealed, so is the archive. It may be unsealed.
//
// The same files give the same bytes: names and contents are all that is written.
func Write(w io.Writer, h home.Home, m *manifest.Manifest) error {
	if err := write(w, h, m); err != nil {
		return fmt.Errorf("pack capsule %q: %w", m.ID(), err)
	}
	return nil
}

func write(w io.Writer, h home.Home, m *manifest.Manifest) error {
	wasm, hash, err := m.ReadModule(h, true)
	if err != nil {
		return err
	}
	sealed, err := m.Sealed()
	if err != nil {
		return err
	}
	names, err := Files(m)
	if err != nil {
		return err
	}
	module := path.Clean(filepath.ToSlash(m.Components[0].File))
	for _, name := range append(names, module) {
		if at := leftOut(name); at != "" {
			return fmt.Errorf("%s is below %s, which Astrid's installer leaves out: have the build copy it elsewhere", name, at)
		}
	}
	dir, err := os.OpenRoot(m.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // it was only read

	compressed, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	out := &writer{tar: tar.NewWriter(compressed)}
	out.file(dir, manifest.FileName) // the manifest and the module come first, as in Astrid's
	out.add(module, int64(len(wasm)), bytes.NewReader(wasm))
	if sealed != "" {
		meta := `{"wasm_hash":"` + hash + "\"}\n"
		out.add(manifest.MetaName, int64(len(meta)), strings.NewReader(meta))
	}
	for _, name := range names {
		if name != manifest.FileName {
			out.file(dir, name)
		}
	}
	if out.err != nil {
		return out.err
	}
	if err := out.tar.Close(); err != nil {
		return err
	}
	return compressed.Close()
}

// writer writes files to a tar file, up to the first error.
type writer struct {
	tar     *tar.Writer
	written int64 // bytes of the files
	files   int
	err     error
}

// file adds a file of a directory.
func (w *writer) file(dir *os.Root, name string) {
	if w.err != nil {
		return
	}
	f, err := dir.Open(name)
	if err != nil {
		w.err = err
		return
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		w.err = err
		return
	}
	w.add(name, info.Size(), f)
}

// add adds a file of the given size. What depends on the machine is left out: times,
// owners, and all of the mode.
func (w *writer) add(name string, size int64, content io.Reader) {
	w.written += size
	w.files++
	switch {
	case w.err != nil:
		return
	case w.files > MaxFiles:
		w.err = fmt.Errorf("it has more than %d files, the limit", MaxFiles)
		return
	case w.written > MaxBytes:
		w.err = fmt.Errorf("its files have more than %d bytes, the limit", MaxBytes)
		return
	}
	w.err = w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)})
	if w.err == nil {
		if _, err := io.Copy(w.tar, content); err != nil {
			w.err = fmt.Errorf("%s: %w", name, err)
		}
	}
}

// leftOut returns the directory above a file that Astrid's installer does not copy, or "".
func leftOut(name string) string {
	parts := strings.Split(path.Dir(name), "/")
	if parts[0] == "dist" {
		return parts[0]
	}
	if i := slices.IndexFunc(parts, func(part string) bool { return part == "target" || part == ".git" }); i >= 0 {
		return path.Join(parts[:i+1]...)
	}
	return ""
}
