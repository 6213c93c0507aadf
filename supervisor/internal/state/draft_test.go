package state

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

func value(t testing.TB, i *Instance, key string) string {
	t.Helper()
	v, err := i.Get(t.Context(), "", key)
	if err != nil {
		t.Fatal(err)
	}
	return string(v)
}

// Promise 10: the version that runs goes on writing, until the next one takes over. Promise
// 9: from then on it can't.
func TestADraftIsWrittenWhenItsInstanceTakesOver(t *testing.T) {
	k := newKeeper(t, store.NewMemory(), 1000)
	old, next := k.Instance("one", 0), k.Beside("one", 0, false)
	mustSet(t, old, "", "schema", "1")
	if got := value(t, next, "schema"); got != "1" {
		t.Errorf("the next instance reads %q", got)
	}
	mustSet(t, next, "", "mine", "draft")
	mustSet(t, old, "", "count", "7")
	if got := value(t, old, "mine"); got != "" {
		t.Errorf("the old instance reads %q, which is a draft", got)
	}
	if got := value(t, next, "mine"); got != "draft" {
		t.Errorf("the next instance reads %q of what it wrote", got)
	}
	if err := next.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := value(t, next, "mine") + value(t, next, "count"); got != "draft7" {
		t.Errorf("after it took over: %q", got)
	}
	if got := k.Used("one"); got != 7+9+6 {
		t.Errorf("used: %d", got)
	}
	if err := old.Set(t.Context(), "", "count", []byte("8")); !errors.Is(err, store.ErrStale) {
		t.Errorf("the one that was replaced: %v", err)
	}
	old.Close()
	mustSet(t, next, "", "count", "9")
}

// An upgrade that fails leaves the old version as it was.
func TestADraftIsForgottenWithItsInstance(t *testing.T) {
	for _, alone := range []bool{false, true} {
		k := newKeeper(t, store.NewMemory(), 1000)
		old, next := k.Instance("one", 0), k.Beside("one", 0, alone)
		mustSet(t, old, "", "a", "1")
		mustSet(t, next, "", "a", "2")
		mustSet(t, next, "", "b", "2")
		if _, err := next.Fence(t.Context()); !errors.Is(err, store.ErrStale) {
			t.Errorf("its fence: %v", err)
		}
		next.Close()
		if err := next.Settle(t.Context()); !errors.Is(err, store.ErrStale) {
			t.Errorf("it has ended: %v", err)
		}
		if got := value(t, old, "a") + value(t, old, "b"); got != "1" {
			t.Errorf("it has left %q", got)
		}
		mustSet(t, old, "", "a", "3")
	}
}

// What the next version has read, or changed itself, must be as it was.
func TestADraftCanBeOutdated(t *testing.T) {
	get := func(i *Instance) error { _, err := i.Get(context.Background(), "", "k"); return err }
	for _, tt := range []struct {
		name     string
		uses     func(i *Instance) error
		changes  string
		outdated bool
	}{
		{"a key that it has read", get, "k", true},
		{"another key", get, "k2", false},
		{"a missing key that it has read", func(i *Instance) error { _, err := i.Get(context.Background(), "", "new"); return err }, "new", true},
		{"a key that it has written", func(i *Instance) error { return i.Set(context.Background(), "", "k", nil) }, "k", true},
		{"a key that it has deleted", func(i *Instance) error { return i.Delete(context.Background(), "", "k") }, "k", true},
		{"a key that it has listed", func(i *Instance) error { _, err := i.ListKeys(context.Background(), "", "k"); return err }, "k3", true},
		{"a key beside those", func(i *Instance) error { _, err := i.ListKeys(context.Background(), "", "k"); return err }, "l", false},
		{"more than it records", func(i *Instance) error {
			for n := range maxDraft + 1 {
				if _, err := i.Get(context.Background(), "", fmt.Sprint("none", n)); err != nil {
					return err
				}
			}
			return nil
		}, "l", true},
		{"nothing", func(*Instance) error { return nil }, "k", false},
	} {
		k := newKeeper(t, store.NewMemory(), 1000)
		old, next := k.Instance("one", 0), k.Beside("one", 0, false)
		mustSet(t, old, "", "k", "1")
		if err := tt.uses(next); err != nil {
			t.Fatal(err)
		}
		mustSet(t, old, "", tt.changes, "2")
		if err := next.Settle(t.Context()); errors.Is(err, actors.ErrOutdated) != tt.outdated || !tt.outdated && err != nil {
			t.Errorf("%s changes: %v", tt.name, err)
		} else if err != nil {
			mustSet(t, old, "", "k", "the old one goes on")
		}
	}
}

