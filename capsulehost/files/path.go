package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxPath is the length of the longest path, in bytes.
const MaxPath = 4 << 10

// maxDepth is the largest number of directories in a path. Each is open during an
// operation.
const maxDepth = 64

// maxLinks is the largest number of links in a path.
const maxLinks = 40

// scheme is one of the places where a guest has files.
type scheme int

const (
	inWorkspace scheme = iota
	inHome
	inTmp
)

// The schemes as guests write them.
const (
	workspacePrefix = "cwd://"
	homePrefix      = "home://"
	tmpPath         = "/tmp"
)

// show returns a path as guests write it.
func (s scheme) show(names []string) string {
	path := strings.Join(names, "/")
	switch {
	case s == inHome:
		return homePrefix + path
	case s == inTmp && path == "":
		return tmpPath
	case s == inTmp:
		return tmpPath + "/" + path
	default:
		return workspacePrefix + path
	}
}

// errEscapes reports a path that leads out of its scheme.
var errEscapes = errors.New("the path leads out of its directory")

// parse reads a guest's path. The names hold `..`, but neither "." nor "".
func parse(path string) (scheme, []string, error) {
	switch {
	case len(path) > MaxPath:
		return 0, nil, fmt.Errorf("the path has %d bytes: at most %d are allowed", len(path), MaxPath)
	case !utf8.ValidString(path):
		return 0, nil, errors.New("the path is not UTF-8")
	case strings.ContainsRune(path, 0):
		return 0, nil, errors.New("the path holds a zero byte")
	}
	in, rest := inWorkspace, path
	if after, ok := strings.CutPrefix(path, workspacePrefix); ok {
		rest = after
	} else if after, ok := strings.CutPrefix(path, homePrefix); ok {
		in, rest = inHome, after
	} else if path == tmpPath || strings.HasPrefix(path, tmpPath+"/") {
		in, rest = inTmp, path[len(tmpPath):]
	}
	names := split(rest)
	for _, name := range names {
		if filepath.Separator != '/' && (strings.ContainsRune(name, filepath.Separator) || name != ".." && !filepath.IsLocal(name)) {
			return 0, nil, fmt.Errorf("the name %q is not allowed", name)
		}
		if strings.HasPrefix(name, tempPrefix) {
			return 0, nil, fmt.Errorf("the name %q is reserved", name)
		}
	}
	return in, names, nil
}

// split returns the names in a path, without "." and "".
func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(name string) bool { return name == "" || name == "." })
}

// clean resolves each `..` by its text. ok is false if one leads out.
func clean(names []string) (cleaned []string, ok bool) {
	for _, name := range names {
		switch {
		case name != "..":
			cleaned = append(cleaned, name)
		case len(cleaned) == 0:
			return nil, false
		default:
			cleaned = cleaned[:len(cleaned)-1]
		}
	}
	return cleaned, true
}

// plain returns an error of package os without the paths of the machine, which guests
// need not know.
func plain(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
