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
	"time"

	"github.com/fsnotify/fsnotify"
)

// quiet is how long nothing may be written before a change counts: an editor writes a file
// in several steps, and saves several files at once.
const quiet = 30 * time.Millisecond

// fileWatch finds out which files below a directory have changed. It is used by one
// goroutine.
type fileWatch struct {
	root   string
	skip   func(path string, d fs.DirEntry) bool
	notify *fsnotify.Watcher
	seen   map[string]stamp
}

// stamp changes when a file is written.
type stamp struct {
	size int64
	time time.Time
}

// watchFiles starts to watch the files below root, without those that skip returns true for;
// it gets paths relative to root. Close it at the end.
func watchFiles(root string, skip func(path string, d fs.DirEntry) bool) (*fileWatch, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", root, err)
	}
	w := &fileWatch{root: root, skip: skip, notify: notify}
	if w.seen, err = w.scan(); err != nil {
		return nil, errors.Join(err, notify.Close())
	}
	return w, nil
}

// close ends the watch.
func (w *fileWatch) close() error { return w.notify.Close() }

// next waits until files have changed since the last look, and are complete, and returns
// their paths, relative to the root and sorted. It returns ctx's error when ctx ends.
func (w *fileWatch) next(ctx context.Context) ([]string, error) {
	settled := time.NewTimer(quiet) // what has changed since the last look counts, too
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case err, open := <-w.notify.Errors:
			if !open || !errors.Is(err, fsnotify.ErrEventOverflow) { // after which the look finds out
				return nil, fmt.Errorf("watch %s: %w", w.root, err)
			}
			settled.Reset(quiet)
		case <-w.notify.Events:
			settled.Reset(quiet)
		case <-settled.C:
			if changed, err := w.look(); err != nil || len(changed) > 0 {
				return changed, err
			}
		}
	}
}

// look returns what has changed since the last look.
func (w *fileWatch) look() ([]string, error) {
	now, err := w.scan()
	if err != nil {
		return nil, err
	}
	var changed []string
	for path, s := range now {
		if w.seen[path] != s {
			changed = append(changed, path)
		}
	}
	for path := range maps.Keys(w.seen) {
		if _, still := now[path]; !still {
			changed = append(changed, path)
		}
	}
	w.seen = now
	slices.Sort(changed)
	return changed, nil
}

// scan reads the files' stamps, and watches directories that are new.
func (w *fileWatch) scan() (map[string]stamp, error) {
	found := map[string]stamp{}
	err := filepath.WalkDir(w.root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != w.root {
			return nil // it was removed meanwhile
		}
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(w.root, path)
		if err != nil {
			return err
		}
		switch {
		case path != w.root && w.skip(relative, d) && d.IsDir():
			return fs.SkipDir
		case path != w.root && w.skip(relative, d):
			return nil
		case d.IsDir():
			return w.notify.Add(path)
		}
		if info, err := os.Stat(path); err == nil {
			found[relative] = stamp{info.Size(), info.ModTime()}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", w.root, err)
	}
	return found, nil
}
