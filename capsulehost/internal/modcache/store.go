package modcache

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/google/renameio/v2"
)

// Name identifies an entry: a hash of everything that affects its content.
type Name = [32]byte

const (
	// suffix ends the file name of an entry; the name in hex precedes it.
	suffix = ".module"
	// sealSize is the size of the message authentication code at the start of an entry: a
	// nonce and a tag. The name follows it.
	sealSize = 12 + 16
	headSize = sealSize + len(Name{})
	// maxEntry limits the size that is read from a file, which may not be ours.
	maxEntry = 512 << 20
	// maxTotal limits the size of all entries together, in bytes.
	maxTotal = 4 << 30
)

// Store is a directory of entries. It is safe for concurrent use. A nil Store has no
// entries and stores none.
type Store struct {
	dir   string
	log   *slog.Logger
	total int64        // limit of the size of all entries
	added atomic.Int64 // bytes written since the last sweep
	// mac is AES-GCM without plaintext, which authenticates its additional data. It is three
	// times as fast as a keyed hash. Each seal has a random nonce.
	mac cipher.AEAD

	damaged, unwritten sync.Once // log each kind of problem once
}

// Open returns the store in a directory, and creates the directory if it is missing. If the
// directory can't be used, Open logs the reason and returns nil.
func Open(dir string, log *slog.Logger) *Store {
	s := &Store{dir: dir, log: log, total: maxTotal}
	if err := s.open(); err != nil {
		log.Warn("the cache of compiled modules can't be used: every start compiles them anew",
			"dir", dir, "error", err, "hint", "give a directory of this user, with room in it")
		return nil
	}
	return s
}

func (s *Store) open() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(s.dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", s.dir)
	}
	if err := owned(info); err != nil {
		return fmt.Errorf("%s %w", s.dir, err)
	}
	key, err := s.loadKey()
	if err != nil {
		return err
	}
	s.sweep()
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return err
	}
	s.mac, err = cipher.NewGCMWithRandomNonce(block)
	return err
}

// owned returns an error if a file does not belong to the user of this process.
func owned(info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if user := os.Geteuid(); ok && int(stat.Uid) != user {
		return fmt.Errorf("belongs to user %d, and this process to user %d", stat.Uid, user)
	}
	return nil
}

// Get returns the content of an entry, or nil if there is no authentic one.
func (s *Store) Get(name Name) []byte {
	if s == nil {
		return nil
	}
	entry, err := readRegular(s.path(name), maxEntry)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		if err = s.authenticate(name, entry); err == nil {
			s.use(name)
			return entry[headSize:]
		}
	}
	s.damaged.Do(func() {
		s.log.Warn("an entry of the cache of compiled modules can't be trusted: it is compiled anew, as are others like it",
			"file", s.path(name), "error", err)
	})
	return nil
}

// Put stores the concatenated parts as the content of an entry.
func (s *Store) Put(name Name, parts ...[]byte) {
	if s == nil {
		return
	}
	if err := s.write(name, parts); err != nil {
		s.unwritten.Do(func() {
			s.log.Warn("a compiled module can't be kept: the next start compiles it anew", "dir", s.dir, "error", err)
		})
	}
}

// authenticate returns an error if an entry is not authentic.
func (s *Store) authenticate(name Name, entry []byte) error {
	if len(entry) < headSize {
		return fmt.Errorf("it has only %d bytes", len(entry))
	}
	seal, sealed := entry[:sealSize], entry[sealSize:]
	if _, err := s.mac.Open(nil, nil, seal, sealed); err != nil {
		return errors.New("it is damaged, or was not written with this cache's key")
	}
	if Name(sealed) != name {
		return errors.New("it is the entry of another module")
	}
	return nil
}

func (s *Store) write(name Name, parts [][]byte) error {
	size := headSize
	for _, p := range parts {
		size += len(p)
	}
	if size > maxEntry {
		return fmt.Errorf("it has %d bytes; an entry has at most %d", size, maxEntry)
	}
	entry := append(make([]byte, sealSize, size), name[:]...)
	for _, p := range parts {
		entry = append(entry, p...)
	}
	copy(entry, s.mac.Seal(nil, nil, nil, entry[sealSize:])) //nolint:gosec // this AEAD generates its own nonce
	file, err := renameio.NewPendingFile(s.path(name), renameio.WithTempDir(s.dir), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer file.Cleanup() //nolint:errcheck // the write's error matters
	if _, err := file.Write(entry); err != nil {
		return err
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return err
	}
	s.grow(int64(size))
	return nil
}

func (s *Store) path(name Name) string {
	return filepath.Join(s.dir, hex.EncodeToString(name[:])+suffix)
}

// readRegular reads a regular file no larger than most bytes. It follows no symbolic link and
// never blocks, since the path may be anything.
func readRegular(path string, most int64) ([]byte, error) {
	f, info, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > most {
		return nil, fmt.Errorf("it has %d bytes, more than %d", info.Size(), most)
	}
	content := make([]byte, info.Size())
	_, err = io.ReadFull(f, content)
	return content, err
}

func openRegular(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}
