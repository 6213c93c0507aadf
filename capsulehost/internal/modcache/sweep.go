package modcache

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// abandonedAfter is the age from which a temporary file is considered to belong to a
	// killed process.
	abandonedAfter = time.Hour
	// usedEvery is how often the use of an entry is recorded, as its file's modification
	// time.
	usedEvery = time.Hour
)

// use records that an entry is used.
func (s *Store) use(name Name) {
	info, err := os.Stat(s.path(name))
	if now := time.Now(); err == nil && now.Sub(info.ModTime()) >= usedEvery {
		_ = os.Chtimes(s.path(name), now, now) // without it the entry is removed earlier
	}
}

// grow sweeps after each eighth of the limit that is written.
func (s *Store) grow(bytes int64) {
	if s.added.Add(bytes) >= s.total/8 {
		s.sweep()
	}
}

// sweep removes the temporary files of processes that were killed. If the entries are
// larger than the limit together, it also removes those that were not used for the
// longest time, until seven eighths of the limit are left. Other processes may use and
// sweep the same directory: an entry that is missing is compiled again.
func (s *Store) sweep() {
	s.added.Store(0)
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return // without read permission its entries are still usable
	}
	var entries []os.FileInfo
	var size int64
	for _, f := range files {
		info, err := f.Info()
		switch {
		case err != nil || !info.Mode().IsRegular():
		case strings.HasSuffix(f.Name(), suffix):
			entries = append(entries, info)
			size += info.Size()
		case strings.HasPrefix(f.Name(), ".") && time.Since(info.ModTime()) > abandonedAfter:
			_ = os.Remove(filepath.Join(s.dir, f.Name())) // a leftover does no harm
		}
	}
	if size <= s.total {
		return
	}
	slices.SortFunc(entries, func(a, b os.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	for _, e := range entries {
		if size <= s.total/8*7 {
			return
		}
		if err := os.Remove(filepath.Join(s.dir, e.Name())); err == nil {
			size -= e.Size()
		}
	}
}