// An instance that is alone needs not look: the other one waits until it has taken over, or
// has ended.
func TestTheOtherWaitsForOneThatIsAlone(t *testing.T) {
	for _, settles := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			k := newKeeper(t, store.NewMemory(), 1000)
			old, next := k.Instance("one", 0), k.Beside("one", 0, true)
			mustSet(t, old, "", "count", "1")
			got := value(t, next, "count")
			written := make(chan error, 1)
			go func() { written <- old.Set(t.Context(), "", "count", []byte("2")) }()
			synctest.Wait()
			select {
			case err := <-written:
				t.Fatalf("the other one did not wait: %v", err)
			default:
			}
			mustSet(t, next, "", "count", got+"+1")
			if !settles {
				next.Close()
				if err := <-written; err != nil || value(t, old, "count") != "2" {
					t.Errorf("the upgrade failed, and the old one: %v, %q", err, value(t, old, "count"))
				}
				return
			}
			if err := next.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-written; !errors.Is(err, store.ErrStale) || value(t, next, "count") != "1+1" {
				t.Errorf("it took over: %v, %q", err, value(t, next, "count"))
			}
		})
	}
}

func TestADraftHasTheQuotaAndALimit(t *testing.T) {
	k := newKeeper(t, store.NewMemory(), 20)
	old, next := k.Instance("one", 0), k.Beside("one", 0, false)
	mustSet(t, old, "", "a", "12345") // 6
	mustSet(t, next, "", "b", "12345")
	if err := next.Set(t.Context(), "", "c", make([]byte, 8)); !errors.Is(err, ErrQuota) {
		t.Errorf("over the quota: %v", err)
	}
	mustSet(t, old, "", "d", "12345678") // 15
	if err := next.Settle(t.Context()); !errors.Is(err, ErrQuota) {
		t.Errorf("over the quota with what the old one wrote: %v", err)
	}
	mustSet(t, old, "", "d", "1") // it goes on
	if err := next.Settle(t.Context()); err != nil {
		t.Error(err)
	}
	k.SetQuota("two", 1<<30)
	two := k.Beside("two", 0, true)
	defer two.Close()
	for n := range maxDraft {
		mustSet(t, two, "", fmt.Sprint(n), "")
	}
	if err := two.Set(t.Context(), "", "more", nil); err == nil || !strings.Contains(err.Error(), "10000 keys") {
		t.Errorf("too many keys: %v", err)
	}
}

// A draft reads as the state will be, and becomes it.
func TestADraftReadsAsTheStateWillBe(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		plain, drafted := newKeeper(t, store.NewMemory(), 1<<20), newKeeper(t, store.NewMemory(), 1<<20)
		keys := rapid.SampledFrom([]string{"a", "a/1", "a/2", "b", "b/long"})
		for _, key := range rapid.SliceOf(keys).Draw(r, "before") {
			mustSet(t, plain.Instance("one", 0), "", key, "before")
			mustSet(t, drafted.Instance("one", 0), "", key, "before")
		}
		one, two := plain.Instance("one", 0), drafted.Beside("one", 0, rapid.Bool().Draw(r, "alone"))
		look := func(i *Instance, prefix string) string {
			list, err := i.ListKeys(context.Background(), "", prefix)
			return fmt.Sprint(list, err, value(t, i, "a"), value(t, i, "b"))
		}
		for range rapid.IntRange(1, 10).Draw(r, "calls") {
			key := keys.Draw(r, "key")
			call := rapid.IntRange(0, 2).Draw(r, "call")
			text := make([]byte, rapid.IntRange(0, 50).Draw(r, "size"))
			for _, i := range []*Instance{one, two} {
				var err error
				switch call {
				case 0:
					err = i.Set(context.Background(), "", key, text)
				case 1:
					err = i.Delete(context.Background(), "", key)
				case 2:
					_, err = i.ClearPrefix(context.Background(), "", key)
				}
				if err != nil {
					r.Fatal(err)
				}
			}
			if d := cmp.Diff(look(one, key), look(two, key)); d != "" {
				r.Fatal(d)
			}
		}
		if err := two.Settle(context.Background()); err != nil {
			r.Fatal(err)
		}
		if d := cmp.Diff(look(one, ""), look(two, "")); d != "" || plain.Used("one") != drafted.Used("one") {
			r.Fatal(d, plain.Used("one"), drafted.Used("one"))
		}
	})
}
