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

// loadKey returns the key of the directory's entries. If there is no trustworthy key, it
// creates one, which makes all older entries unusable.
func (s *Store) loadKey() (key [keySize]byte, err error) {
	path := filepath.Join(s.dir, keyFile)
	const tries = 3 // other processes may create or remove a key at the same time
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

// readKey reads a key, and refuses one that another user could have read or written.
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

// makeKey creates a key file atomically. It returns fs.ErrExist if another process was
// first; both then use that key.
func (s *Store) makeKey(path string) (err error) {
	f, err := os.CreateTemp(s.dir, "."+keyFile) // CreateTemp sets mode 0600
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
