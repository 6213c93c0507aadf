package secrets

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

const prefix = "secret/"

// keySize is that of AES-256.
const keySize = 32

// Box keeps the secrets of all capsules. Its methods may be called from any goroutine. No
// error of theirs contains a secret.
type Box struct {
	store     store.Store
	path      string // of the key file
	principal string

	mu   sync.Mutex
	aead cipher.AEAD // nil until it is first needed
}

// New returns the box in a store, with the path of its key file, which need not exist.
// principal is the one that owns the capsules.
func New(s store.Store, path, principal string) *Box {
	return &Box{store: s, path: path, principal: principal}
}

func (b *Box) at(capsule, name string) string {
	return prefix + b.principal + "/" + capsule + "/" + name
}

// Set keeps a secret, in place of an earlier one. It is durable when Set returns nil.
func (b *Box) Set(ctx context.Context, capsule, name, value string) error {
	if err := capsulehost.CheckSecretKey(name); err != nil {
		return err
	}
	if value == "" {
		return errors.New("a secret must not be empty")
	}
	aead, err := b.cipher(true)
	if err != nil {
		return err
	}
	at := b.at(capsule, name)
	sealed := aead.Seal(nil, nil, []byte(value), []byte(at)) //nolint:gosec // the cipher makes a random nonce itself
	_, err = b.store.Txn(ctx, store.Fence{}, nil, []store.Write{store.Put(at, sealed)})
	return err
}

// Has reports whether a secret is kept, without decrypting it.
func (b *Box) Has(ctx context.Context, capsule, name string) (bool, error) {
	_, err := b.store.Get(ctx, b.at(capsule, name))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Get returns a secret. Its error matches store.ErrNotFound if there is none.
func (b *Box) Get(ctx context.Context, capsule, name string) (string, error) {
	at := b.at(capsule, name)
	e, err := b.store.Get(ctx, at)
	if err != nil {
		return "", err
	}
	aead, err := b.cipher(false)
	if err != nil {
		return "", err
	}
	value, err := aead.Open(nil, nil, e.Value, []byte(at))
	if err != nil {
		return "", fmt.Errorf("the secret %q of capsule %q was not encrypted with the key in %s", name, capsule, b.path)
	}
	return string(value), nil
}

// Delete forgets a secret, and reports whether there was one.
func (b *Box) Delete(ctx context.Context, capsule, name string) (existed bool, err error) {
	if existed, err = b.Has(ctx, capsule, name); err == nil && existed {
		_, err = b.store.Txn(ctx, store.Fence{}, nil, []store.Write{store.Delete(b.at(capsule, name))})
	}
	return existed, err
}

// cipher returns what encrypts and decrypts, with the key of the file; it makes the file if
// there is none and it may.
func (b *Box) cipher(mayMake bool) (cipher.AEAD, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.aead != nil {
		return b.aead, nil
	}
	key, err := readKey(b.path)
	if errors.Is(err, fs.ErrNotExist) && mayMake {
		if err = makeKey(b.path); err == nil {
			key, err = readKey(b.path) // perhaps another process's
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the key of the secrets: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err == nil {
		b.aead, err = cipher.NewGCMWithRandomNonce(block)
	}
	return b.aead, err
}

func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %#o: others than its owner could read it: chmod 600", path, mode)
	}
	key, err := os.ReadFile(path)
	if err == nil && len(key) != keySize {
		err = fmt.Errorf("%s has %d bytes instead of %d: it is damaged", path, len(key), keySize)
	}
	return key, err
}

// makeKey makes the file, complete, unless there is one by now.
func makeKey(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	_, err = f.Write(key)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir, err := os.Open(filepath.Dir(path)) // its name must last as long as what it has encrypted
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
