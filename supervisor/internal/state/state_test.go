package state

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

func newKeeper(t testing.TB, s store.Store, quota uint64) *Keeper {
	t.Helper()
	k, err := New(t.Context(), Config{Store: s, Principal: "owner", Quota: quota})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustSet(t testing.TB, i *Instance, principal, key, value string) {
	t.Helper()
	if err := i.Set(t.Context(), principal, key, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func TestEachPrincipalAndCapsuleHasItsOwnState(t *testing.T) {
	s := store.NewMemory()
	k := newKeeper(t, s, 1000)
	one, two := k.Instance("one", 0), k.Instance("two", 0)
	mustSet(t, one, "", "a/b", "of one")
	mustSet(t, one, "alice", "a/b", "of one for alice")
	mustSet(t, two, "", "a/b", "of two")
	entries, err := s.List(t.Context(), store.Range{Prefix: "kv/"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range entries {
		got[e.Key] = string(e.Value)
	}
	want := map[string]string{"kv/owner/one/a/b": "of one", "kv/alice/one/a/b": "of one for alice", "kv/owner/two/a/b": "of two"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if n, err := one.ClearPrefix(t.Context(), "", ""); n != 1 || err != nil {
		t.Errorf("ClearPrefix: %d, %v", n, err)
	}
	for _, tt := range []struct {
		of              *Instance
		principal, want string
	}{{one, "", ""}, {one, "owner", ""}, {one, "alice", "of one for alice"}, {two, "owner", "of two"}} {
		if value, err := tt.of.Get(t.Context(), tt.principal, "a/b"); string(value) != tt.want || err != nil {
			t.Errorf("%s for %q: %q, %v", tt.of.capsule.id, tt.principal, value, err)
		}
	}
}

func TestTheQuotaCountsAllPrincipals(t *testing.T) {
	k := newKeeper(t, store.NewMemory(), 20)
	i := k.Instance("one", 0)
	mustSet(t, i, "", "a", "12345")      // 6
	mustSet(t, i, "alice", "a", "12345") // 12
	err := i.Set(t.Context(), "", "b", []byte("12345678"))
	if !errors.Is(err, ErrQuota) || !strings.Contains(err.Error(), "21 bytes of 20") {
		t.Errorf("over the quota: %v", err)
	}
	if got := k.Used("one"); got != 12 {
		t.Errorf("used: %d", got)
	}
	mustSet(t, i, "", "b", "1234567") // 20
	k.SetQuota("one", 5)
	mustSet(t, i, "", "b", "1") // what makes it smaller is allowed
	if err := i.Delete(t.Context(), "alice", "a"); err != nil {
		t.Fatal(err)
	}
	if err := i.Set(t.Context(), "", "c", nil); !errors.Is(err, ErrQuota) {
		t.Errorf("above the new quota: %v", err)
	}
	if n, err := i.ClearPrefix(t.Context(), "", ""); n != 2 || err != nil || k.Used("one") != 0 {
		t.Errorf("cleared %d, %v; left %d", n, err, k.Used("one"))
	}
}

// What the keeper counts is what the store has, also after it was opened again.
func TestUsageIsExact(t *testing.T) {
	s := store.NewMemory()
	k := newKeeper(t, s, 1<<20)
	rapid.Check(t, func(r *rapid.T) {
		i := k.Instance("one", 0)
		defer i.Close()
		for range rapid.IntRange(1, 10).Draw(r, "calls") {
			principal := rapid.SampledFrom([]string{"", "alice"}).Draw(r, "principal")
			key := rapid.SampledFrom([]string{"a", "a/1", "a/2", "b", "b/long"}).Draw(r, "key")
			var err error
			switch rapid.IntRange(0, 2).Draw(r, "call") {
			case 0:
				err = i.Set(context.Background(), principal, key, make([]byte, rapid.IntRange(0, 50).Draw(r, "size")))
			case 1:
				err = i.Delete(context.Background(), principal, key)
			case 2:
				_, err = i.ClearPrefix(context.Background(), principal, key)
			}
			if err != nil {
				r.Fatal(err)
			}
		}
		bytes := uint64(0)
		for _, principal := range []string{"owner", "alice"} {
			entries, err := k.Space("one", principal).Entries(context.Background(), "", false)
			if err != nil {
				r.Fatal(err)
			}
			for _, e := range entries {
				bytes += uint64(len(e.Key) + e.Size)
			}
		}
		if k.Used("one") != bytes || newKeeper(t, s, 1).Used("one") != bytes {
			r.Fatalf("it keeps %d bytes, and counts %d, then %d", bytes, k.Used("one"), newKeeper(t, s, 1).Used("one"))
		}
	})
}

// Promise 9: a dead generation can't write.
func TestAnInstanceThatWasReplacedCantWrite(t *testing.T) {
	k := newKeeper(t, store.NewMemory(), 1000)
	before, after := k.Instance("one", 0), k.Instance("one", 0)
	mustSet(t, before, "", "a", "before")
	mustSet(t, before, "", "b", "before") // the other has not used its state yet
	if value, err := after.Get(t.Context(), "", "a"); string(value) != "before" || err != nil {
		t.Fatalf("%q, %v", value, err)
	}
	for what, err := range map[string]error{
		"set":    before.Set(t.Context(), "", "a", []byte("stale")),
		"delete": before.Delete(t.Context(), "", "a"),
		"clear":  func() error { _, err := before.ClearPrefix(t.Context(), "", ""); return err }(),
	} {
		if !errors.Is(err, store.ErrStale) {
			t.Errorf("%s: %v", what, err)
		}
	}
	mustSet(t, after, "", "a", "after")
	before.Close()
	mustSet(t, after, "", "a", "still after")
}

func TestConcurrentWritersCountExactly(t *testing.T) {
	k := newKeeper(t, store.NewMemory(), 1<<20)
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for m := range 25 {
				if err := k.Space("one", "").Set(t.Context(), fmt.Sprintf("%d/%02d", n, m%5), []byte("12345")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := k.Used("one"); got != 8*5*(4+5) {
		t.Errorf("used: %d", got)
	}
}

// hanging is a store whose transactions wait for their context.
type hanging struct{ store.Store }

func (hanging) Txn(ctx context.Context, _ store.Fence, _ []store.Compare, _ []store.Write) (uint64, error) {
	<-ctx.Done()
	return 0, context.Cause(ctx)
}

func TestAHangingDiskHoldsNothingUp(t *testing.T) {
	k := newKeeper(t, hanging{store.NewMemory()}, 1000)
	i := k.Instance("one", 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := i.Set(ctx, "", "a", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Set: %v", err)
	}
	i.Close()
}
