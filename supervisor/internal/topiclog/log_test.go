package topiclog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/state"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// each runs a test over both implementations of the store. open opens the same one again.
func each(t *testing.T, test func(t *testing.T, open func() store.Store)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		s := store.NewMemory()
		test(t, func() store.Store { return s })
	})
	t.Run("bolt", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "state.db")
		var last *store.Bolt
		t.Cleanup(func() { _ = last.Close() })
		test(t, func() store.Store {
			if last != nil {
				if err := last.Close(); err != nil {
					t.Fatal(err)
				}
			}
			var err error
			if last, err = store.Open(path, store.Options{}); err != nil {
				t.Fatal(err)
			}
			return last
		})
	})
}

// system is a log over a store, with instances that answer.
type system struct {
	*Log
	tb     testing.TB
	keeper *state.Keeper
}

func newSystem(tb testing.TB, s store.Store, keep Keep) *system {
	tb.Helper()
	keeper, err := state.New(tb.Context(), state.Config{Store: s, Principal: "p", Quota: 1 << 20})
	if err != nil {
		tb.Fatal(err)
	}
	l, err := New(tb.Context(), Config{Store: s})
	if err != nil {
		tb.Fatal(err)
	}
	l.Declare(map[string]Keep{"orders": keep})
	return &system{Log: l, tb: tb, keeper: keeper}
}

// generation begins an instance of the capsule c; end ends it as the supervisor does.
func (s *system) generation(n uint64) (instance *state.Instance, end func()) {
	instance = s.keeper.Instance("c", 0)
	release := s.Hold("c", n, instance)
	return instance, func() {
		release()
		instance.Close()
	}
}

func (s *system) append(text string) error {
	p, err := capsulehost.ParsePayload([]byte(text))
	if err != nil {
		s.tb.Fatal(err)
	}
	return s.Append(s.tb.Context(), &actors.Kept{
		Message: &capsulehost.Message{Topic: "orders", Payload: p, SourceID: "s", Principal: "ann", Timestamp: time.Now()}, Publisher: "shop", Depth: 2,
	})
}

func (s *system) mustAppend(texts ...string) {
	s.tb.Helper()
	for _, text := range texts {
		if err := s.append(text); err != nil {
			s.tb.Fatal(err)
		}
	}
}

func (s *system) open() *cursor {
	c, ok := s.Open(actors.DurableSubscription{Capsule: "c", Action: "on", Topic: "orders"}, func() {}).(*cursor)
	if !ok {
		s.tb.Fatal("it is no cursor")
	}
	return c
}

// next returns the message that is due, as text; "" for none.
func (s *system) next(c *cursor) string {
	s.tb.Helper()
	k, dropped, err := c.Next(s.tb.Context())
	switch {
	case err != nil:
		s.tb.Fatal(err)
	case k == nil:
		return ""
	}
	text := fmt.Sprintf("%d %s", k.Position, k.Payload.Bytes())
	if k.Attempts > 0 {
		text += fmt.Sprintf(" after %d", k.Attempts)
	}
	if dropped > 0 {
		text += fmt.Sprintf(", %d dropped", dropped)
	}
	return text
}

func (s *system) wants(c *cursor, want string) *actors.Kept {
	s.tb.Helper()
	if got := s.next(c); got != want {
		s.tb.Fatalf("due is %q, and not %q", got, want)
	}
	k, _, _ := c.Next(s.tb.Context())
	return k
}

var week = Keep{Age: 7 * 24 * time.Hour, Bytes: 1 << 30}

