package modcache

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	keyFile = "key"
	keySize = 32
)

// loadKey returns the key of the directory's entries, and makes one where there is
// none that can be trusted. A new key makes all older entries worthless.
func (s *Store) loadKey() (key [keySize]byte, err error) {
	path := filepath.Join(s.dir, keyFile)
	const tries = 3 // others may make one, or remove a bad one, at the same time
	for range tries {
		key, err = readKey(path)
		if err == nil {
			return key, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("the key of the cache of compiled modules can't be trusted: it is replaced, and all modules are compiled anew",
				"file", path, "error", err)
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return key, err
			}
		}
		if err = s.makeKey(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return key, err
		}
	}
	return readKey(path)
}

// readKey reads a key that nobody else could read or choose.
func readKey(path string) (key [keySize]byte, err error) {
	f, info, err := openRegular(path)
	if err != nil {
		return key, err
	}
	defer f.Close()
	if err := owned(info); err != nil {
		return key, fmt.Errorf("it %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return key, fmt.Errorf("its mode is %#o: others than its owner may use it", mode)
	}
	if info.Size() != keySize {
		return key, fmt.Errorf("it has %d bytes, and must have %d", info.Size(), keySize)
	}
	_, err = io.ReadFull(f, key[:])
	return key, err
}

// makeKey makes a key, whole or not at all. Its error is fs.ErrExist where another
// process was first: both then use that one's.
func (s *Store) makeKey(path string) (err error) {
	f, err := os.CreateTemp(s.dir, "."+keyFile) // of mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // it never fails
	_, writeErr := f.Write(key)
	if err := errors.Join(writeErr, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
