package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Larger files are not read.
const (
	maxManifest = 256 << 10
	maxJSON     = 1 << 20 // meta.json and environment files
	// MaxModule is the size of the largest module that is loaded, in bytes.
	MaxModule = 128 << 20
)

// readRegular reads a whole file, and only a plain one: a pipe would keep its
// reader waiting for ever, and a device has no end.
func readRegular(dir fileSystem, name string, limit int64) ([]byte, fs.FileInfo, error) {
	info, err := dir.Stat(name)
	switch {
	case err != nil:
		return nil, nil, plain(err)
	case !info.Mode().IsRegular():
		return nil, nil, errors.New("it is no regular file")
	case info.Size() > limit:
		return nil, nil, tooLarge(limit)
	}
	f, err := dir.Open(name)
	if err != nil {
		return nil, nil, plain(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	text := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err := text.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, nil, plain(err)
	}
	if int64(text.Len()) > limit { // it has grown
		return nil, nil, tooLarge(limit)
	}
	return text.Bytes(), info, nil
}

func tooLarge(limit int64) error { return fmt.Errorf("it has more than %d bytes, the limit", limit) }

// fileSystem is what readRegular reads from: an *os.Root, which nothing leads
// out of, or all that there is.
type fileSystem interface {
	Stat(name string) (fs.FileInfo, error)
	Open(name string) (*os.File, error)
}

var _ fileSystem = (*os.Root)(nil)

// everywhere is the whole file system.
type everywhere struct{}

func (everywhere) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }
func (everywhere) Open(name string) (*os.File, error)    { return os.Open(name) }

// plain takes the operation and the path off an error: ours say both themselves.
func plain(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}
