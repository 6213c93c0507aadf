package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// filled returns the bytes of a store with entries of several sizes, and with free pages.
func filled(t testing.TB) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	b, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 40 {
		var writes []Write
		for m := range 20 {
			writes = append(writes, Put(fmt.Sprintf("kv/%d/%d", n%7, m), bytes.Repeat([]byte{byte(n), byte(m)}, n*m)))
		}
		if _, err := b.Txn(t.Context(), Fence{}, nil, writes); err != nil {
			t.Fatal(err)
		}
	}
	size := b.Size()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text[:size] // behind it is only room to grow
}

// opens reports whether a file with this text opens. If it does not, the error must be
// ErrDamaged and name the file, and the file must be as it was.
func opens(t testing.TB, path string, text []byte) bool {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Open(path, Options{})
	if err == nil {
		if _, err := b.List(t.Context(), Range{}); err != nil {
			t.Errorf("it opens, and can't be read: %v", err)
		}
		if _, err := b.Txn(t.Context(), Fence{}, nil, []Write{Put("kv/new", nil)}); err != nil {
			t.Errorf("it opens, and can't be written: %v", err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		return true
	}
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("Open: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, text) {
		t.Errorf("a damaged file was changed (%v)", err)
	}
	return false
}

func TestATornFileIsNamed(t *testing.T) {
	text := filled(t)
	path := filepath.Join(t.TempDir(), "state.db")
	for _, size := range []int{0, 1, 4095, 4096, 8191, 8192, 12288, len(text) / 2, len(text) - 1} {
		if opens(t, path, text[:size]) {
			t.Errorf("a file of %d bytes of %d opens", size, len(text))
		}
	}
	for _, foreign := range []string{"not a database", strings.Repeat("x", 1<<16)} {
		if opens(t, path, []byte(foreign)) {
			t.Errorf("%.20q opens", foreign)
		}
	}
	if !opens(t, path, text) {
		t.Error("a whole file does not open")
	}
}

// A damage of what is used is found, wherever it is: no file opens with other entries, and
// none ends the process. (A damage of a free page, or of the older meta page, is none.)
func TestDamageIsFound(t *testing.T) {
	text := filled(t)
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	want := entriesOf(t, path)
	random := rand.New(rand.NewPCG(1, 2))
	found := 0
	for range 200 {
		broken := slices.Clone(text)
		at := random.IntN(len(broken))
		switch random.IntN(3) {
		case 0: // a bit
			broken[at] ^= 1 << random.IntN(8)
		case 1: // a sector of zeros
			clear(broken[at&^511 : at&^511+512])
		case 2: // a page that belongs elsewhere
			copy(broken[at&^4095:][:4096], text[random.IntN(len(text)/4096)*4096:])
		}
		if !opens(t, path, broken) {
			found++
			continue
		}
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := entriesOf(t, path); !slices.Equal(got, want) && at >= 2*4096 {
			t.Fatalf("a damage at %d is not found: %d entries, want %d", at, len(got), len(want))
		}
	}
	if found < 50 {
		t.Errorf("only %d damages were found", found)
	}
}

// entriesOf returns all entries of a file as text.
func entriesOf(t testing.TB, path string) []string {
	t.Helper()
	b, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	entries, err := b.List(t.Context(), Range{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, fmt.Sprintf("%s %d %x", e.Key, e.Revision, e.Value))
	}
	return all
}

func FuzzVerify(f *testing.F) {
	text := filled(f)
	f.Add(uint32(0), []byte{1})
	f.Add(uint32(8192), []byte{0xff, 0xff, 0xff, 0xff})
	path := filepath.Join(f.TempDir(), "state.db")
	f.Fuzz(func(t *testing.T, at uint32, over []byte) {
		broken := slices.Clone(text)
		copy(broken[int(at)%len(broken):], over)
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		_ = verify(file) // must not panic
	})
}

func TestASecondOpenIsRefusedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	b, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("a second Open: %v", err)
	}
	if _, err := RestoreFile(path, strings.NewReader("")); !errors.Is(err, ErrLocked) {
		t.Errorf("RestoreFile: %v", err)
	}
	put(t, b, "a", "1")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRestoreKeepsFences(t *testing.T) {
	b := openBolt(t, Options{})
	early, err := Raise(t.Context(), b, "one")
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, "a", "saved")
	var backup bytes.Buffer
	if err := b.Backup(&backup); err != nil {
		t.Fatal(err)
	}
	late, err := Raise(t.Context(), b, "one")
	if err != nil {
		t.Fatal(err)
	}
	before := put(t, b, "a", "newer")
	if err := b.Restore(bytes.NewReader(backup.Bytes())); err != nil {
		t.Fatal(err)
	}
	if e, err := b.Get(t.Context(), "a"); err != nil || string(e.Value) != "saved" {
		t.Errorf("a = %q, %v", e.Value, err)
	}
	if _, err := b.Txn(t.Context(), early, nil, []Write{Put("a", nil)}); !errors.Is(err, ErrStale) {
		t.Errorf("the generation of the backup can write: %v", err)
	}
	after, err := b.Txn(t.Context(), late, nil, []Write{Put("a", []byte("after"))})
	if err != nil || after <= before {
		t.Errorf("the newest generation: revision %d after %d, %v", after, before, err)
	}
	torn := backup.Bytes()[:backup.Len()/2]
	if err := b.Restore(bytes.NewReader(torn)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a torn backup: %v", err)
	}
	if e, _ := b.Get(t.Context(), "a"); string(e.Value) != "after" {
		t.Errorf("a torn backup changed a to %q", e.Value)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(b.path), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("files were left: %q, %v", left, err)
	}
}
