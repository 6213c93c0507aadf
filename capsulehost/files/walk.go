package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// place is where a path leads: the open directories on the way, and what is at its end.
// It belongs to one operation, which closes it.
type place struct {
	area    *area
	path    []dir       // from the root of the area
	records *os.Root    // nil if nothing was recorded, or the area has no lower directory
	private fs.FileInfo // the directory that is not seen; nil if it does not exist

	// At the end is a directory (file and rest are empty), something else (file), or
	// nothing (rest: its name, after those of directories that don't exist either).
	file    string
	rest    []string
	info    fs.FileInfo // of the end; nil for nothing, and for the root
	inUpper bool        // the end is in the upper directory
}

// dir is an open directory of an area: of both layers, if both have it.
type dir struct {
	name         string
	upper, lower *os.Root
}

func (d *dir) close() {
	for _, root := range []*os.Root{d.upper, d.lower} {
		if root != nil {
			_ = root.Close() // it was only read
		}
	}
}

func (p *place) close() {
	for n := range p.path {
		p.path[n].close()
	}
	if p.records != nil {
		_ = p.records.Close()
	}
}

// last returns the deepest directory that exists.
func (p *place) last() *dir { return &p.path[len(p.path)-1] }

// names returns the path without links.
func (p *place) names() []string {
	var names []string
	for _, d := range p.path[1:] {
		names = append(names, d.name)
	}
	if p.file != "" {
		names = append(names, p.file)
	}
	return append(names, p.rest...)
}

// errChanged reports that a name led somewhere else from one step to the next.
var errChanged = errors.New("the path was changed meanwhile")

// errHidden reports a directory of Astrid's own, which no grant includes.
var errHidden = errors.New("this directory belongs to Astrid, and no capsule may use it")

// open opens the area's directories.
func (a *area) open() (*place, error) {
	p := &place{area: a, path: make([]dir, 1, 8)}
	var err error
	if p.path[0].upper, err = openIfExists(a.upper); err != nil {
		return nil, err
	}
	if a.lower == "" {
		if p.path[0].upper == nil {
			return nil, fs.ErrNotExist
		}
		return p, nil
	}
	p.private, _ = os.Stat(a.private) // what does not exist can't be seen
	if p.path[0].lower, err = os.OpenRoot(a.lower); err == nil {
		p.records, err = openIfExists(a.records)
	}
	if err != nil {
		p.close()
		return nil, plain(err)
	}
	return p, nil
}

func openIfExists(path string) (*os.Root, error) {
	root, err := os.OpenRoot(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // it does not exist
	}
	return root, plain(err)
}

// walk finds the end of a path. It follows links that stay in the area.
func (a *area) walk(names []string) (p *place, err error) {
	if p, err = a.open(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	links := 0
	for todo := slices.Clone(names); len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		switch {
		case name == ".." && len(p.rest) > 0:
			return p, fs.ErrNotExist
		case name == ".." && len(p.path) == 1:
			return p, errEscapes
		case name == "..":
			p.last().close()
			p.path = p.path[:len(p.path)-1]
			continue
		case len(p.rest) > 0:
			p.rest = append(p.rest, name)
			continue
		}
		info, inUpper, err := p.lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			p.rest = append(p.rest, name)
		case err != nil:
			return p, plain(err)
		case info.Mode()&fs.ModeSymlink != 0:
			if links++; links > maxLinks {
				return p, fmt.Errorf("the path has more than %d links", maxLinks)
			}
			target, err := p.readlink(name, inUpper)
			if err != nil {
				return p, err
			}
			todo = append(target, todo...)
		case info.IsDir():
			if len(p.path) > maxDepth {
				return p, fmt.Errorf("the path has more than %d directories", maxDepth)
			}
			if err := p.enter(name, info, inUpper); err != nil {
				return p, err
			}
		case len(todo) > 0:
			return p, fmt.Errorf("%q is not a directory", name)
		default:
			p.file, p.info, p.inUpper = name, info, inUpper
		}
	}
	if len(p.path)+len(p.rest) > maxDepth {
		return p, fmt.Errorf("the path has more than %d directories", maxDepth)
	}
	return p, nil
}

