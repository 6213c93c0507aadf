package capsulelog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

// keptDays is the number of days before today whose files are kept.
const keptDays = 7

// day is a day in UTC, counted from 1970-01-01.
type day int64

const secondsADay = 24 * 60 * 60

func dayOf(t time.Time) day {
	seconds := t.Unix()
	if seconds < 0 {
		seconds -= secondsADay - 1
	}
	return day(seconds / secondsADay)
}

// fileName returns the name of a day's file: 2026-03-01.log.
func (d day) fileName() string {
	return time.Unix(int64(d)*secondsADay, 0).UTC().Format(time.DateOnly) + ".log"
}

// parseFileName reverses fileName. It accepts only names that fileName returns.
func parseFileName(name string) (day, bool) {
	t, err := time.Parse(time.DateOnly, strings.TrimSuffix(name, ".log"))
	if err != nil {
		return 0, false
	}
	d := dayOf(t)
	return d, d.fileName() == name
}

// openLog opens a day's log file for appending. If the file is missing, it creates the
// file and its directories if create is set, and else returns fs.ErrNotExist. It never
// leaves the home: the names are validated before, and os.Root refuses links that lead out.
func openLog(h home.Home, p home.Principal, capsule string, d day, create bool) (*os.File, error) {
	// O_NONBLOCK, so that a pipe with this name cannot block a guest. O_RDWR, to check
	// whether the last line is complete.
	flags := os.O_RDWR | os.O_APPEND | syscall.O_NONBLOCK
	if create {
		flags |= os.O_CREATE
		if err := os.MkdirAll(h.Dir(), 0o700); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(h.Dir())
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // nothing was written through it
	dir, err := filepath.Rel(h.Dir(), h.LogDir(p, capsule))
	if err != nil {
		return nil, err
	}
	if create {
		if err := root.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	f, err := root.OpenFile(filepath.Join(dir, d.fileName()), flags, 0o600)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is no regular file", f.Name()), f.Close())
	}
	return f, nil
}

// hasHome reports whether a principal has a directory in the home.
func hasHome(h home.Home, p home.Principal) bool {
	info, err := os.Lstat(h.PrincipalDir(p))
	return err == nil && info.IsDir()
}

// deleteOld deletes the files of a capsule's log that are older than keptDays, and
// nothing else. A file's day is the one in its name.
func deleteOld(h home.Home, p home.Principal, capsule string, today day) error {
	root, err := os.OpenRoot(h.Dir())
	if err != nil {
		return ignoreMissing(err)
	}
	defer func() { _ = root.Close() }() // nothing was written through it
	path, err := filepath.Rel(h.Dir(), h.LogDir(p, capsule))
	if err != nil {
		return err
	}
	dir, err := root.OpenRoot(path)
	if err != nil {
		return ignoreMissing(err)
	}
	defer func() { _ = dir.Close() }()
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return err
	}
	var failed []error
	for _, entry := range entries {
		d, ok := parseFileName(entry.Name())
		if ok && d < today-keptDays && entry.Type().IsRegular() {
			failed = append(failed, ignoreMissing(dir.Remove(entry.Name())))
		}
	}
	return errors.Join(failed...)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
