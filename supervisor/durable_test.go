package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// diary is what a guest was called with, over all its instances.
type diary struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{} // has a token when there are more lines
}

func newDiary() *diary { return &diary{more: make(chan struct{}, 1)} }

func (d *diary) note(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
	select {
	case d.more <- struct{}{}:
	default:
	}
}

// await waits for the line, and returns all lines so far.
func (d *diary) await(t testing.TB, line string) []string {
	t.Helper()
	for {
		d.mu.Lock()
		lines := slices.Clone(d.lines)
		d.mu.Unlock()
		if slices.Contains(lines, line) {
			return lines
		}
		select {
		case <-d.more:
		case <-t.Context().Done():
			t.Fatalf("no %q in %q", line, lines)
		}
	}
}

// consumer is a capsule with a durable interceptor for the topic `orders`.
func consumer(f func(ctx context.Context, c *supervisortest.Call) error) supervisor.Capsule {
	c := supervisortest.Func("consumer", "orders", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		return capsulehost.Result{}, f(ctx, c)
	})
	c.Manifest += "durable = true\n[supervision]\nbudget = 100\nbackoff_initial = \"1ms\"\nbackoff_max = \"1ms\"\n"
	return c
}

var durableOrders = []supervisor.Topic{{Name: "orders", Durable: true}}