// What was appended is there when the store is opened again, with its fields and in its
// order; what was answered is not due again.
func TestLogOutlivesItsProcess(t *testing.T) {
	each(t, func(t *testing.T, open func() store.Store) {
		s := newSystem(t, open(), week)
		s.mustAppend(`1`, `{"type":"raw_json","x":2}`, `{"type":"connect"}`, `4`)
		c := s.open()
		_, end := s.generation(1)
		c.Answered(s.wants(c, "1 1"), 1)
		first := s.wants(c, `2 {"x":2}`)
		if _, raw := first.Payload.Raw(); !raw || first.Publisher != "shop" || first.Depth != 2 || first.SourceID != "s" || first.Principal != "ann" || first.Timestamp.IsZero() {
			t.Errorf("stored as %+v", first)
		}
		c.Answered(first, 1)
		third := s.wants(c, `3 {"type":"connect"}`)
		c.Failed(third, 1)
		s.wants(c, `3 {"type":"connect"} after 1`)
		end() // waits until it is stored
		s.Close()

		s = newSystem(t, open(), week)
		defer s.Close()
		c = s.open()
		_, end = s.generation(2)
		defer end()
		s.mustAppend("5")
		c.Answered(s.wants(c, `3 {"type":"connect"} after 1`), 2)
		c.Answered(s.wants(c, `4 4`), 2)
		c.Answered(s.wants(c, `5 5`), 2)
		s.wants(c, "")
		var bus messages.Bus
		s.Show(&bus)
		want := messages.DurableTopic{
			Name: "orders", Declared: true, KeepAge: week.Age, KeepBytes: week.Bytes, Messages: 5, Bytes: bus.Durable[1].Bytes, Last: 5,
			Subscriptions: []messages.DurableSubscription{{Capsule: "c", Action: "on", Position: 5}},
		}
		if d := cmp.Diff(want, bus.Durable[1]); d != "" || bus.Durable[0].Name != "dead_letter.orders" {
			t.Error(d)
		}
	})
}

