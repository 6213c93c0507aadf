package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watched is what a fileWatch looks at.
type watched struct {
	// files are those that count. One need not exist.
	files []string
	// dirs are the directories in which a file or another directory may appear. For one that
	// is missing the nearest directory above it is watched.
	dirs []string
}

// fileWatch finds out which of some files have changed. It is used by one goroutine.
type fileWatch struct {
	list   func() (watched, error)
	quiet  time.Duration
	notify *fsnotify.Watcher
	seen   stamps
	// waits, if not nil, is called once when a change has to wait for a program that has the
	// file open for writing.
	waits func(file string)
}

// stamps are what is known of the files that exist, by their paths.
type stamps map[string]fs.FileInfo

// watchFiles starts to watch the files that list returns; it is called at each look. A
// file has changed when it has stayed the same for the time quiet: an editor writes a file
// in several steps, and saves several files at once. Close the watch at the end.
func watchFiles(quiet time.Duration, list func() (watched, error)) (*fileWatch, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	w := &fileWatch{list: list, quiet: quiet, notify: notify}
	if w.seen, err = w.scan(); err != nil {
		return nil, errors.Join(err, notify.Close())
	}
	return w, nil
}

// close ends the watch.
func (w *fileWatch) close() error { return w.notify.Close() }

// next waits until files have changed since the last look, and are complete, and returns
// their paths, sorted. It returns ctx's error when ctx ends.
func (w *fileWatch) next(ctx context.Context) ([]string, error) {
	timer := time.NewTimer(w.quiet) // what has changed since the last look counts, too
	defer timer.Stop()
	due := true
	var last stamps // of the look before, if it saw a change
	waits := w.waits
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case err, open := <-w.notify.Errors:
			if !open || !errors.Is(err, fsnotify.ErrEventOverflow) { // after which the look finds out
				return nil, fmt.Errorf("watch files: %w", err)
			}
		case <-w.notify.Events:
		case <-timer.C:
			now, err := w.scan()
			if err != nil {
				return nil, err
			}
			changed := now.since(w.seen)
			if due = len(changed) > 0; !due {
				last = nil
				continue
			}
			if last != nil && len(now.since(last)) == 0 {
				n := slices.IndexFunc(changed, now.beingWritten)
				if n < 0 {
					w.seen = now
					return changed, nil
				}
				if waits != nil {
					waits(changed[n])
					waits = nil
				}
			}
			last = now
			timer.Reset(w.quiet)
			continue
		}
		if !due { // an event of a file that does not count must not delay those that do
			timer.Reset(w.quiet)
			due = true
		}
	}
}

// look returns what has changed since the last look, complete or not.
func (w *fileWatch) look() ([]string, error) {
	now, err := w.scan()
	if err != nil {
		return nil, err
	}
	changed := now.since(w.seen)
	w.seen = now
	return changed, nil
}

// scan reads the files' stamps, and watches directories that are new.
func (w *fileWatch) scan() (stamps, error) {
	all, err := w.list()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	for _, dir := range all.dirs {
		if err := w.watch(dir); err != nil {
			return nil, fmt.Errorf("watch %s: %w", dir, err)
		}
	}
	found := stamps{}
	for _, file := range all.files {
		if info, err := os.Stat(file); err == nil {
			found[file] = info
		}
	}
	return found, nil
}

// watch watches a directory, or the nearest one above it that exists. One that can't be
// read has nothing to see.
func (w *fileWatch) watch(dir string) error {
	for {
		err := w.notify.Add(dir)
		above := filepath.Dir(dir)
		switch missing := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR); {
		case errors.Is(err, fs.ErrPermission):
			return nil
		case !missing || above == dir:
			return err
		}
		dir = above
	}
}

// since returns the files that are not as they were in other stamps, sorted.
func (s stamps) since(before stamps) []string {
	var changed []string
	for path, now := range s {
		old := before[path]
		if old == nil || !os.SameFile(now, old) || now.Size() != old.Size() || !now.ModTime().Equal(old.ModTime()) {
			changed = append(changed, path)
		}
	}
	for path := range maps.Keys(before) {
		if s[path] == nil {
			changed = append(changed, path)
		}
	}
	slices.Sort(changed)
	return changed
}

// beingWritten reports whether a program has the file open, and may write more.
func (s stamps) beingWritten(path string) bool {
	info := s[path]
	return info != nil && info.Mode().IsRegular() && openForWriting(path)
}
