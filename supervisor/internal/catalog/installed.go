package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

// meta is an installed capsule's meta.json, with the fields that astrid-capsule 0.5.0
// writes. InstalledAt is what tells a capsule that was installed from one that was put
// there by hand.
type meta struct {
	Version     string                       `json:"version"`
	InstalledAt string                       `json:"installed_at"` // RFC 3339
	UpdatedAt   string                       `json:"updated_at"`
	Imports     map[string]map[string]string `json:"imports,omitempty"`
	Exports     map[string]map[string]string `json:"exports,omitempty"`
	WasmHash    string                       `json:"wasm_hash,omitempty"`
}

// envFile is the operator's configuration in a capsule's directory. An upgrade keeps it.
const envFile = ".env.json"

// installed is a capsule that was installed.
type installed struct {
	dir     string
	meta    meta
	version string
}

// find returns the installed capsule with an id, nil if there is none. It is an error if the
// capsule is there, and was not installed.
func (in *Installer) find(id string) (*installed, error) {
	if err := in.step("find"); err != nil {
		return nil, err
	}
	capsules := in.Home.CapsulesDir(in.Principal)
	dir := filepath.Join(capsules, id)
	for _, m := range manifest.Discover([]string{capsules}, false).Manifests {
		if m.ID() == id && m.Dir != dir {
			return nil, fmt.Errorf("capsule %q is in %s already, and was not installed there: move it away first", id, m.Dir)
		}
	}
	c, err := openInstalled(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil //nolint:nilnil // there is none
	case err != nil:
		return nil, err
	case c == nil:
		return nil, fmt.Errorf("%s was not made by install: move it away first", dir)
	}
	return c, nil
}

// openInstalled returns the capsule in dir, nil if it was not installed there.
func openInstalled(dir string) (*installed, error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, nil //nolint:nilnil // a link, perhaps to sources
	}
	c := &installed{dir: dir}
	text, err := os.ReadFile(filepath.Join(dir, manifest.MetaName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil || json.Unmarshal(text, &c.meta) != nil || c.meta.InstalledAt == "" {
		return nil, nil //nolint:nilerr,nilnil // without a meta.json of ours it was not installed
	}
	c.version = c.meta.Version
	return c, nil
}

// same reports whether the capsule is the one that is staged in dir, in every byte of every
// file. One that is sealed is the same as one that is not and has the same module: it
// keeps its seal.
func (c *installed) same(dir, module string, sealed bool, hash string) bool {
	wasSealed := c.meta.WasmHash != ""
	if sealed && !wasSealed || wasSealed && !strings.EqualFold(c.meta.WasmHash, hash) {
		return false
	}
	have, err := contents(c.dir)
	if err != nil {
		return false
	}
	want, err := contents(dir)
	if wasSealed { // the module is elsewhere, under its hash
		delete(want, filepath.ToSlash(filepath.Clean(module)))
	}
	return err == nil && maps.Equal(have, want)
}

// contents returns the files of a capsule, without what belongs to its place only.
func contents(dir string) (map[string]string, error) {
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == manifest.MetaName || name == envFile {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		files[name] = string(text)
		return err
	})
	return files, err
}

// Remove removes the directory of an installed capsule, and reports whether there was one.
// A directory that was put there by hand stays. So does the module in the home, which other
// capsules may share, and the principal's configuration for the capsule.
//
// The capsule is gone as a whole or not at all, also if the process dies.
func (in *Installer) Remove(ctx context.Context, id string) (removed bool, err error) {
	if !home.ValidCapsule(id) { // it becomes a path
		return false, fmt.Errorf("remove capsule %q: a capsule's id is one or more of a-z 0-9 -", id)
	}
	unlock, err := in.lock(ctx)
	if err != nil {
		return false, fmt.Errorf("remove capsule %q: %w", id, err)
	}
	defer unlock()
	dir := filepath.Join(in.Home.CapsulesDir(in.Principal), id)
	c, err := openInstalled(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && c == nil {
		return false, nil
	}
	if err == nil {
		err = in.discard(dir)
	}
	if err != nil {
		return false, fmt.Errorf("remove capsule %q: %w", id, err)
	}
	return true, nil
}

// discard moves a directory out of the way, so that it is gone at once, and then removes it.
func (in *Installer) discard(dir string) error {
	if err := os.MkdirAll(in.staging(), 0o700); err != nil {
		return err
	}
	if err := os.Rename(dir, filepath.Join(in.staging(), "removed")); err != nil {
		return err
	}
	return errors.Join(syncDir(filepath.Dir(dir)), os.RemoveAll(in.staging()))
}

// metaOf returns the meta.json of a new installation.
func metaOf(m *manifest.Manifest, now string, old *installed) meta {
	out := meta{Version: m.Package.Version, InstalledAt: now, UpdatedAt: now}
	if old != nil {
		out.InstalledAt = old.meta.InstalledAt
	}
	add := func(to *map[string]map[string]string, namespace, name, version string) {
		if *to == nil {
			*to = map[string]map[string]string{}
		}
		if (*to)[namespace] == nil {
			(*to)[namespace] = map[string]string{}
		}
		(*to)[namespace][name] = version
	}
	for _, i := range m.Imports {
		add(&out.Imports, i.Namespace, i.Name, i.Requirement)
	}
	for _, e := range m.Exports {
		add(&out.Exports, e.Namespace, e.Name, e.Version)
	}
	return out
}

// parents returns the directories above some files, deepest first.
func parents(names []string) []string {
	seen := map[string]bool{}
	for _, name := range names {
		for at := filepath.Dir(name); ; at = filepath.Dir(at) {
			seen[at] = true
			if at == "." {
				break
			}
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b string) int {
		return strings.Count(b, string(filepath.Separator)) - strings.Count(a, string(filepath.Separator))
	})
}
