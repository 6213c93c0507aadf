package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// Backup writes all state as of one moment to w: a file for Restore, or for Open. Writers
// go on meanwhile; what they write is not in it.
func (b *Bolt) Backup(w io.Writer) error {
	b.flush()
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.db == nil {
		return ErrClosed
	}
	return b.contain(func() error {
		tx, err := b.db.Begin(false)
		if err != nil {
			return ErrClosed
		}
		defer func() { _ = tx.Rollback() }() // it ends a read
		if _, err := tx.WriteTo(w); err != nil {
			return fmt.Errorf("back up the state in %s: %w", b.path, err)
		}
		return nil
	})
}

// BackupFile writes the backup of a store that nothing has opened.
func BackupFile(path string, w io.Writer) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("back up the state: %w", err)
	}
	b, err := Open(path, Options{})
	if err != nil {
		return err
	}
	return errors.Join(b.Backup(w), b.Close())
}

// Restore replaces all state by a backup, at one moment. A backup that is damaged
// changes nothing. Fences keep their numbers, so that no earlier generation can write;
// revisions go on above the present ones. Watchers end with ErrLagged.
func (b *Bolt) Restore(r io.Reader) error {
	temporary, err := receive(b.path, r)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary) }() // if it was not used
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.db == nil {
		return ErrClosed
	}
	b.txMu.Lock()
	b.abandon() // what is not committed yet would be replaced anyway
	b.txMu.Unlock()
	err = b.contain(func() error { return carryOver(b.db, temporary) })
	if err != nil {
		return fmt.Errorf("restore the state in %s: %w", b.path, err)
	}
	b.readers.beginWrite()
	err = b.db.Close()
	b.readers.endWrite()
	if err != nil {
		return fmt.Errorf("restore the state in %s: %w", b.path, err)
	}
	b.db = nil
	replaced := replaceFile(temporary, b.path)
	b.broken = nil
	if err := errors.Join(replaced, b.open()); err != nil {
		return fmt.Errorf("restore the state in %s: %w", b.path, err)
	}
	b.hub.lag()
	return nil
}

// RestoreFile is Restore for a store that nothing has opened. There need not be one. If
// there is one that is damaged, it is kept: kept is its new name.
func RestoreFile(path string, r io.Reader) (kept string, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("restore the state in %s: %w", path, err)
	}
	b, err := Open(path, Options{})
	if err == nil {
		return "", errors.Join(b.Restore(r), b.Close())
	}
	if !errors.Is(err, ErrDamaged) {
		return "", err
	}
	temporary, err := receive(path, r)
	if err != nil {
		return "", err
	}
	kept = path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000")
	if err := os.Rename(path, kept); err != nil {
		return "", fmt.Errorf("restore the state in %s: %w", path, err)
	}
	return kept, replaceFile(temporary, path)
}

// receive writes a backup to a file beside path, and checks it.
func receive(path string, r io.Reader) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".restored-state-*")
	if err != nil {
		return "", fmt.Errorf("restore the state in %s: %w", path, err)
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		if err = verify(f); err != nil {
			err = fmt.Errorf("nothing was changed: %w", &DamageError{Path: "the backup", Problem: err.Error()})
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("restore the state in %s: %w", path, err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// carryOver copies to a backup what must not go back: the fences and the revision.
func carryOver(db *bbolt.DB, backup string) error {
	restored, err := openFile(backup)
	if err != nil {
		return err
	}
	err = db.View(func(from *bbolt.Tx) error {
		return restored.Update(func(to *bbolt.Tx) error { return carryFences(from.Bucket(bucketName), to.Bucket(bucketName)) })
	})
	return errors.Join(err, restored.Close())
}

func carryFences(from, to *bbolt.Bucket) error {
	source, target := &boltState{bucket: from}, &boltState{bucket: to}
	revision := max(from.Sequence(), to.Sequence()) + 1
	cursor := from.Cursor()
	for key, _ := cursor.Seek([]byte(fencePrefix)); strings.HasPrefix(string(key), fencePrefix); key, _ = cursor.Next() {
		value, _, _ := source.get(string(key))
		old, _, _ := target.get(string(key))
		if number(old) >= number(value) {
			continue
		}
		if err := target.put(string(key), value, revision); err != nil {
			return err
		}
	}
	return errors.Join(source.err, target.err, to.SetSequence(revision))
}

// number reads a fence; 0 if it is none.
func number(value []byte) uint64 {
	n, err := strconv.ParseUint(string(value), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// replaceFile renames a file durably.
func replaceFile(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	err := syncDir(filepath.Dir(to))
	if errors.Is(err, fs.ErrInvalid) {
		return nil // some file systems can't sync a directory
	}
	return err
}
