package files

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// measureEvery is how often a directory is measured again when its quota would refuse a
// write: somebody may have made room.
const measureEvery = 10 * time.Second

// abandonedAfter is the age of a temporary file that no write can still be using.
const abandonedAfter = time.Hour

// usage is what a directory holds, as counted since it was measured. The first write
// measures it.
type usage struct {
	quota Quota

	mu           sync.Mutex
	bytes, files int64
	measured     time.Time // zero: not yet
}

// usage returns the account of a directory.
func (s *Space) usage(dir string, quota Quota) *usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.usages[dir]
	if u == nil {
		u = &usage{quota: quota}
		s.usages[dir] = u
	}
	return u
}

// reserve counts a write before it happens, or refuses it. A negative number gives room
// back, and is never refused.
func (a *area) reserve(bytes, files int64) error {
	u := a.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	over := func() bool {
		return bytes > 0 && u.bytes+bytes > u.quota.Bytes || files > 0 && u.files+files > u.quota.Files
	}
	if u.measured.IsZero() || over() && time.Since(u.measured) > measureEvery {
		u.bytes, u.files = a.measure()
		u.measured = time.Now()
	}
	if over() {
		return fmt.Errorf("the quota is used up: there would be %d bytes in %d files below %s, and %d bytes in %d files are allowed",
			u.bytes+bytes, u.files+files, a.scheme.show(nil), u.quota.Bytes, u.quota.Files)
	}
	u.bytes, u.files = max(0, u.bytes+bytes), max(0, u.files+files)
	return nil
}

// giveBack undoes reserve for a write that failed.
func (a *area) giveBack(bytes, files int64) {
	u := a.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bytes, u.files = max(0, u.bytes-bytes), max(0, u.files-files)
}

// measure counts what the area holds, and removes temporary files of writes that a
// crash of the daemon cut off.
func (a *area) measure() (bytes, files int64) {
	for _, path := range []string{a.upper, a.records} {
		root, err := openIfExists(path)
		if err != nil || root == nil {
			continue
		}
		_ = fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
			if err != nil || path == "." {
				return nil //nolint:nilerr // what can't be read is not counted
			}
			if slices.Contains(a.hidden, path) {
				return fs.SkipDir
			}
			info, err := entry.Info()
			if err != nil {
				return nil //nolint:nilerr // it was removed meanwhile
			}
			if isTemp(entry.Name()) && time.Since(info.ModTime()) > abandonedAfter {
				_ = root.Remove(path)
				return nil
			}
			files++
			if info.Mode().IsRegular() {
				bytes += info.Size()
			}
			return nil
		})
		_ = root.Close()
	}
	return bytes, files
}

// tempPrefix begins the names of files that are being written. Guests don't see them.
const tempPrefix = ".astrid-write-"

func isTemp(name string) bool { return strings.HasPrefix(name, tempPrefix) }

// replace writes a file beside its place and renames it, so nobody sees half of it. The
// last moment at which it can be stopped is before.
func replace(in *os.Root, name string, data []byte, perm fs.FileMode, before func() error) (err error) {
	temp := tempPrefix + randomText()
	file, err := in.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return plain(err)
	}
	defer func() {
		if err != nil {
			_ = in.Remove(temp)
		}
	}()
	_, err = file.Write(data)
	if err == nil {
		err = file.Chmod(perm)
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = before()
	}
	if err == nil {
		err = in.Rename(temp, name)
	}
	return plain(err)
}
