package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

// The limits of an archive.
const (
	// MaxBytes is the maximum size of an archive's files together, in bytes: the largest
	// module and as much again.
	MaxBytes = 2 * manifest.MaxModule
	// MaxFiles is the maximum number of files and directories.
	MaxFiles = 1024

	maxName  = 1024 // bytes
	maxDepth = 32

	// What is not a file's content: headers, and the padding of each file.
	maxOverhead = 16 << 20
)

// Extract writes the files of an archive into dir, an empty directory. It reads r to its
// end. After an error, dir contains a part of the files.
//
// It refuses an archive with anything but regular files and directories, with a path that
// is absolute, contains `..`, or occurs twice (also if only the case of its letters
// differs), over one of the limits, that is damaged, or that contains anything after its
// end: another reader might see other files in it. Modes, owners and times are ignored.
func Extract(r io.Reader, dir string) error {
	if err := extract(r, dir); err != nil {
		return fmt.Errorf("read the archive: %w", err)
	}
	return nil
}

func extract(r io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // each file is closed by then
	source := bufio.NewReader(r)        // gzip reads no further than its end from one
	unzipped, err := gzip.NewReader(source)
	if err != nil {
		return fmt.Errorf("it is no gzip file: %w", err)
	}
	unzipped.Multistream(false) // Astrid reads one stream
	bounded := &io.LimitedReader{R: unzipped, N: MaxBytes + maxOverhead + 1}
	x := extraction{root: root, tar: tar.NewReader(bounded), seen: map[string]bool{}}
	for {
		header, err := x.tar.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = x.entry(header)
		}
		if bounded.N <= 0 {
			return tooMuch()
		}
		if err != nil {
			return err
		}
	}
	return ended(bounded, source)
}

// ended reads the padding after a tar file's end, and with it gzip's checksum. Nothing may
// follow it.
func ended(bounded *io.LimitedReader, source *bufio.Reader) error {
	var padding, zeros [32 << 10]byte
	for {
		n, err := bounded.Read(padding[:])
		switch {
		case !bytes.Equal(padding[:n], zeros[:n]):
			return errors.New("it has data after its end")
		case bounded.N <= 0:
			return tooMuch()
		case errors.Is(err, io.EOF):
			if _, err := source.ReadByte(); !errors.Is(err, io.EOF) {
				return errors.New("it has data after its end")
			}
			return nil
		case err != nil:
			return err
		}
	}
}

func tooMuch() error {
	return fmt.Errorf("its files have more than %d bytes, the limit", MaxBytes)
}

// extraction is the state of one Extract.
type extraction struct {
	root  *os.Root
	tar   *tar.Reader
	seen  map[string]bool // paths of entries in lower case; true for a directory
	files int
	bytes int64
}

// entry writes one file or directory.
func (x *extraction) entry(h *tar.Header) error {
	if x.files++; x.files > MaxFiles {
		return fmt.Errorf("it has more than %d files and directories, the limit", MaxFiles)
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // settings for all that follows; git writes a comment
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return fmt.Errorf("%q is a sparse file, and must be a plain one", name)
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return x.directory(name)
	case tar.TypeReg:
		if strings.HasSuffix(h.Name, "/") {
			return fmt.Errorf("%q is a file with the name of a directory", h.Name)
		}
		return x.file(name, h.Size)
	default:
		return fmt.Errorf("%q is %s, and only files and directories are allowed", name, kind(h.Typeflag))
	}
}

// cleanName returns an entry's path with slashes, without a leading "./" and a trailing
// slash; "." is the archive's top.
func cleanName(name string) (string, error) {
	switch {
	case name == "":
		return "", errors.New("an entry has no name")
	case len(name) > maxName:
		return "", fmt.Errorf("the path %.40q... has %d bytes: at most %d are allowed", name, len(name), maxName)
	case !utf8.ValidString(name):
		return "", fmt.Errorf("the path %q is not UTF-8", name)
	case strings.HasPrefix(name, "/"):
		return "", fmt.Errorf("the path %q is absolute", name)
	case strings.ContainsFunc(name, func(r rune) bool { return r == '\\' || r == ':' || unicode.Is(unicode.C, r) }):
		return "", fmt.Errorf("the path %q contains a backslash, a colon or a control character", name)
	case strings.Count(name, "/") > maxDepth:
		return "", fmt.Errorf("the path %.40q... is more than %d directories deep", name, maxDepth)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("the path %q contains `..`", name)
		}
	}
	return path.Clean(name), nil
}

// directory creates a directory, and those above it. It may exist.
func (x *extraction) directory(name string) error {
	for at := name; at != "."; at = path.Dir(at) {
		key := strings.ToLower(at)
		if isDir, known := x.seen[key]; known && !isDir {
			return fmt.Errorf("%q is a file and a directory", at)
		}
		x.seen[key] = true
	}
	if len(x.seen) > MaxFiles {
		return fmt.Errorf("it has more than %d files and directories, the limit", MaxFiles)
	}
	return x.root.MkdirAll(name, 0o755)
}

// file creates a file, which must not exist.
func (x *extraction) file(name string, size int64) (err error) {
	key := strings.ToLower(name)
	isDir, known := x.seen[key]
	switch {
	case name == "." || known && isDir:
		return fmt.Errorf("%q is a file and a directory", name)
	case known:
		return fmt.Errorf("%q is there twice", name)
	case size > MaxBytes-x.bytes:
		return tooMuch()
	}
	x.seen[key] = false
	x.bytes += size
	if err := x.directory(path.Dir(name)); err != nil {
		return err
	}
	f, err := x.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, x.tar); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	return nil
}

// kind names a type of entries that is refused.
func kind(typeflag byte) string {
	switch typeflag {
	case tar.TypeSymlink:
		return "a symbolic link"
	case tar.TypeLink:
		return "a hard link"
	case tar.TypeChar, tar.TypeBlock:
		return "a device"
	case tar.TypeFifo:
		return "a pipe"
	case tar.TypeGNUSparse:
		return "a sparse file"
	default:
		return fmt.Sprintf("of type %q", typeflag)
	}
}
