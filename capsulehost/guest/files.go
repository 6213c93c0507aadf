package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"
)

// Maximum sizes that the host accepts, in bytes.
const (
	maxPath = 4 << 10
	maxFile = 10 << 20
)

// Paths begin with cwd:// (the workspace; also without a scheme), home:// (the
// principal's directory) or /tmp. The manifest grants them with fs_read and fs_write.

// ReadFile returns the content of a file of at most 10 MiB.
func ReadFile(path string) ([]byte, error) {
	content, err := readPath("read", path, abi.ReadFile)
	return []byte(content), err
}

// FileExists reports whether there is something at a path.
func FileExists(path string) (bool, error) {
	found, err := readPath("look for", path, abi.FSExists)
	return found != "", err
}

// FileInfo describes a file or directory.
type FileInfo struct {
	Size    int64
	IsDir   bool
	ModTime time.Time // in whole seconds
}

// Stat describes a file or directory.
func Stat(path string) (FileInfo, error) {
	text, err := readPath("stat", path, abi.FSStat)
	if err != nil {
		return FileInfo{}, err
	}
	var info struct {
		Size  int64 `json:"size"`
		IsDir bool  `json:"isDir"`
		MTime int64 `json:"mtime"`
	}
	if err := json.Unmarshal([]byte(text), &info); err != nil {
		return FileInfo{}, fmt.Errorf("stat %q: read the answer: %w", path, err)
	}
	return FileInfo{info.Size, info.IsDir, time.Unix(info.MTime, 0)}, nil
}

// ReadDir returns the sorted names in a directory.
func ReadDir(path string) ([]string, error) {
	text, err := readPath("list", path, abi.FSReadDir)
	if err != nil {
		return nil, err
	}
	var names []string
	if err := json.Unmarshal([]byte(text), &names); err != nil {
		return nil, fmt.Errorf("list %q: read the answer: %w", path, err)
	}
	return names, nil
}

// readPath makes a call whose result has a status byte.
func readPath(verb, path string, call func(string) string) (string, error) {
	if len(path) > maxPath {
		return "", tooLong(verb, path)
	}
	result := call(path)
	if result == "" {
		return "", fmt.Errorf("%s %q: the host has not answered", verb, path)
	}
	if result[0] != 0 {
		return "", errors.New(result[1:]) // it begins with the operation and the path
	}
	return result[1:], nil
}

func tooLong(verb, path string) error {
	return fmt.Errorf("%s %.100q: the path has %d bytes, the host takes %d", verb, path, len(path), maxPath)
}

// WriteFile replaces a file, or creates one. Below cwd:// it also creates the
// directories. The error concerns the sizes only: if the host refuses the write, because
// it is not granted or over the quota, it ends the capsule. So do Mkdir and Remove.
func WriteFile(path string, content []byte) error {
	if len(path) > maxPath {
		return tooLong("write", path)
	}
	if len(content) > maxFile {
		return fmt.Errorf("write %q: %d bytes, the host takes %d", path, len(content), maxFile)
	}
	abi.WriteFile(path, string(content))
	return nil
}

// Mkdir makes a directory and those above it. It may exist already.
func Mkdir(path string) error {
	if len(path) > maxPath {
		return tooLong("make the directory", path)
	}
	abi.FSMkdir(path)
	return nil
}

// Remove removes a file or an empty directory, which must exist.
func Remove(path string) error {
	if len(path) > maxPath {
		return tooLong("remove", path)
	}
	abi.FSUnlink(path)
	return nil
}
