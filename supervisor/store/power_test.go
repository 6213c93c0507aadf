package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"syscall"
	"testing"
	"unsafe"
)

// disk stands between bbolt and its file: it records writes, or refuses them.
//
// bbolt writes through one function, which its own tests replace, too; here it is set
// by reflection, because it is not exported. Syncs don't go through it. But bbolt writes
// a meta page exactly between two syncs, so that each write of one tells where they are.
type disk struct {
	mu      sync.Mutex
	write   func([]byte, int64) (int, error)
	refuse  error
	partial bool // writes a half before it refuses
	record  bool
	log     []diskWrite
	marks   []diskMark
}

type diskWrite struct {
	offset int64
	data   []byte
	meta   bool
}

// diskMark is the end of the log when a transaction was acknowledged.
type diskMark struct {
	writes int
	key    string
}

func interpose(b *Bolt) *disk {
	d := &disk{}
	field := reflect.ValueOf(b.db).Elem().FieldByName("ops").FieldByName("writeAt")
	writeAt := (*func([]byte, int64) (int, error))(unsafe.Pointer(field.UnsafeAddr()))
	d.write = *writeAt
	*writeAt = d.writeAt
	return d
}

func (d *disk) writeAt(p []byte, offset int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse != nil {
		n := 0
		if d.partial {
			n, _ = d.write(p[:len(p)/2], offset)
		}
		return n, &os.PathError{Op: "write", Path: "state.db", Err: d.refuse}
	}
	if d.record {
		d.log = append(d.log, diskWrite{offset, append([]byte(nil), p...), offset < 2*int64(os.Getpagesize())})
	}
	return d.write(p, offset)
}

// Power loss: of what was written since the last sync, the disk has any part, in any
// order, and half of a page, too. Everything that was acknowledged before is there, the
// file opens, and what was not acknowledged is there as a whole or not at all.
func TestPowerLossKeepsWhatWasAcknowledged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	b, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, "before", "")
	start, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := interpose(b)
	d.record = true
	var writers sync.WaitGroup
	for n := range 4 {
		writers.Go(func() {
			for m := range 15 {
				key := fmt.Sprintf("%d/%02d", n, m)
				value := make([]byte, (n*m*37)%9000)
				if _, err := b.Txn(t.Context(), Fence{}, nil, []Write{Put(key, value), Put(key+"/twin", value)}); err != nil {
					t.Error(err)
				}
				d.mu.Lock()
				d.marks = append(d.marks, diskMark{len(d.log), key})
				d.mu.Unlock()
			}
		})
	}
	writers.Wait()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	lost := filepath.Join(t.TempDir(), "state.db")
	for range 150 {
		at := random.IntN(len(d.log) + 1)
		if err := os.WriteFile(lost, d.after(start, at, random), 0o600); err != nil {
			t.Fatal(err)
		}
		d.checkAfterLoss(t, lost, at)
	}
}

// after returns the file as the disk has it when the power fails after so many writes.
func (d *disk) after(start []byte, at int, random *rand.Rand) []byte {
	synced := 0
	for n := range at {
		if d.log[n].meta {
			synced = n // what was written before a meta page was synced before it
			if n+1 < at {
				synced = n + 1 // and so was the page itself, before the next write
			}
		}
	}
	file := append([]byte(nil), start...)
	apply := func(w diskWrite, n int) {
		if need := int(w.offset) + len(w.data); need > len(file) {
			file = append(file, make([]byte, need-len(file))...)
		}
		copy(file[w.offset:], w.data[:n])
	}
	for n := range synced {
		apply(d.log[n], len(d.log[n].data))
	}
	unsynced := random.Perm(at - synced)
	for _, n := range unsynced {
		w := d.log[synced+n]
		switch random.IntN(3) {
		case 0: // lost
		case 1: // torn at a sector
			apply(w, random.IntN(len(w.data)/512+1)*512)
		case 2:
			apply(w, len(w.data))
		}
	}
	return file
}

func (d *disk) checkAfterLoss(t *testing.T, path string, at int) {
	t.Helper()
	b, err := Open(path, Options{})
	if err != nil {
		t.Fatalf("after %d writes: %v", at, err)
	}
	defer b.Close()
	for _, m := range d.marks {
		_, one := b.Get(t.Context(), m.key)
		_, two := b.Get(t.Context(), m.key+"/twin")
		switch {
		case m.writes < at && one != nil: // at the same number, the sync may be what did not happen
			t.Fatalf("after %d writes: %s was acknowledged after %d: %v", at, m.key, m.writes, one)
		case (one == nil) != (two == nil):
			t.Fatalf("after %d writes: a half of a transaction is there: %v, %v", at, one, two)
		}
	}
}