// Many publishers at once: each message has a position, without gaps, and each publisher's
// are in order.
func TestAppendTogether(t *testing.T) {
	each(t, func(t *testing.T, open func() store.Store) {
		s := newSystem(t, open(), week)
		defer s.Close()
		var all sync.WaitGroup
		for p := range 8 {
			all.Go(func() {
				for n := range 25 {
					if err := s.append(fmt.Sprintf("[%d,%d]", p, n)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		c := s.open()
		_, end := s.generation(1)
		defer end()
		var next [8]int
		for n := range uint64(200) {
			k, _, err := c.Next(t.Context())
			if err != nil || k == nil || k.Position != n+1 {
				t.Fatalf("position %d: %+v, %v", n+1, k, err)
			}
			var p, got int
			if _, err := fmt.Sscanf(string(k.Payload.Bytes()), "[%d,%d]", &p, &got); err != nil {
				t.Fatal(err)
			}
			if got != next[p] {
				t.Fatalf("publisher %d: %d, and not %d", p, got, next[p])
			}
			next[p]++
			c.Answered(k, 1)
		}
	})
}

// A generation whose fence is stale can't move the cursor: what it has answered is due
// again, also if its successor has answered more since.
func TestStaleGenerationCannotAcknowledge(t *testing.T) {
	each(t, func(t *testing.T, open func() store.Store) {
		s := newSystem(t, open(), week)
		defer s.Close()
		s.mustAppend("1", "2", "3")
		c := s.open()
		old, endOld := s.generation(1)
		c.Answered(s.wants(c, "1 1"), 1)
		settle(t, c)
		next, endNext := s.generation(2)
		defer endNext()
		if _, err := next.Fence(t.Context()); err != nil { // it has used its state
			t.Fatal(err)
		}
		c.Answered(s.wants(c, "2 2"), 1)
		settle(t, c)
		if _, _, err := c.Next(t.Context()); !errors.Is(err, store.ErrStale) {
			t.Fatalf("after a stale answer: %v", err)
		}
		k := s.wants(c, "2 2")
		endOld()
		c.Answered(k, 1) // by one that has ended
		if _, _, err := c.Next(t.Context()); !errors.Is(err, store.ErrStale) {
			t.Fatalf("after the answer of an ended one: %v", err)
		}
		if _, err := old.Fence(t.Context()); err != nil {
			t.Errorf("its old fence: %v", err)
		}
		c.Answered(s.wants(c, "2 2"), 2)
		s.wants(c, "3 3")
	})
}

// settle waits until all is stored that was answered.
func settle(t testing.TB, c *cursor) {
	t.Helper()
	for {
		c.mu.Lock()
		storing := c.storing
		c.mu.Unlock()
		if !storing {
			return
		}
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// An instance that never used its state and has ended takes no fence: its answer does not
// make its successor's writes stale.
func TestEndedInstanceTakesNoFence(t *testing.T) {
	s := newSystem(t, store.NewMemory(), week)
	defer s.Close()
	i, end := s.generation(1)
	end()
	if _, err := i.Fence(t.Context()); !errors.Is(err, store.ErrStale) {
		t.Errorf("Fence: %v", err)
	}
}

// A topic drops its oldest messages when it has too many bytes. A subscription that had
// not come to them is told how many.
func TestRetentionByBytes(t *testing.T) {
	each(t, func(t *testing.T, open func() store.Store) {
		s := newSystem(t, open(), Keep{Bytes: 1000})
		c := s.open()
		_, end := s.generation(1)
		s.mustAppend("0")
		c.Answered(s.wants(c, "1 0"), 1)
		for n := range 100 {
			s.mustAppend(fmt.Sprint(n))
		}
		var bus messages.Bus
		s.Show(&bus)
		kept := bus.Durable[1]
		if kept.Bytes > 1000 || kept.Bytes < 800 || kept.Last != 101 {
			t.Errorf("kept: %+v", kept)
		}
		first := kept.Last - kept.Messages + 1
		k, dropped, err := c.Next(t.Context())
		if err != nil || k.Position != first || dropped != first-2 {
			t.Fatalf("next: %+v, %d dropped, %v; the first is %d", k, dropped, err, first)
		}
		c.Answered(k, 1)
		if _, dropped, err = c.Next(t.Context()); dropped != 0 || err != nil {
			t.Errorf("a second time: %d dropped, %v", dropped, err)
		}
		end()
		s.Close()
		s = newSystem(t, open(), Keep{Bytes: 1}) // it keeps the newest one, whatever its size
		defer s.Close()
		s.mustAppend(`"last"`)
		if k, _, err = s.open().Next(t.Context()); err != nil || k.Position != 102 {
			t.Errorf("with less room: %+v, %v", k, err)
		}
	})
}

// A topic drops messages that are too old, also if nobody publishes any more.
func TestRetentionByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t, store.NewMemory(), Keep{Age: time.Hour, Bytes: 1 << 20})
		defer s.Close()
		c := s.open()
		kept := func() uint64 {
			var bus messages.Bus
			s.Show(&bus)
			return bus.Durable[1].Messages
		}
		s.mustAppend("1")
		<-time.After(40 * time.Minute)
		s.mustAppend("2")
		<-time.After(25 * time.Minute)
		synctest.Wait()
		if n := kept(); n != 1 {
			t.Errorf("after 65 minutes %d are kept", n)
		}
		if got := s.next(c); got != "2 2" {
			t.Errorf("a new subscription begins with %q", got)
		}
		<-time.After(time.Hour)
		synctest.Wait()
		if n := kept(); n != 0 {
			t.Errorf("after two hours %d are kept", n)
		}
		k, dropped, err := c.Next(t.Context())
		if k != nil || dropped != 1 || err != nil {
			t.Errorf("next: %+v, %d dropped, %v", k, dropped, err)
		}
		s.mustAppend("3")
		s.wants(c, "3 3")
	})
}

// A topic that is not declared any more keeps nothing new, and what it has is read.
func TestTopicThatIsNotDeclaredAnyMore(t *testing.T) {
	each(t, func(t *testing.T, open func() store.Store) {
		s := newSystem(t, open(), week)
		s.mustAppend("1")
		s.Close()
		s = newSystem(t, open(), week)
		defer s.Close()
		s.Declare(nil)
		if err := s.append("2"); err == nil || s.Durable("orders") {
			t.Error("it takes messages")
		}
		_, end := s.generation(1)
		defer end()
		c := s.open()
		c.Answered(s.wants(c, "1 1"), 1)
		s.wants(c, "")
	})
}

// A message that is buried is gone once its dead letter is there, and not before.
func TestBury(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t, store.NewMemory(), week)
		defer s.Close()
		s.mustAppend("1", "2")
		c := s.open()
		_, end := s.generation(1)
		defer end()
		tries := 0
		c.Bury(s.wants(c, "1 1"), 1, func(context.Context) error {
			if tries++; tries < 3 {
				return errors.New("the disk is full")
			}
			return nil
		})
		c.Answered(s.wants(c, "2 2"), 1) // it goes on meanwhile
		synctest.Wait()
		if at := storedAt(c); at != 0 {
			t.Errorf("the cursor is at %d before the dead letter is there", at)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if at := storedAt(c); tries != 3 || at != 2 {
			t.Errorf("%d tries, and the cursor is at %d", tries, at)
		}
	})
}

// storedAt returns the position that the store has.
func storedAt(c *cursor) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stored.Position
}

