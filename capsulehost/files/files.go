package files

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// Files are one capsule's files. They are safe for concurrent use.
type Files struct {
	space       *Space
	capsule     string
	read, write grants
}

var _ capsulehost.Files = (*Files)(nil)

// For returns the files of a capsule, as far as they are granted.
func (s *Space) For(capsule string, g Grants) *Files {
	return &Files{
		space: s, capsule: capsule,
		read: parseGrants(g.Read, s.cfg.Workspace), write: parseGrants(g.Write, s.cfg.Workspace),
	}
}

func randomText() string { return rand.Text() }

// ReadFile returns the content of a file of at most [MaxFile] bytes.
func (f *Files) ReadFile(ctx context.Context, path string) ([]byte, error) {
	return reading(ctx, f, "read", path, func(p *place) ([]byte, error) { return p.read(ctx) })
}

// Stat describes a file or directory.
func (f *Files) Stat(ctx context.Context, path string) (capsulehost.FileStat, error) {
	return reading(ctx, f, "stat", path, func(p *place) (capsulehost.FileStat, error) {
		info := p.info
		if len(p.path) == 1 && p.file == "" {
			var err error
			if info, err = p.root(); err != nil {
				return capsulehost.FileStat{}, plain(err)
			}
		}
		return capsulehost.FileStat{Size: info.Size(), Dir: info.IsDir(), ModTime: info.ModTime()}, nil
	})
}

