package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Maximum sizes of files; larger ones are refused.
const (
	maxManifest = 256 << 10
	maxJSON     = 1 << 20 // meta.json and environment files
	// MaxModule is the maximum size of a module in bytes.
	MaxModule = 128 << 20
)

// readRegular reads a whole regular file. It refuses others: reading a pipe may block
// forever, and a device may have no end.
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
	if int64(text.Len()) > limit { // it grew since Stat
		return nil, nil, tooLarge(limit)
	}
	return text.Bytes(), info, nil
}

func tooLarge(limit int64) error { return fmt.Errorf("it has more than %d bytes, the limit", limit) }

// fileSystem is the source of readRegular: either an *os.Root, which no path can leave, or
// the whole file system.
type fileSystem interface {
	Stat(name string) (fs.FileInfo, error)
	Open(name string) (*os.File, error)
}

var _ fileSystem = (*os.Root)(nil)

// everywhere is the whole file system.
type everywhere struct{}

func (everywhere) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }
func (everywhere) Open(name string) (*os.File, error)    { return os.Open(name) }

// plain removes the operation and the path from an error, since the callers add both.
func plain(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}