// failing is a store that refuses transactions above a size.
type failing struct {
	store.Store
	limit int
}

func (f failing) Txn(ctx context.Context, fence store.Fence, compare []store.Compare, writes []store.Write) (uint64, error) {
	size := 0
	for _, w := range writes {
		size += len(w.Value)
	}
	if size > f.limit {
		return 0, errors.New("the disk is full")
	}
	return f.Store.Txn(ctx, fence, compare, writes)
}

// A message that does not fit on the disk fails alone, and leaves no gap.
func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t, failing{store.NewMemory(), 1000}, week)
		defer s.Close()
		var all sync.WaitGroup
		large := `"` + string(make([]byte, 0)) + fmt.Sprintf("%01000d", 0) + `"`
		for n := range 3 {
			all.Go(func() {
				if err := s.append(fmt.Sprint(n)); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				if err := s.append(large); err == nil {
					t.Error("the large one is said to be kept")
				}
			})
		}
		all.Wait()
		c := s.open()
		_, end := s.generation(1)
		defer end()
		for position := range uint64(3) {
			k, _, err := c.Next(t.Context())
			if err != nil || k.Position != position+1 {
				t.Fatalf("%+v, %v", k, err)
			}
			c.Answered(k, 1)
		}
	})
}

// hanging is a store whose transactions wait for their context.
type hanging struct{ store.Store }

func (hanging) Txn(ctx context.Context, _ store.Fence, _ []store.Compare, _ []store.Write) (uint64, error) {
	<-ctx.Done()
	return 0, context.Cause(ctx)
}

// A disk that hangs holds up neither a publisher that gives up, nor the end.
func TestHangingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t, hanging{store.NewMemory()}, week)
		defer s.Close()
		for range 3 { // one is being stored, and the others are withdrawn
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := s.Append(ctx, &actors.Kept{Message: &capsulehost.Message{Topic: "orders", Payload: mustPayload(t)}})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Append: %v", err)
			}
			cancel()
		}
		if waiting := s.topics["orders"]; len(waiting.waiting) != 0 || waiting.bytes != 0 {
			t.Errorf("%d messages wait, with %d bytes", len(waiting.waiting), waiting.bytes)
		}
	})
}

func mustPayload(t testing.TB) capsulehost.Payload {
	t.Helper()
	p, err := capsulehost.ParsePayload([]byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// After a restore, what the store has counts: appending and reading go on from there.
func TestRefresh(t *testing.T) {
	m := store.NewMemory()
	s := newSystem(t, m, week)
	defer s.Close()
	s.mustAppend("1", "2")
	c := s.open()
	_, end := s.generation(1)
	defer end()
	c.Answered(s.wants(c, "1 1"), 1)
	settle(t, c)
	back, err := m.List(t.Context(), store.Range{})
	if err != nil {
		t.Fatal(err)
	}
	c.Answered(s.wants(c, "2 2"), 1)
	s.mustAppend("3")
	settle(t, c)
	writes := []store.Write{store.Delete(eventKey("orders", 3))}
	for _, e := range back {
		writes = append(writes, store.Put(e.Key, e.Value))
	}
	if _, err := m.Txn(t.Context(), store.Fence{}, nil, writes); err != nil {
		t.Fatal(err)
	}
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.wants(c, "2 2")
	s.mustAppend("4")
	c.Answered(s.wants(c, "2 2"), 1)
	c.Answered(s.wants(c, "3 4"), 1)
	settle(t, c)
	s.wants(c, "")
}