// Exists reports whether there is something at a path.
func (f *Files) Exists(ctx context.Context, path string) (bool, error) {
	_, err := reading(ctx, f, "look for", path, func(*place) (struct{}, error) { return struct{}{}, nil })
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// ReadDir returns the sorted names in a directory, at most [MaxNames].
func (f *Files) ReadDir(ctx context.Context, path string) ([]string, error) {
	return reading(ctx, f, "list", path, func(p *place) ([]string, error) { return p.list(ctx) })
}

// WriteFile replaces a file, or creates one, and below cwd:// its directories. It is
// complete or not done at all. data must not be changed afterwards.
func (f *Files) WriteFile(ctx context.Context, path string, data []byte) error {
	if len(data) > MaxFile {
		return fmt.Errorf("write %q: %d bytes are over the limit of %d", path, len(data), MaxFile)
	}
	return f.writing(ctx, "write", path, func(p *place) error { return p.write(ctx, data) })
}

// Mkdir makes a directory, and those above it. One that exists is no error.
func (f *Files) Mkdir(ctx context.Context, path string) error {
	return f.writing(ctx, "make the directory", path, func(p *place) error {
		switch {
		case p.file != "":
			return errors.New("there is something else that is not a directory")
		case len(p.rest) == 0 && len(p.path) == 1:
			return errors.New("it is the root")
		case len(p.rest) == 0:
			return nil
		}
		return p.charged(0, int64(len(p.rest)), func() error { return p.create(p.rest) })
	})
}

// Remove removes a file, or an empty directory.
func (f *Files) Remove(ctx context.Context, path string) error {
	return f.writing(ctx, "remove", path, func(p *place) error { return p.remove(ctx) })
}

// reading runs an operation on something that exists.
func reading[T any](ctx context.Context, f *Files, verb, path string, operation func(*place) (T, error)) (T, error) {
	return do(ctx, f.space, func() (T, error) {
		var none T
		p, release, err := f.find(ctx, path, f.read, false)
		if err == nil {
			defer release()
			if len(p.rest) > 0 {
				err = fs.ErrNotExist
			}
		}
		if err == nil {
			none, err = operation(p)
		}
		if err != nil {
			return none, fmt.Errorf("%s %q: %w", verb, path, err)
		}
		return none, nil
	})
}

// writing runs an operation that changes something.
func (f *Files) writing(ctx context.Context, verb, path string, operation func(*place) error) error {
	_, err := do(ctx, f.space, func() (struct{}, error) {
		p, release, err := f.find(ctx, path, f.write, true)
		if err == nil {
			defer release()
			err = operation(p)
		}
		if err != nil {
			return struct{}{}, fmt.Errorf("%s %q: %w", verb, path, err)
		}
		return struct{}{}, nil
	})
	return err
}

// errDenied reports a path that the capsule's manifest does not grant.
var errDenied = errors.New("the manifest of the capsule does not grant this path")

// find walks a path and checks that it is granted, by the names that it has without
// links. A path that is not granted is denied, whether or not it exists.
func (f *Files) find(ctx context.Context, path string, granted grants, change bool) (*place, func(), error) {
	in, names, err := parse(path)
	if err != nil {
		return nil, nil, err
	}
	lexical, ok := clean(names)
	if !ok {
		return nil, nil, errEscapes
	}
	area, err := f.space.area(in, f.capsule)
	if err != nil {
		return nil, nil, err
	}
	release, err := area.use(ctx, (change || in != inWorkspace) && granted.allow(in, lexical))
	if err != nil {
		return nil, nil, err
	}
	p, err := area.walk(names)
	switch {
	case err != nil && !granted.allow(in, lexical):
		err = errDenied
	case err == nil && !granted.allow(in, p.names()):
		p.close()
		err = errDenied
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return p, func() { p.close(); release() }, nil
}

// root describes the root of the area.
func (p *place) root() (fs.FileInfo, error) {
	if p.path[0].lower != nil {
		return p.path[0].lower.Stat(".")
	}
	return p.path[0].upper.Stat(".")
}

// regular refuses an end that is not a regular file.
func (p *place) regular() error {
	switch {
	case len(p.rest) > 0:
		return nil
	case p.file == "":
		return errors.New("it is a directory")
	case !p.info.Mode().IsRegular():
		return errors.New("it is not a regular file")
	}
	return nil
}

// readPiece is how much is read between two looks at the deadline.
const readPiece = 256 << 10

func (p *place) read(ctx context.Context) ([]byte, error) {
	if err := p.regular(); err != nil {
		return nil, err
	}
	if p.info.Size() > MaxFile {
		return nil, fmt.Errorf("%d bytes are over the limit of %d", p.info.Size(), MaxFile)
	}
	from := p.last().lower
	if p.inUpper {
		from = p.last().upper
	}
	// Should it become a pipe or a terminal at this moment, opening it neither waits nor
	// takes it over.
	file, err := from.OpenFile(p.file, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, plain(err)
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !os.SameFile(info, p.info) || !info.Mode().IsRegular() {
		return nil, errChanged
	}
	data := make([]byte, 0, p.info.Size()+1)
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if len(data) == cap(data) {
			data = slices.Grow(data, readPiece)
		}
		n, err := file.Read(data[len(data):min(cap(data), len(data)+readPiece)])
		data = data[:len(data)+n]
		switch {
		case len(data) > MaxFile:
			return nil, fmt.Errorf("more than the limit of %d bytes", MaxFile)
		case err == io.EOF:
			return data, nil
		case err != nil:
			return nil, plain(err)
		}
	}
}

// namesAtOnce is the number of names read between two looks at the deadline.
const namesAtOnce = 1000

func (p *place) list(ctx context.Context) ([]string, error) {
	if p.file != "" {
		return nil, errors.New("it is not a directory")
	}
	found := []string{}
	seen := map[string]bool{}
	for _, layer := range []*os.Root{p.last().upper, p.last().lower} {
		if layer == nil {
			continue
		}
		if err := eachName(ctx, layer, func(name string) error {
			if seen[name] || isTemp(name) {
				return nil
			}
			if _, _, err := p.lstat(name); errors.Is(err, fs.ErrNotExist) || errors.Is(err, errHidden) {
				return nil
			}
			seen[name] = true
			if found = append(found, name); len(found) > MaxNames {
				return fmt.Errorf("the directory has more than the limit of %d names", MaxNames)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	slices.Sort(found)
	return found, nil
}

func eachName(ctx context.Context, in *os.Root, do func(name string) error) error {
	file, err := in.Open(".")
	if err != nil {
		return plain(err)
	}
	defer file.Close()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		names, err := file.Readdirnames(namesAtOnce)
		for _, name := range names {
			if err := do(name); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return plain(err)
		}
	}
}

func (p *place) write(ctx context.Context, data []byte) error {
	if err := p.regular(); err != nil {
		return err
	}
	name, missing := p.file, []string(nil)
	if len(p.rest) > 0 {
		name, missing = p.rest[len(p.rest)-1], p.rest[:len(p.rest)-1]
	}
	if len(missing) > 0 && p.area.lower == "" {
		return fmt.Errorf("there is no directory %q", missing[0])
	}
	bytes, added, perm := int64(len(data)), int64(len(missing)), fs.FileMode(0o600)
	if p.info != nil && p.file != "" {
		perm = p.info.Mode().Perm()
	}
	if p.inUpper && p.file != "" {
		bytes -= p.info.Size()
	} else {
		added++
	}
	return p.charged(bytes, added, func() error {
		if p.file != "" && !p.inUpper {
			if err := p.remember(base, strings.Join(p.names(), "/"), p.info); err != nil {
				return err
			}
		}
		if err := p.create(missing); err != nil {
			return err
		}
		return replace(p.last().upper, name, data, perm, func() error { return context.Cause(ctx) })
	})
}

// charged runs a change of so many bytes and files, if there is room for them.
func (p *place) charged(bytes, files int64, change func() error) error {
	if err := p.area.reserve(bytes, files); err != nil {
		return err
	}
	if err := change(); err != nil {
		p.area.giveBack(bytes, files)
		return err
	}
	return nil
}

func (p *place) remove(ctx context.Context) error {
	switch {
	case len(p.rest) > 0:
		return fs.ErrNotExist
	case p.file == "" && len(p.path) == 1:
		return errors.New("it is the root")
	case p.file == "":
		names, err := p.list(ctx)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			return errors.New("the directory is not empty")
		}
	}
	path, info, inUpper := strings.Join(p.names(), "/"), p.info, p.inUpper
	name := p.file
	if name == "" { // from the directory above it
		name = p.last().name
		p.last().close()
		p.path = p.path[:len(p.path)-1]
	}
	if at := p.last(); at.lower != nil && !p.isGone(name) {
		if below, err := at.lower.Lstat(name); err == nil {
			if err := p.charged(0, 1, func() error { return p.remember(gone, path, below) }); err != nil {
				return err
			}
		}
	}
	if !inUpper {
		return nil
	}
	if err := p.last().upper.Remove(name); err != nil {
		return plain(err)
	}
	p.area.giveBack(max(0, sizeOf(info)), 1)
	return nil
}

func sizeOf(info fs.FileInfo) int64 {
	if info.Mode().IsRegular() {
		return info.Size()
	}
	return 0
}