// A full disk fails the write with a clear error; what is there stays, and when there is
// room again, writes succeed.
func TestAFullDiskLosesNothing(t *testing.T) {
	for _, partial := range []bool{false, true} {
		b := openBolt(t, Options{})
		put(t, b, "a", "before")
		d := interpose(b)
		d.mu.Lock()
		d.refuse, d.partial = syscall.ENOSPC, partial
		d.mu.Unlock()
		for range 3 {
			_, err := b.Txn(t.Context(), Fence{}, nil, []Write{Put("a", []byte("lost")), Put("b", nil)})
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("Txn: %v", err)
			}
		}
		if e, err := b.Get(t.Context(), "a"); err != nil || string(e.Value) != "before" {
			t.Errorf("a = %q, %v", e.Value, err)
		}
		d.mu.Lock()
		d.refuse = nil
		d.mu.Unlock()
		put(t, b, "c", "after")
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		reopened, err := Open(b.path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		entries, err := reopened.List(t.Context(), Range{})
		if err != nil || len(entries) != 2 || string(entries[0].Value) != "before" || string(entries[1].Value) != "after" {
			t.Errorf("after it: %v, %v", entries, err)
		}
		if err := reopened.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A write that is too large for the disk does not fail those that wait with it.
func TestOnlyTheLargeWriteFails(t *testing.T) {
	b := openBolt(t, Options{})
	d := interpose(b)
	write := d.write
	d.write = func(p []byte, offset int64) (int, error) {
		if len(p) > 1<<20 {
			return 0, &os.PathError{Op: "write", Path: "state.db", Err: syscall.ENOSPC}
		}
		return write(p, offset)
	}
	small := &request{writes: []Write{Put("small", nil)}, answered: make(chan struct{})}
	large := &request{writes: []Write{Put("large", make([]byte, 2<<20))}, answered: make(chan struct{})}
	b.work([]*request{small, large})
	<-small.answered
	<-large.answered
	if small.err != nil || !errors.Is(large.err, syscall.ENOSPC) {
		t.Errorf("small: %v; large: %v", small.err, large.err)
	}
}

// After a failed sync nothing is written any more: nobody knows what the disk has.
func TestAFailedSyncIsTheLastWrite(t *testing.T) {
	b := openBolt(t, Options{})
	put(t, b, "a", "before")
	if err := b.failed(syscall.EIO); !errors.Is(err, ErrReadOnly) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("failed: %v", err)
	}
	if _, err := b.Txn(t.Context(), Fence{}, nil, []Write{Put("a", nil)}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Txn: %v", err)
	}
	if e, err := b.Get(t.Context(), "a"); err != nil || string(e.Value) != "before" {
		t.Errorf("a = %q, %v", e.Value, err)
	}
}

// A transaction that is given up while the disk hangs ends at once; one that waits for
// it was not begun, and never happens.
func TestAHangingDiskHoldsNoCaller(t *testing.T) {
	b := openBolt(t, Options{})
	put(t, b, "a", "before")
	d := interpose(b)
	hangs, goes := make(chan struct{}), make(chan struct{})
	write, first := d.write, true
	d.write = func(p []byte, offset int64) (int, error) {
		if first {
			first = false
			close(hangs)
			<-goes
		}
		return write(p, offset)
	}
	gaveUp := errors.New("gave up")
	begin := func(key string) (func(), chan error) {
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := b.Txn(ctx, Fence{}, nil, []Write{Put(key, nil)})
			done <- err
		}()
		return func() { cancel(gaveUp) }, done
	}
	giveUp, begun := begin("begun")
	<-hangs
	giveUp2, waits := begin("waits")
	giveUp()
	giveUp2()
	for _, done := range []chan error{begun, waits} {
		if err := <-done; !errors.Is(err, gaveUp) {
			t.Errorf("Txn: %v", err)
		}
	}
	if _, err := b.Get(t.Context(), "a"); err != nil {
		t.Errorf("readers are held up: %v", err)
	}
	close(goes)
	put(t, b, "after", "")
	if _, err := b.Get(t.Context(), "begun"); err != nil {
		t.Errorf("what was begun: %v", err)
	}
	if _, err := b.Get(t.Context(), "waits"); !errors.Is(err, ErrNotFound) {
		t.Errorf("what was not begun: %v", err)
	}
}

// A commit that panics, as bbolt does when it meets a page that can't be, is an error.
func TestAPanicOfBboltIsContained(t *testing.T) {
	b := openBolt(t, Options{})
	put(t, b, "a", "before")
	d := interpose(b)
	d.write = func([]byte, int64) (int, error) { panic("page 7 already freed") }
	_, err := b.Txn(t.Context(), Fence{}, nil, []Write{Put("a", nil)})
	if !errors.Is(err, ErrDamaged) || !errors.Is(err, ErrReadOnly) {
		t.Errorf("Txn: %v", err)
	}
	if e, err := b.Get(t.Context(), "a"); err != nil || string(e.Value) != "before" {
		t.Errorf("a = %q, %v", e.Value, err)
	}
}