// lstat returns what is at a name in the last directory.
func (p *place) lstat(name string) (info fs.FileInfo, inUpper bool, err error) {
	d := p.last()
	err = fs.ErrNotExist
	if d.upper != nil {
		info, err = d.upper.Lstat(name)
		if err == nil && len(p.path) == 1 && p.isHidden(name, info) {
			return nil, false, errHidden
		}
		inUpper = err == nil
	}
	if d.lower != nil && errors.Is(err, fs.ErrNotExist) && !p.isGone(name) {
		info, err = d.lower.Lstat(name)
		if err == nil && p.private != nil && os.SameFile(info, p.private) {
			return nil, false, errHidden
		}
	}
	return info, inUpper, err
}

// isHidden compares directories by what they are, not by their names: a disk may see
// ".local" and ".LOCAL", or one with invisible characters, as the same.
func (p *place) isHidden(name string, info fs.FileInfo) bool {
	return slices.ContainsFunc(p.area.hidden, func(hidden string) bool {
		other, err := p.path[0].upper.Lstat(hidden)
		return name == hidden || err == nil && os.SameFile(info, other)
	})
}

// readlink returns the names in a link's target.
func (p *place) readlink(name string, inUpper bool) ([]string, error) {
	root := p.last().lower
	if inUpper {
		root = p.last().upper
	}
	target, err := root.Readlink(name)
	if err != nil {
		return nil, plain(err)
	}
	if target = filepath.ToSlash(target); filepath.IsAbs(target) || strings.HasPrefix(target, "/") {
		return nil, errEscapes
	}
	return split(target), nil
}

// enter opens a directory in the last one. info is what it was found to be.
func (p *place) enter(name string, info fs.FileInfo, inUpper bool) error {
	at, d := p.last(), dir{name: name}
	var err error
	if inUpper {
		d.upper, err = openDir(at.upper, name, info)
		if err == nil && at.lower != nil && !p.isGone(name) {
			if below, statErr := at.lower.Lstat(name); statErr == nil && below.IsDir() {
				d.lower, err = openDir(at.lower, name, below)
			}
		}
	} else {
		d.lower, err = openDir(at.lower, name, info)
	}
	if err != nil {
		d.close()
		return err
	}
	p.path = append(p.path, d)
	p.info, p.inUpper = info, inUpper
	return nil
}

// openDir opens a directory, if it is still the one that info describes and not a link.
func openDir(parent *os.Root, name string, info fs.FileInfo) (*os.Root, error) {
	root, err := parent.OpenRoot(name)
	if err != nil {
		return nil, plain(err)
	}
	now, err := root.Stat(".")
	if err == nil && !os.SameFile(now, info) {
		err = errChanged
	}
	if err != nil {
		_ = root.Close()
		return nil, plain(err)
	}
	return root, nil
}

// create makes the upper directory of every directory on the path, and those in missing.
func (p *place) create(missing []string) error {
	for n := 1; n < len(p.path); n++ {
		if p.path[n].upper != nil {
			continue
		}
		upper, err := makeDir(p.path[n-1].upper, p.path[n].name)
		if err != nil {
			return err
		}
		p.path[n].upper = upper
	}
	for _, name := range missing {
		upper, err := makeDir(p.last().upper, name)
		if err != nil {
			return err
		}
		p.path = append(p.path, dir{name: name, upper: upper})
	}
	return nil
}

// makeDir makes and opens a directory; one that exists is opened.
func makeDir(parent *os.Root, name string) (*os.Root, error) {
	if err := parent.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, plain(err)
	}
	info, err := parent.Lstat(name)
	if err != nil {
		return nil, plain(err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%q is not a directory", name)
	}
	return openDir(parent, name, info)
}