// publish publishes messages on the durable topic orders.
func publish(t testing.TB, s *supervisortest.System, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		if err := s.Publish(t.Context(), "orders", json.RawMessage(p), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// Every message is answered, in order, whatever happens between a call and its answer: a
// crash, a failure, a restart by an operator, or the end of the supervisor.
func TestDurableInterceptorMissesNothing(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) func() store.Store{
		"memory": func(*testing.T) func() store.Store {
			s := store.NewMemory()
			return func() store.Store { return s }
		},
		"bolt": func(t *testing.T) func() store.Store {
			path := filepath.Join(t.TempDir(), "state.db")
			return func() store.Store {
				s, err := store.Open(path, store.Options{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = s.Close() })
				return s
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			open := open(t)
			d := newDiary()
			var stuck context.CancelFunc
			failed := map[string]bool{}
			act := consumer(func(ctx context.Context, c *supervisortest.Call) error {
				p := string(c.Payload)
				first := !failed[p]
				failed[p] = true
				switch {
				case first && p == "2":
					d.note("2 crashes")
					panic("a crash between the call and its answer")
				case first && p == "4":
					d.note("4 fails")
					return errors.New("not now")
				case first && p == "6":
					d.note("6 hangs")
					stuck()
					<-ctx.Done()
					return ctx.Err()
				}
				d.note(p)
				return nil
			})
			for round := range 2 {
				s := open()
				sup := supervisortest.New(t, supervisor.Config{Store: s, Topics: durableOrders}, act)
				hangs, cancel := context.WithCancel(t.Context())
				stuck = cancel
				sup.Launch()
				sup.AwaitReady("consumer", 1)
				if round == 0 {
					publish(t, sup, "1", "2", "3", "4", "5", "6", "7", "8")
					<-hangs.Done()
					if err := sup.Kill(t.Context(), "consumer"); err != nil { // 6 is called again
						t.Fatal(err)
					}
				} else {
					publish(t, sup, "9")
				}
				cancel()
				got := d.await(t, map[int]string{0: "8", 1: "9"}[round])
				if err := sup.Close(); err != nil {
					t.Fatal(err)
				}
				if b, isFile := s.(*store.Bolt); isFile {
					_ = b.Close()
				}
				want := "1, 2 crashes, 2, 3, 4 fails, 4, 5, 6 hangs, 6, 7, 8"
				if round == 1 {
					want += ", 9"
				}
				if text := strings.Join(got, ", "); text != want {
					t.Errorf("round %d: %s", round, text)
				}
			}
		})
	}
}

// A message that fails each time becomes a dead letter: kept in a topic of its own, seen
// as an event and a count, and the messages after it are called.
func TestPoisonBecomesADeadLetter(t *testing.T) {
	d := newDiary()
	poisoned := consumer(func(_ context.Context, c *supervisortest.Call) error {
		d.note(string(c.Payload))
		switch string(c.Payload) {
		case `"fails"`:
			return errors.New("never")
		case `"traps"`:
			panic("always")
		}
		return nil
	})
	poisoned.Manifest = strings.Replace(poisoned.Manifest, "durable = true", "durable = true\nattempts = 2", 1)
	buried := supervisortest.Func("undertaker", "dead_letter.orders", func(_ context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		d.note("buried " + string(c.Payload))
		return capsulehost.Result{}, nil
	})
	buried.Manifest += "durable = true\n"
	s := supervisortest.Start(t, supervisor.Config{Topics: durableOrders}, poisoned, buried)
	live := s.Subscribe(t.Context(), "dead_letter.orders")
	publish(t, s, "1", `"fails"`, "2", `"traps"`, "3")
	d.await(t, "3")
	letters := 0
	for m, err := range live {
		if err != nil {
			t.Fatal(err)
		}
		var letter struct {
			Capsule, Action, Topic, Outcome, Reason string
			Attempts, Position                      int
			Payload                                 json.RawMessage
		}
		if err := json.Unmarshal(m.Payload, &letter); err != nil {
			t.Fatal(err)
		}
		diff(t, "consumer act orders 2", fmt.Sprint(letter.Capsule, " ", letter.Action, " ", letter.Topic, " ", letter.Attempts))
		d.await(t, "buried "+string(m.Payload))
		if letters++; letters == 2 {
			diff(t, `crashed "traps" 4`, fmt.Sprint(letter.Outcome, " ", string(letter.Payload), " ", letter.Position))
			break
		}
		diff(t, `failed "fails" 2`, fmt.Sprint(letter.Outcome, " ", string(letter.Payload), " ", letter.Position))
		if letter.Reason == "" {
			t.Error("a dead letter does not say why")
		}
	}
	var calls []string
	for _, line := range d.await(t, "3") {
		if !strings.HasPrefix(line, "buried") {
			calls = append(calls, line)
		}
	}
	diff(t, `[1 "fails" "fails" 2 "traps" "traps" 3]`, fmt.Sprint(calls))
	s.Await("dead_letter", func(e supervisor.Event) bool {
		letter, ok := e.Detail.(messages.DeadLetter)
		return ok && letter.Reason == "poison" && letter.Topic == "orders" && strings.HasSuffix(e.Path, "consumer")
	})
	bus := s.Snapshot().Bus
	if bus.DeadLetters["poison"] != 2 {
		t.Errorf("dead letters: %v", bus.DeadLetters)
	}
	if len(bus.Durable) != 2 || bus.Durable[0].Name != "dead_letter.orders" || bus.Durable[0].Messages != 2 {
		t.Errorf("durable topics: %+v", bus.Durable)
	}
}

// A consumer that is slow holds up nobody, and what it has not come to waits in the
// store: no queue grows. What its topic can't keep any more is reported.
func TestSlowDurableInterceptor(t *testing.T) {
	const all = 300
	d := newDiary()
	goOn := make(chan struct{})
	slow := consumer(func(ctx context.Context, c *supervisortest.Call) error {
		d.note("called with " + string(c.Payload))
		select {
		case <-goOn:
		case <-ctx.Done():
		}
		d.note(string(c.Payload))
		return nil
	})
	topics := []supervisor.Topic{{Name: "orders", Durable: true, Bytes: 10_000}}
	s := supervisortest.Start(t, supervisor.Config{Topics: topics}, slow)
	for n := range all {
		publish(t, s, fmt.Sprint(n))
		if n == 0 {
			d.await(t, "called with 0")
		}
	}
	topic := s.Snapshot().Bus.Durable[1]
	if queue := s.Capsule("consumer").Queue; queue > 1 {
		t.Errorf("%d calls wait", queue)
	}
	if topic.Bytes > 10_000 || len(topic.Subscriptions) != 1 || topic.Subscriptions[0].Lag != all {
		t.Errorf("%+v", topic)
	}
	close(goOn)
	got := d.await(t, fmt.Sprint(all-1))
	first := all - int(topic.Messages)
	got = slices.DeleteFunc(got, func(line string) bool { return strings.HasPrefix(line, "called") })
	for n, line := range got[1:] {
		if line != fmt.Sprint(first+n) {
			t.Fatalf("call %d is %s, and not %d", n, line, first+n)
		}
	}
	e := s.Await("dead_letter", func(e supervisor.Event) bool {
		letter, ok := e.Detail.(messages.DeadLetter)
		return ok && letter.Reason == "expired"
	})
	if letter, _ := e.Detail.(messages.DeadLetter); letter.Count != uint64(first-1) {
		t.Errorf("%d messages are said to be dropped, and not %d", letter.Count, first-1)
	}
}

// A capsule declares the durable topics that it may publish. What it publishes there
// reaches a capsule that is stopped, once it runs again; live subscribers and ordinary
// interceptors have it at once; a durable one is not called twice.
func TestDurableTopicOfAManifest(t *testing.T) {
	d := newDiary()
	shop := supervisortest.Func("shop", "buy", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		payload, err := capsulehost.ParsePayload(c.Payload)
		if err != nil {
			return capsulehost.Result{}, err
		}
		return capsulehost.Result{}, c.Services().Bus.Publish(ctx, "orders", payload)
	})
	shop.Manifest += "[capabilities]\nipc_publish = [\"orders\"]\n[[topic]]\nname = \"orders\"\ndurable = true\nkeep = \"12h\"\n"
	ordinary := supervisortest.Func("ordinary", "orders", func(_ context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		d.note("ordinary " + string(c.Payload))
		return capsulehost.Result{}, nil
	})
	s := supervisortest.Start(t, supervisor.Config{}, shop, ordinary, consumer(func(_ context.Context, c *supervisortest.Call) error {
		d.note("durable " + string(c.Payload))
		return nil
	}))
	live := s.Subscribe(t.Context(), "orders")
	if err := s.Stop(t.Context(), "consumer"); err != nil {
		t.Fatal(err)
	}
	s.Expect("buy", `"a"`, "shop empty")
	for m, err := range live {
		if err != nil || string(m.Payload) != `"a"` {
			t.Errorf("live: %s, %v", m.Payload, err)
		}
		break
	}
	d.await(t, `ordinary "a"`)
	if topic := s.Snapshot().Bus.Durable[1]; topic.KeepAge.Hours() != 12 || topic.Messages != 1 {
		t.Errorf("%+v", topic)
	}
	if err := s.Start(t.Context(), "consumer"); err != nil {
		t.Fatal(err)
	}
	d.await(t, `durable "a"`)
	s.Expect("buy", `"b"`, "shop empty")
	d.await(t, `ordinary "b"`)
	got := d.await(t, `durable "b"`)
	slices.Sort(got)
	diff(t, `[durable "a" durable "b" ordinary "a" ordinary "b"]`, fmt.Sprint(got))
}

