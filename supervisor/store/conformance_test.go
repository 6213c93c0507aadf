package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// implementations are all that must behave in the same way.
var implementations = map[string]func(t testing.TB) Store{
	"memory": func(t testing.TB) Store { return closing(t, NewMemory()) },
	"bolt":   func(t testing.TB) Store { return openBolt(t, Options{}) },
	"bolt, at intervals": func(t testing.TB) Store {
		return openBolt(t, Options{Durability: DurabilityInterval, Interval: time.Millisecond})
	},
}

func openBolt(t testing.TB, o Options) *Bolt {
	t.Helper()
	b, err := Open(filepath.Join(t.TempDir(), "state.db"), o)
	if err != nil {
		t.Fatal(err)
	}
	return closing(t, b)
}

func closing[S Store](t testing.TB, s S) S {
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// each runs a test on every implementation.
func each(t *testing.T, test func(t *testing.T, s Store)) {
	t.Helper()
	for name, open := range implementations {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func put(t testing.TB, s Store, key, value string) uint64 {
	t.Helper()
	revision, err := s.Txn(t.Context(), Fence{}, nil, []Write{Put(key, []byte(value))})
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func TestGetReturnsWhatWasPut(t *testing.T) {
	each(t, func(t *testing.T, s Store) {
		if _, err := s.Get(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
			t.Fatalf("Get of no key: %v", err)
		}
		first := put(t, s, "a", "1")
		second := put(t, s, "a", "")
		if first == 0 || second <= first {
			t.Errorf("revisions %d, %d: they must ascend from 1", first, second)
		}
		e, err := s.Get(t.Context(), "a")
		if err != nil || e.Key != "a" || len(e.Value) != 0 || e.Revision != second {
			t.Errorf("Get = %+v, %v", e, err)
		}
		if _, err := s.Txn(t.Context(), Fence{}, nil, []Write{Delete("a"), Delete("none")}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get after Delete: %v", err)
		}
	})
}

func TestListIsOrderedAndBounded(t *testing.T) {
	each(t, func(t *testing.T, s Store) {
		var writes []Write
		for _, key := range []string{"b/2", "a/1", "b/1", "b/10", "b", "c/1", "b/\xff"} {
			writes = append(writes, Put(key, []byte("value of "+key)))
		}
		revision, err := s.Txn(t.Context(), Fence{}, nil, writes)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			r    Range
			want string
		}{
			{Range{Prefix: "b/"}, "b/1 b/10 b/2 b/\xff"},
			{Range{Prefix: "b/", After: "b/1"}, "b/10 b/2 b/\xff"},
			{Range{Prefix: "b/", After: "b/15", Limit: 1}, "b/2"},
			{Range{Prefix: "b/", After: "a/1"}, "b/1 b/10 b/2 b/\xff"},
			{Range{Prefix: "b/", After: "c"}, ""},
			{Range{Limit: 2}, "a/1 b"},
			{Range{KeysOnly: true}, "a/1 b b/1 b/10 b/2 b/\xff c/1"},
			{Range{Prefix: "none"}, ""},
		} {
			entries, err := s.List(t.Context(), test.r)
			var keys []string
			for _, e := range entries {
				keys = append(keys, e.Key)
				value := "value of " + e.Key
				if e.Size != len(value) || e.Revision != revision || !test.r.KeysOnly && string(e.Value) != value || test.r.KeysOnly && e.Value != nil {
					t.Errorf("List(%+v): entry %+v", test.r, e)
				}
			}
			if got := strings.Join(keys, " "); err != nil || got != test.want {
				t.Errorf("List(%+v) = %q, %v; want %q", test.r, got, err, test.want)
			}
		}
	})
}

func TestAFailedComparisonWritesNothing(t *testing.T) {
	each(t, func(t *testing.T, s Store) {
		revision := put(t, s, "a", "1")
		for _, c := range []Compare{{"a", 0}, {"a", revision + 1}, {"none", revision}} {
			_, err := s.Txn(t.Context(), Fence{}, []Compare{{"a", revision}, c}, []Write{Put("a", []byte("2")), Put("b", nil)})
			if !errors.Is(err, ErrConflict) {
				t.Errorf("Txn comparing %+v: %v", c, err)
			}
		}
		if e, _ := s.Get(t.Context(), "a"); string(e.Value) != "1" {
			t.Errorf("a = %q after failed transactions", e.Value)
		}
		if _, err := s.Get(t.Context(), "b"); !errors.Is(err, ErrNotFound) {
			t.Errorf("b: %v", err)
		}
		if _, err := s.Txn(t.Context(), Fence{}, []Compare{{"a", revision}, {"none", 0}}, []Write{Put("a", []byte("2"))}); err != nil {
			t.Error(err)
		}
	})
}

// A stale generation can't write, whichever revisions it knows.
func TestARaisedFenceRefusesEarlierWriters(t *testing.T) {
	each(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		first, err := Raise(ctx, s, "greeter")
		if err != nil {
			t.Fatal(err)
		}
		other, err := Raise(ctx, s, "other")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Txn(ctx, first, nil, []Write{Put("a", []byte("first"))}); err != nil {
			t.Fatal(err)
		}
		second, err := Raise(ctx, s, "greeter")
		if err != nil || second.Number <= first.Number {
			t.Fatalf("Raise: %+v after %+v, %v", second, first, err)
		}
		if _, err := s.Txn(ctx, first, nil, []Write{Put("a", []byte("stale"))}); !errors.Is(err, ErrStale) {
			t.Errorf("a stale write: %v", err)
		}
		if e, _ := s.Get(ctx, "a"); string(e.Value) != "first" {
			t.Errorf("a = %q", e.Value)
		}
		if _, err := s.Txn(ctx, second, nil, []Write{Put("a", []byte("second"))}); err != nil {
			t.Error(err)
		}
		if _, err := s.Txn(ctx, other, nil, []Write{Put("b", nil)}); err != nil {
			t.Errorf("another writer: %v", err)
		}
		if _, err := RaiseWith(ctx, s, "greeter", []Compare{{Key: "a", Revision: 1}}, []Write{Put("a", []byte("third"))}); !errors.Is(err, ErrConflict) {
			t.Errorf("raised although a key has changed: %v", err)
		}
		if _, err := s.Txn(ctx, second, nil, []Write{Put("b", nil)}); err != nil {
			t.Errorf("the fence was raised all the same: %v", err)
		}
		third, err := RaiseWith(ctx, s, "greeter", nil, []Write{Put("a", []byte("third"))})
		if err != nil || third.Number <= second.Number {
			t.Fatalf("RaiseWith: %+v, %v", third, err)
		}
		if e, _ := s.Get(ctx, "a"); string(e.Value) != "third" {
			t.Errorf("a = %q", e.Value)
		}
		if _, err := s.Txn(ctx, second, nil, []Write{Put("a", nil)}); !errors.Is(err, ErrStale) {
			t.Errorf("a write with the fence before: %v", err)
		}
		if _, err := s.Txn(ctx, Fence{"unknown", 1}, nil, []Write{Put("b", nil)}); !errors.Is(err, ErrStale) {
			t.Errorf("a fence that was never raised: %v", err)
		}
	})
}

func TestConcurrentWritersLoseNothing(t *testing.T) {
	each(t, func(t *testing.T, s Store) {
		const writers, increments = 8, 20
		var all sync.WaitGroup
		for n := range writers {
			all.Go(func() {
				for range increments {
					if _, err := s.Txn(t.Context(), Fence{}, nil, []Write{Put(fmt.Sprintf("own/%d", n), []byte("x"))}); err != nil {
						t.Error(err)
					}
					for {
						e, err := s.Get(t.Context(), "count")
						if err != nil && !errors.Is(err, ErrNotFound) {
							t.Error(err)
							return
						}
						_, err = s.Txn(t.Context(), Fence{}, []Compare{{"count", e.Revision}}, []Write{Put("count", append(e.Value, '1'))})
						if err == nil {
							break
						}
						if !errors.Is(err, ErrConflict) {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		all.Wait()
		if e, err := s.Get(t.Context(), "count"); err != nil || e.Size != writers*increments {
			t.Errorf("count = %d, %v; want %d", e.Size, err, writers*increments)
		}
	})
}

func TestWatchYieldsWhatChanges(t *testing.T) {
	each(t, func(t *testing.T, s Store) {
		before := put(t, s, "a/1", "old")
		newer := put(t, s, "a/2", "newer")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var seen []string
		for c, err := range s.Watch(ctx, "a/", before) {
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, fmt.Sprintf("%s %t", c.Key, c.Deleted))
			switch c.Key {
			case "a/2":
				if c.Revision != newer {
					t.Errorf("%+v: revision must be %d", c, newer)
				}
				put(t, s, "b/1", "not watched")
				put(t, s, "a/3", "live")
			case "a/3":
				if !c.Deleted {
					if _, err := s.Txn(ctx, Fence{}, nil, []Write{Delete("a/3")}); err != nil {
						t.Fatal(err)
					}
					continue
				}
				cancel()
			}
		}
		if d := gocmp.Diff([]string{"a/2 false", "a/3 false", "a/3 true"}, seen); d != "" {
			t.Error(d)
		}
	})
}

func TestASlowWatcherIsTold(t *testing.T) {
	each(t, func(t *testing.T, s Store) {
		put(t, s, "a", "first")
		var last error
		for _, err := range s.Watch(t.Context(), "a", 0) {
			if last = err; err != nil {
				break
			}
			var writes []Write
			for n := range maxUnread + 1 {
				writes = append(writes, Put(fmt.Sprintf("a/%d", n), nil))
			}
			if _, err := s.Txn(t.Context(), Fence{}, nil, writes); err != nil {
				t.Fatal(err)
			}
		}
		if !errors.Is(last, ErrLagged) {
			t.Errorf("the last error of the watch: %v", last)
		}
	})
}

func TestLimitsAreNamed(t *testing.T) {
	each(t, func(t *testing.T, s Store) {
		for _, w := range []Write{Put("", nil), Put(strings.Repeat("k", MaxKey+1), nil), Put("a", make([]byte, MaxValue+1))} {
			if _, err := s.Txn(t.Context(), Fence{}, nil, []Write{Put("b", nil), w}); err == nil {
				t.Errorf("a key of %d and a value of %d bytes were accepted", len(w.Key), len(w.Value))
			}
		}
		long := strings.Repeat("k", MaxKey)
		value := bytes.Repeat([]byte("v"), MaxValue)
		if _, err := s.Txn(t.Context(), Fence{}, nil, []Write{Put(long, value)}); err != nil {
			t.Fatal(err)
		}
		if e, err := s.Get(t.Context(), long); err != nil || !bytes.Equal(e.Value, value) {
			t.Errorf("the largest entry: %d bytes, %v", e.Size, err)
		}
		if _, err := s.Get(t.Context(), "b"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a part of a refused transaction: %v", err)
		}
	})
}

func TestAClosedStoreRefuses(t *testing.T) {
	each(t, func(t *testing.T, s Store) {
		watched := make(chan error, 1)
		put(t, s, "a", "1")
		begun := make(chan struct{})
		go func() {
			var last error
			for _, err := range s.Watch(context.WithoutCancel(t.Context()), "", 0) {
				if last = err; err == nil {
					close(begun)
				}
			}
			watched <- last
		}()
		<-begun
		for range 2 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		_, get := s.Get(t.Context(), "a")
		_, list := s.List(t.Context(), Range{})
		_, txn := s.Txn(t.Context(), Fence{}, nil, []Write{Put("a", nil)})
		for name, err := range map[string]error{"get": get, "list": list, "txn": txn, "watch": <-watched} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestAnEndedContextWritesNothing(t *testing.T) {
	each(t, func(t *testing.T, s Store) {
		gaveUp := errors.New("gave up")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(gaveUp)
		if _, err := s.Txn(ctx, Fence{}, nil, []Write{Put("a", nil)}); !errors.Is(err, gaveUp) {
			t.Errorf("Txn: %v", err)
		}
		if _, err := s.Get(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get: %v", err)
		}
	})
}

// Random transactions have the same results as on a plain map.
func TestBothBehaveAsAModel(t *testing.T) {
	each(t, func(t *testing.T, s Store) {
		model := map[string]Entry{}
		rapid.Check(t, func(r *rapid.T) {
			key := rapid.SampledFrom([]string{"a", "b", "b/1", "c", "\x00", "\xff\xff"})
			var compare []Compare
			holds := true
			for range rapid.IntRange(0, 2).Draw(r, "comparisons") {
				c := Compare{key.Draw(r, "key"), 0}
				if c.Revision = model[c.Key].Revision; rapid.Bool().Draw(r, "wrong") {
					c.Revision++
					holds = false
				}
				compare = append(compare, c)
			}
			var writes []Write
			for range rapid.IntRange(0, 3).Draw(r, "writes") {
				if k := key.Draw(r, "key"); rapid.Bool().Draw(r, "deletes") {
					writes = append(writes, Delete(k))
				} else {
					writes = append(writes, Put(k, []byte(rapid.StringN(0, 5, -1).Draw(r, "value"))))
				}
			}
			revision, err := s.Txn(context.Background(), Fence{}, compare, writes)
			if holds != (err == nil) {
				r.Fatalf("Txn: %v", err)
			}
			if holds {
				for _, w := range writes {
					if delete(model, w.Key); !w.Deletes {
						model[w.Key] = Entry{Key: w.Key, Value: w.Value, Size: len(w.Value), Revision: revision}
					}
				}
			}
			var want []Entry
			for _, e := range model {
				want = append(want, e)
			}
			slices.SortFunc(want, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
			got, err := s.List(context.Background(), Range{})
			if err != nil {
				r.Fatal(err)
			}
			for i := range got {
				if len(got[i].Value) == 0 {
					got[i].Value = []byte{}
				}
			}
			if d := gocmp.Diff(want, got, gocmp.Comparer(bytes.Equal)); d != "" {
				r.Fatal(d)
			}
		})
	})
}
