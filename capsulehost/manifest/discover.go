package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// Discovery is the result of [Discover].
type Discovery struct {
	Manifests []*Manifest // in order of discovery, each id once
	Rejected  []Rejected
	Warnings  Problems
}

// Rejected is a capsule that can't be loaded, or a directory that can't be read.
type Rejected struct {
	Dir string
	// ID is the capsule's id; "" if it could not be read, or if another capsule of the
	// Discovery has the same id.
	ID  string
	Err error
}

// Discover finds capsules. Each element of dirs is a capsule's directory or a directory of
// such directories, which are read in the order of their names. If two capsules have the
// same id, the first one is used and the other causes a warning. A missing or empty
// directory is skipped, unless explicit is set, for directories named by the operator:
// then a missing one is rejected, and an empty one causes a warning.
func Discover(dirs []string, explicit bool) Discovery {
	var found Discovery
	var broken []*Manifest // for each element of Rejected: its partial manifest, or nil
	reject := func(dir string, m *Manifest, err error) {
		found.Rejected = append(found.Rejected, Rejected{Dir: dir, Err: err})
		broken = append(broken, m)
	}
	first := map[string]*Manifest{}
	for _, dir := range dirs {
		capsules, err := capsulesIn(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !explicit:
			continue
		case err != nil:
			reject(dir, nil, fmt.Errorf("look for capsules in %s: %w", dir, plain(err)))
			continue
		case len(capsules) == 0 && explicit:
			found.Warnings = append(found.Warnings, Problem{File: dir, Message: fmt.Sprintf(
				"holds no capsules: neither it nor a directory in it has a %s", FileName)})
		}
		for i, loaded := range loadAll(capsules) {
			m, err := loaded.manifest, loaded.err
			if err != nil {
				reject(capsules[i], m, err)
				continue
			}
			if winner := first[m.ID()]; winner != nil {
				found.Warnings = append(found.Warnings, m.Problem("package.name", fmt.Sprintf(
					"capsule %q is not loaded from here: the one in %s comes first", m.ID(), winner.Dir)))
				continue
			}
			first[m.ID()] = m
			found.Manifests = append(found.Manifests, m)
		}
	}
	for i, m := range broken {
		if m != nil && first[m.ID()] == nil {
			first[m.ID()] = m
			found.Rejected[i].ID = m.ID()
		}
	}
	return found
}

// loaded is a result of Load.
type loaded struct {
	manifest *Manifest
	err      error
}

// loadAll loads several manifests, with one worker per processor. With ten thousand
// capsules, this is a large part of the start-up time.
func loadAll(dirs []string) []loaded {
	all := make([]loaded, len(dirs))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(dirs)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(dirs)); i = next.Add(1) - 1 {
				all[i].manifest, all[i].err = Load(dirs[i])
			}
		})
	}
	workers.Wait()
	return all
}

// capsulesIn returns the capsule directories in dir: dir itself, or those directly below
// it, sorted by name.
func capsulesIn(dir string) ([]string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, errors.New("it is no directory")
	}
	if holdsManifest(dir) {
		return []string{dir}, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var capsules []string
	for _, entry := range entries {
		if below := filepath.Join(dir, entry.Name()); holdsManifest(below) {
			capsules = append(capsules, below)
		}
	}
	slices.Sort(capsules)
	return capsules, nil
}

// holdsManifest reports whether dir has a manifest. It also returns true if access is
// denied, so that loading reports the error.
func holdsManifest(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, FileName))
	return err == nil || errors.Is(err, fs.ErrPermission)
}