// A call that an operator's command ends is no attempt: only what the capsule itself fails
// over makes a message poison. It comes again, and is answered.
func TestInterruptedCallIsNoAttempt(t *testing.T) {
	called, calls := make(chan struct{}, 1), 0
	stuck := consumer(func(ctx context.Context, _ *supervisortest.Call) error {
		if calls++; calls > 2 {
			called <- struct{}{}
			return nil
		}
		called <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	stuck.Manifest = strings.Replace(stuck.Manifest, "durable = true", "durable = true\nattempts = 1", 1)
	stuck.Manifest += "stop_timeout = \"1ms\"\n"
	s := supervisortest.Start(t, supervisor.Config{Topics: durableOrders}, stuck)
	publish(t, s, "1")
	for name, command := range map[string]func(ctx context.Context, id string) error{ // a restart waits for its call
		"kill": s.Kill,
		"stop and start": func(ctx context.Context, id string) error {
			if err := s.Stop(ctx, id); err != nil {
				return err
			}
			return s.Start(ctx, id)
		},
	} {
		<-called
		if err := command(t.Context(), "consumer"); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	<-called // it is answered now
	publish(t, s, "2")
	<-called // so the first one has been
	bus := s.Snapshot().Bus
	if bus.DeadLetters["poison"] != 0 || bus.Durable[1].Subscriptions[0].Attempts != 0 {
		t.Errorf("dead letters %v, %+v", bus.DeadLetters, bus.Durable[1].Subscriptions)
	}
}

// Each attempt to call a durable interceptor has a trace, with what its guest makes in turn.
func TestDurableDeliveryHasATrace(t *testing.T) {
	done := make(chan struct{}, 1)
	failed := false
	traced := consumer(func(ctx context.Context, c *supervisortest.Call) error {
		if !failed {
			failed = true
			return errors.New("not now")
		}
		payload, err := capsulehost.ParsePayload(c.Payload)
		if err == nil {
			err = c.Services().Bus.Publish(ctx, "shipped", payload)
		}
		done <- struct{}{}
		return err
	})
	traced.Manifest += "[capabilities]\nipc_publish = [\"shipped\"]\n"
	heard := supervisortest.Func("listener", "shipped", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
		done <- struct{}{}
		return capsulehost.Result{}, nil
	})
	s := supervisortest.Start(t, supervisor.Config{Topics: durableOrders}, traced, heard)
	publish(t, s, "1", "2")
	for range 4 { // two messages, and what follows from each
		<-done
	}
	if err := s.Stop(t.Context(), "consumer"); err != nil { // all of its calls have ended
		t.Fatal(err)
	}
	var got []string
	for _, trace := range s.Traces() {
		root := trace.Root
		if !root.Published || root.Topic != "orders" || len(root.Calls) != 1 {
			t.Errorf("%+v", trace)
			continue
		}
		line := fmt.Sprint(root.Calls[0].Capsule, " ", root.Calls[0].Outcome)
		for _, made := range root.Calls[0].Made {
			line += fmt.Sprint(", ", made.Topic, " by ", made.From, " to ", made.Calls[0].Capsule)
		}
		got = append(got, line)
	}
	diff(t, "consumer failed; consumer empty, shipped by consumer to listener; consumer empty, shipped by consumer to listener", strings.Join(got, "; "))
}

// The place of a capsule in a topic stays when it is removed, as its state does: it goes on
// there when it comes back. Meanwhile it holds nothing back: the topic drops what it does not
// keep, and the capsule is told how much that was.
func TestRemovedCapsuleKeepsItsPlace(t *testing.T) {
	d := newDiary()
	reader := consumer(func(_ context.Context, c *supervisortest.Call) error {
		d.note(string(c.Payload))
		return nil
	})
	s := supervisortest.Start(t, supervisor.Config{Topics: []supervisor.Topic{{Name: "orders", Durable: true, Bytes: 1000}}}, reader)
	publish(t, s, "1", "2")
	d.await(t, "2")
	if err := s.Remove(t.Context(), "consumer"); err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		publish(t, s, fmt.Sprint(3+n))
	}
	if topic := s.Snapshot().Bus.Durable[1]; topic.Bytes > 1000 || topic.Messages == 0 || len(topic.Subscriptions) != 0 {
		t.Errorf("while it is removed: %+v", topic)
	}
	kept := s.Snapshot().Bus.Durable[1].Messages
	if _, err := s.Add(t.Context(), reader); err != nil {
		t.Fatal(err)
	}
	got := d.await(t, "102")
	if len(got) != 2+int(kept) || got[2] != fmt.Sprint(103-kept) {
		t.Errorf("%d messages are kept, and it was called with %v", kept, got)
	}
	e := s.Await("dead_letter", func(e supervisor.Event) bool {
		letter, ok := e.Detail.(messages.DeadLetter)
		return ok && letter.Reason == "expired"
	})
	if letter, _ := e.Detail.(messages.DeadLetter); letter.Count != 100-kept {
		t.Errorf("%d messages are said to be dropped, and not %d", letter.Count, 100-kept)
	}
}
