package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// ChangeKind says what a capsule has done to a path of the workspace.
type ChangeKind string

// The kinds of changes.
const (
	Added    ChangeKind = "added"
	Modified ChangeKind = "modified"
	Removed  ChangeKind = "removed"
)

// Change is one path that a capsule has changed in its layer above the workspace.
type Change struct {
	Capsule string     `json:"capsule"`
	Path    string     `json:"path"` // slash-separated, relative to the workspace
	Kind    ChangeKind `json:"kind"`
	Dir     bool       `json:"dir,omitempty"`
	Size    int64      `json:"size,omitempty"` // bytes of the new file
	// Conflict says that the workspace has changed there, too, since the capsule first
	// did.
	Conflict bool `json:"conflict,omitempty"`
}

// Capsules returns the sorted ids of the capsules that have a layer above the workspace.
func (s *Space) Capsules() ([]string, error) {
	if s.cfg.Workspace == "" {
		return nil, errNoWorkspace
	}
	entries, err := os.ReadDir(s.overlays())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the changes of the workspace: %w", err)
	}
	var ids []string
	for _, e := range entries {
		ids = append(ids, e.Name())
	}
	return ids, nil
}

var errNoWorkspace = errors.New("there is no workspace")

// layer is a capsule's layer, while nobody else changes it.
type layer struct {
	area                  *area
	capsule               string
	upper, lower, records *os.Root
	lock                  *flock.Flock
}

// layer opens and locks a capsule's layer. It returns nil if the capsule has none.
func (s *Space) layer(ctx context.Context, capsule string) (*layer, error) {
	if s.cfg.Workspace == "" {
		return nil, errNoWorkspace
	}
	l := &layer{area: s.overlay(capsule), capsule: capsule}
	if _, err := os.Lstat(l.area.lock); err != nil {
		return nil, nil //nolint:nilerr,nilnil // it has written nothing
	}
	if err := l.open(ctx); err != nil || l.upper == nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *layer) open(ctx context.Context) (err error) {
	l.lock = flock.New(l.area.lock, flock.SetPermissions(0o600))
	if _, err := l.lock.TryLockContext(ctx, lockEvery); err != nil {
		return fmt.Errorf("wait until capsule %q does not use its files: %w", l.capsule, err)
	}
	if l.upper, err = openIfExists(l.area.upper); err != nil {
		return err
	}
	if l.lower, err = os.OpenRoot(l.area.lower); err != nil {
		return err
	}
	l.records, err = openIfExists(l.area.records)
	return err
}

func (l *layer) close() {
	for _, root := range []*os.Root{l.upper, l.lower, l.records} {
		if root != nil {
			_ = root.Close()
		}
	}
	if l.lock != nil {
		_ = l.lock.Close()
	}
}

// Changes returns what a capsule has changed in its layer, by path.
func (s *Space) Changes(ctx context.Context, capsule string) ([]Change, error) {
	l, err := s.layer(ctx, capsule)
	if err != nil || l == nil {
		return nil, err
	}
	defer l.close()
	return l.changes()
}

