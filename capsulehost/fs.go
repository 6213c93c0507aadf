package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// Limits of the calls for files, in bytes.
const (
	maxPath = 4 << 10
	maxFile = 10 << 20
)

// Files are what a guest may read and write. A path is UTF-8 of at most 4 KiB; a file
// has at most 10 MiB. The text of an error is shown to the guest. Methods return when
// their context ends. Package files implements it.
type Files interface {
	ReadFile(ctx context.Context, path string) ([]byte, error)
	WriteFile(ctx context.Context, path string, data []byte) error
	Exists(ctx context.Context, path string) (bool, error)
	Stat(ctx context.Context, path string) (FileStat, error)
	// ReadDir returns the names in a directory.
	ReadDir(ctx context.Context, path string) ([]string, error)
	// Mkdir makes a directory and those above it. It may exist already.
	Mkdir(ctx context.Context, path string) error
	// Remove removes a file or an empty directory.
	Remove(ctx context.Context, path string) error
}

// FileStat describes a file or directory.
type FileStat struct {
	Size    int64 // bytes
	Dir     bool
	ModTime time.Time
}

// fileCalls are the calls for files. Those with a result report their errors in it, with
// a status byte; an error of the others traps.
var fileCalls = []hostFunction{
	{"astrid_read_file", []api.ValueType{i64}, []api.ValueType{i64}, statusOf(func(ctx context.Context, f Files, path string) (string, error) {
		data, err := f.ReadFile(ctx, path)
		return string(data), err
	})},
	{"astrid_fs_exists", []api.ValueType{i64}, []api.ValueType{i64}, statusOf(func(ctx context.Context, f Files, path string) (string, error) {
		found, err := f.Exists(ctx, path)
		if !found {
			return "", err
		}
		return "true", err
	})},
	{"astrid_fs_stat", []api.ValueType{i64}, []api.ValueType{i64}, statusOf(func(ctx context.Context, f Files, path string) (string, error) {
		stat, err := f.Stat(ctx, path)
		return fmt.Sprintf(`{"isDir":%t,"mtime":%d,"size":%d}`, stat.Dir, max(0, stat.ModTime.Unix()), stat.Size), err
	})},
	{"astrid_fs_readdir", []api.ValueType{i64}, []api.ValueType{i64}, statusOf(func(ctx context.Context, f Files, path string) (string, error) {
		names, err := f.ReadDir(ctx, path)
		text := []byte{'['}
		for n, name := range names {
			if n > 0 {
				text = append(text, ',')
			}
			text = serdejson.AppendString(text, lossy([]byte(name)))
		}
		return string(append(text, ']')), err
	})},
	{"astrid_fs_mkdir", []api.ValueType{i64}, nil, changing(Files.Mkdir)},
	{"astrid_fs_unlink", []api.ValueType{i64}, nil, changing(Files.Remove)},
	{"astrid_write_file", []api.ValueType{i64, i64}, nil, func(ctx context.Context, i *Instance, stack []uint64) error {
		data, err := i.bytes("content", stack[1], maxFile)
		if err != nil {
			return err
		}
		return changing(func(f Files, ctx context.Context, path string) error {
			return f.WriteFile(ctx, path, data)
		})(ctx, i, stack)
	}},
}

// errNoFiles is the answer to a guest that was not granted any files.
var errNoFiles = errors.New("no files are granted to this capsule: its manifest has neither fs_read nor fs_write")

// statusOf returns a call that reads, and puts a status byte before its result: 0 and
// the result, or 1 and the error's text.
func statusOf(read func(ctx context.Context, f Files, path string) (string, error)) func(context.Context, *Instance, []uint64) error {
	return func(_ context.Context, i *Instance, stack []uint64) error {
		path, err := i.bytes("path", stack[0], maxPath)
		if err != nil {
			return err
		}
		var result string
		err = errNoFiles
		if files := i.services().Files; files != nil {
			i.outside(func() { result, err = read(i.ctx, files, string(path)) })
		}
		return i.answerStatus(stack, []byte(result), err)
	}
}

// changing returns a call that changes a file.
func changing(change func(f Files, ctx context.Context, path string) error) func(context.Context, *Instance, []uint64) error {
	return func(_ context.Context, i *Instance, stack []uint64) error {
		path, err := i.bytes("path", stack[0], maxPath)
		if err != nil {
			return err
		}
		files := i.services().Files
		if files == nil {
			return errNoFiles
		}
		i.outside(func() { err = change(files, i.ctx, string(path)) })
		return err
	}
}
