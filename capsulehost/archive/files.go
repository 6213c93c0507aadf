package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

// witDir contains a capsule's interface descriptions. Astrid's installer looks for them there.
const witDir = "wit"

// Files returns the paths of a capsule's files, relative to its directory, with slashes,
// sorted: the manifest, the components' modules, what the manifest names or includes, and
// the directory wit. It leaves out the first component's module and meta.json, which may be
// missing or have to be written; see [manifest.Manifest.ReadModule].
//
// A path that the manifest names must exist, and be a regular file inside the directory.
func Files(m *manifest.Manifest) ([]string, error) {
	dir, err := os.OpenRoot(m.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the capsule's directory: %w", err)
	}
	defer func() { _ = dir.Close() }() // it was only read
	c := collection{manifest: m, root: dir, found: map[string]bool{manifest.FileName: true}}
	for _, component := range m.Components[1:] {
		c.named(manifest.Asset{Path: component.File, Line: component.Line, Key: "component.file"})
	}
	for _, a := range m.Assets {
		c.named(a)
	}
	c.matching(witDir)
	for _, pattern := range m.Package.Include {
		c.matching(pattern)
	}
	c.exclude(m.Package.Exclude)
	delete(c.found, path.Clean(filepath.ToSlash(m.Components[0].File)))
	delete(c.found, manifest.MetaName)
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	files := make([]string, 0, len(c.found))
	for name := range c.found {
		files = append(files, name)
	}
	slices.Sort(files)
	return files, nil
}

// collection collects a capsule's files.
type collection struct {
	manifest *manifest.Manifest
	root     *os.Root
	found    map[string]bool
	problems manifest.Problems
}

// named adds a file that must exist.
func (c *collection) named(a manifest.Asset) {
	message := ""
	switch info, err := c.root.Stat(a.Path); {
	case !filepath.IsLocal(a.Path):
		message = "must be a file inside the capsule's directory"
	case errors.Is(err, fs.ErrNotExist):
		message = "is not there"
	case err != nil:
		message = "can't be read: " + err.Error()
	case !info.Mode().IsRegular():
		message = "is no regular file"
	}
	if message != "" {
		c.problems = append(c.problems, manifest.Problem{
			File: c.manifest.File, Line: a.Line, Key: a.Key, Message: fmt.Sprintf("is %q, which %s", a.Path, message),
		})
		return
	}
	c.found[path.Clean(filepath.ToSlash(a.Path))] = true
}

// matching adds the files that match a pattern, and those below the directories that do.
// What is no regular file is left out, and so is what is hidden: it is a tool's, or
// .env.json, which may hold secrets.
func (c *collection) matching(pattern string) {
	all := c.root.FS()
	matches, err := fs.Glob(all, path.Clean(pattern))
	if err == nil && !filepath.IsLocal(pattern) {
		err = errors.New("it leaves the capsule's directory")
	}
	if err != nil {
		c.problems = append(c.problems, c.manifest.Problem("package.include", fmt.Sprintf("holds %q, which is no pattern: %v", pattern, err)))
		return
	}
	for _, match := range matches {
		if _, err := c.root.Stat(match); err != nil {
			continue // a link that leads nowhere, or out of the directory
		}
		err := fs.WalkDir(all, match, func(name string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			switch info, err := c.root.Stat(name); {
			case hidden(name):
			case err == nil && info.Mode().IsRegular():
				c.found[name] = true
			}
			return nil
		})
		if err != nil {
			c.problems = append(c.problems, c.manifest.Problem("package.include", err.Error()))
		}
	}
}

// exclude removes files that match one of the patterns, or are below a directory that does.
func (c *collection) exclude(patterns []string) {
	for name := range c.found {
		for at := name; at != "." && name != manifest.FileName; at = path.Dir(at) {
			for _, pattern := range patterns {
				if match, err := path.Match(path.Clean(pattern), at); err == nil && match {
					delete(c.found, name)
				}
			}
		}
	}
}

// hidden reports whether a part of a path begins with a dot.
func hidden(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") && part != "." {
			return true
		}
	}
	return false
}