func (l *layer) changes() ([]Change, error) {
	bases, err := readRecords(l.records, base)
	if err != nil {
		return nil, fmt.Errorf("read the changes of capsule %q: %w", l.capsule, err)
	}
	removed, err := readRecords(l.records, gone)
	if err != nil {
		return nil, fmt.Errorf("read the changes of capsule %q: %w", l.capsule, err)
	}
	found := map[string]Change{}
	for path, was := range removed {
		now, err := l.lower.Lstat(path)
		found[path] = Change{
			Capsule: l.capsule, Path: path, Kind: Removed, Dir: was.Dir,
			Conflict: err == nil && !was.matches(now),
		}
	}
	err = fs.WalkDir(l.upper.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == "." || isTemp(entry.Name()) {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		c := Change{Capsule: l.capsule, Path: path, Kind: Added, Dir: entry.IsDir(), Size: sizeOf(info)}
		below, belowErr := l.lower.Lstat(path)
		_, isRemoved := removed[path]
		was, hasBase := bases[path]
		switch {
		case c.Dir && belowErr == nil && below.IsDir():
			delete(found, path)
			return nil // a directory that both have is no change
		case isRemoved:
			c.Kind, c.Conflict = Modified, found[path].Conflict
		case hasBase:
			c.Kind, c.Conflict = Modified, belowErr != nil || !was.matches(below)
		default:
			c.Conflict = belowErr == nil
		}
		found[path] = c
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the changes of capsule %q: %w", l.capsule, err)
	}
	all := slices.Collect(maps.Values(found))
	slices.SortFunc(all, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// matches reports whether a path of the workspace is still as it was recorded.
func (r record) matches(now fs.FileInfo) bool {
	return r.Dir && now.IsDir() || !r.Dir && now.Mode().IsRegular() && r.Size == now.Size() && r.ModTime.Equal(now.ModTime())
}

// Contents returns a changed file as it is in the workspace and in the capsule's layer;
// nil if there is none, or if it is larger than [MaxFile].
func (s *Space) Contents(ctx context.Context, c Change) (before, after []byte, err error) {
	l, err := s.layer(ctx, c.Capsule)
	if err != nil || l == nil {
		return nil, nil, err
	}
	defer l.close()
	if c.Kind != Added {
		before = contentOf(l.lower, c.Path)
	}
	if c.Kind != Removed {
		after = contentOf(l.upper, c.Path)
	}
	return before, after, nil
}

// contentOf reads a regular file that is not too large.
func contentOf(in *os.Root, path string) []byte {
	info, err := in.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > MaxFile {
		return nil
	}
	data, err := in.ReadFile(path)
	if err != nil {
		return nil
	}
	return data
}

// Commit moves what a capsule has changed into the workspace, and returns what it moved
// and what it did not: paths in conflict stay in the layer, unless force is set.
// A capsule's calls for files wait meanwhile.
func (s *Space) Commit(ctx context.Context, capsule string, force bool) (done, left []Change, err error) {
	l, err := s.layer(ctx, capsule)
	if err != nil || l == nil {
		return nil, nil, err
	}
	defer l.close()
	changes, err := l.changes()
	if err != nil {
		return nil, nil, err
	}
	for _, c := range inOrder(changes) {
		if ctx.Err() != nil {
			return done, left, context.Cause(ctx)
		}
		if c.Conflict && !force {
			left = append(left, c)
			continue
		}
		if err := l.commit(c); err != nil {
			return done, left, fmt.Errorf("commit %q of capsule %q: %w", c.Path, capsule, err)
		}
		done = append(done, c)
	}
	l.prune(left)
	l.area.forget()
	return done, left, nil
}

// inOrder puts removals first, the deepest of them first, and then directories before
// what is in them.
func inOrder(changes []Change) []Change {
	var removed, others []Change
	for _, c := range changes {
		if c.Kind == Removed {
			removed = append(removed, c)
		} else {
			others = append(others, c)
		}
	}
	slices.Reverse(removed) // sorted by path
	return append(removed, others...)
}

// commit moves one change into the workspace. Its directories are created if somebody
// has removed them.
func (l *layer) commit(c Change) error {
	switch {
	case c.Kind == Removed:
		if err := l.lower.Remove(c.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return plain(err)
		}
		return l.settle(c.Path)
	case c.Dir:
		return l.lowerDir(c.Path)
	}
	if err := l.lowerDir(path.Dir(c.Path)); err != nil {
		return err
	}
	data, err := l.upper.ReadFile(c.Path)
	if err != nil {
		return plain(err)
	}
	perm := fs.FileMode(0o644)
	if info, err := l.lower.Lstat(c.Path); err == nil {
		if !info.Mode().IsRegular() {
			return errors.New("the workspace has something else there, that is not a regular file")
		}
		perm = info.Mode().Perm()
	}
	dir, err := l.lower.OpenRoot(path.Dir(c.Path))
	if err != nil {
		return plain(err)
	}
	defer dir.Close()
	if err := replace(dir, path.Base(c.Path), data, perm, func() error { return nil }); err != nil {
		return err
	}
	if err := l.upper.Remove(c.Path); err != nil {
		return plain(err)
	}
	return l.settle(c.Path)
}

// lowerDir makes a directory in the workspace, and those above it. None of them may be
// a link: the capsule saw a directory there.
func (l *layer) lowerDir(dir string) error {
	made := ""
	for _, name := range split(dir) {
		made = path.Join(made, name)
		if err := l.lower.Mkdir(made, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return plain(err)
		}
		if info, err := l.lower.Lstat(made); err != nil || !info.IsDir() {
			return fmt.Errorf("the workspace has something else at %q, that is not a directory", made)
		}
	}
	return nil
}

// settle forgets what was recorded about a path.
func (l *layer) settle(path string) error {
	if l.records == nil {
		return nil
	}
	for _, kind := range []string{gone, base} {
		if err := l.records.Remove(recordName(path, kind)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return plain(err)
		}
	}
	return nil
}

// prune removes the layer if nothing is left of it, and its empty directories if not.
func (l *layer) prune(left []Change) {
	if len(left) == 0 {
		_ = l.remove()
		return
	}
	var dirs []string
	_ = fs.WalkDir(l.upper.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && path != "." {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, dir := range slices.Backward(dirs) {
		_ = l.upper.Remove(dir) // only if it is empty
	}
}

// remove empties the layer. Its lock stays: somebody may be waiting for it.
func (l *layer) remove() error {
	return errors.Join(os.RemoveAll(l.area.upper), os.RemoveAll(l.area.records))
}

// forget makes the next write measure the area again.
func (a *area) forget() {
	a.usage.mu.Lock()
	defer a.usage.mu.Unlock()
	a.usage.measured = time.Time{}
}

// Discard drops what a capsule has changed: it sees the workspace as it is.
func (s *Space) Discard(ctx context.Context, capsule string) ([]Change, error) {
	l, err := s.layer(ctx, capsule)
	if err != nil || l == nil {
		return nil, err
	}
	defer l.close()
	changes, err := l.changes()
	if err != nil {
		return nil, err
	}
	if err := l.remove(); err != nil {
		return nil, fmt.Errorf("discard the changes of capsule %q: %w", capsule, err)
	}
	l.area.forget()
	return changes, nil
}
