package secrets

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

const value = "correct horse battery staple"

func TestSecrets(t *testing.T) {
	s, path := store.NewMemory(), filepath.Join(t.TempDir(), "state", "key")
	b := New(s, path, "owner")
	if ok, err := b.Has(t.Context(), "one", "k"); ok || err != nil {
		t.Fatalf("before: %t, %v", ok, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a key was made for no secret: %v", err)
	}
	if err := b.Set(t.Context(), "one", "k", value); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || info.Size() != keySize {
		t.Errorf("the key file: %v, %v", info, err)
	}
	again := New(s, path, "owner")
	if got, err := again.Get(t.Context(), "one", "k"); got != value || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := again.Get(t.Context(), "two", "k"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("another capsule's: %v", err)
	}
	entries, err := s.List(t.Context(), store.Range{})
	if err != nil || len(entries) != 1 || bytes.Contains(entries[0].Value, []byte("horse")) {
		t.Fatalf("the store has %v, %v", entries, err)
	}
	// Moved to another capsule, it can't be decrypted.
	if _, err := s.Txn(t.Context(), store.Fence{}, nil, []store.Write{store.Put("secret/owner/two/k", entries[0].Value)}); err != nil {
		t.Fatal(err)
	}
	if got, err := again.Get(t.Context(), "two", "k"); err == nil || strings.Contains(err.Error(), value) {
		t.Errorf("moved: %q, %v", got, err)
	}
	if existed, err := again.Delete(t.Context(), "one", "k"); !existed || err != nil {
		t.Errorf("delete: %t, %v", existed, err)
	}
	if existed, err := again.Delete(t.Context(), "one", "k"); existed || err != nil {
		t.Errorf("delete again: %t, %v", existed, err)
	}
}

func TestBadKeyFiles(t *testing.T) {
	for what, spoil := range map[string]func(path string) error{
		"could read it": func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte("k"), keySize), 0o640) },
		"is damaged":    func(path string) error { return os.WriteFile(path, []byte("short"), 0o600) },
	} {
		path := filepath.Join(t.TempDir(), "key")
		if err := spoil(path); err != nil {
			t.Fatal(err)
		}
		err := New(store.NewMemory(), path, "owner").Set(t.Context(), "one", "k", value)
		if err == nil || !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), value) {
			t.Errorf("%s: %v", what, err)
		}
	}
	s := store.NewMemory()
	if err := New(s, filepath.Join(t.TempDir(), "key"), "owner").Set(t.Context(), "one", "k", value); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "key")
	if _, err := New(s, other, "owner").Get(t.Context(), "one", "k"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the key: %v", err)
	}
	for _, name := range []string{"", "a:b", strings.Repeat("k", 257), "a\n"} {
		if err := New(s, other, "owner").Set(t.Context(), "one", name, value); err == nil {
			t.Errorf("the name %q was accepted", name)
		}
	}
	if err := New(s, other, "owner").Set(t.Context(), "one", "k", ""); err == nil {
		t.Error("an empty secret was accepted")
	}
}

// Several processes may need the first key at once: all get the same.
func TestTheKeyIsMadeOnce(t *testing.T) {
	s, path := store.NewMemory(), filepath.Join(t.TempDir(), "key")
	var all sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		all.Go(func() {
			if err := New(s, path, "owner").Set(t.Context(), "one", name, value); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, name := range []string{"a", "b", "c", "d"} {
		if got, err := New(s, path, "owner").Get(t.Context(), "one", name); got != value || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the directory has %v, %v", left, err)
	}
}
