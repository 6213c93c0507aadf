package store

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// mapped is how much address space a file is given at first. As long as it fits, a long
// reader, such as a backup, holds up no writer.
const mapped = 1 << 30

// Open opens the store in a file, and creates it with its directory if there is none.
// It reads all of an existing file, some 1 s for each GB, to find damage. Its error
// matches ErrLocked at once if another process has opened the file, and ErrDamaged if
// the file is not what was written to it; then nothing was changed.
func Open(path string, opts Options) (*Bolt, error) {
	opts.Durability = cmp.Or(opts.Durability, DurabilityCommit)
	opts.Interval = cmp.Or(opts.Interval, time.Second)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Durability != DurabilityCommit && opts.Durability != DurabilityInterval {
		return nil, fmt.Errorf("open the state in %s: durability is %q: it must be %q or %q",
			path, opts.Durability, DurabilityCommit, DurabilityInterval)
	}
	b := &Bolt{path: path, opts: opts, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	if err := b.open(); err != nil {
		return nil, err
	}
	go b.commits()
	return b, nil
}

// open opens the file, and creates one if there is none.
func (b *Bolt) open() error {
	if _, err := os.Stat(b.path); errors.Is(err, fs.ErrNotExist) {
		if err := create(b.path); err != nil {
			return fmt.Errorf("create the state in %s: %w", b.path, err)
		}
	}
	if err := check(b.path); err != nil {
		return err
	}
	return b.contain(func() error {
		db, err := openFile(b.path)
		if err != nil {
			return err
		}
		b.db = db
		b.measure()
		return nil
	})
}

func openFile(path string) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: time.Nanosecond, // at once
		// A map is faster than a list if there are many free pages.
		FreelistType: bbolt.FreelistMapType, InitialMmapSize: mapped, NoStatistics: true,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		err = ErrLocked
	}
	if err != nil {
		return nil, fmt.Errorf("open the state in %s: %w", path, err)
	}
	return db, nil
}

// create makes an empty store. It appears under its name when it is complete: so an
// existing file that is empty or too short is damaged, not new.
func create(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(dir, ".new-state-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary.Name()) }() // its other name remains
	if err := temporary.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(temporary.Name(), 0o600, nil)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(bucketName)
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	// Unlike a rename, this does not replace what another process has just created.
	if err := os.Link(temporary.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// check looks for damage in a file, under a lock that keeps writers out.
func check(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the state: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	unlock, err := lockShared(f)
	if err != nil {
		return fmt.Errorf("open the state in %s: %w", path, err)
	}
	defer unlock()
	if err := verify(f); err != nil {
		return &DamageError{Path: path, Problem: err.Error()}
	}
	return nil
}
