package actors

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// subscriptionMatches is the rule, in its simplest form: a `*` is any one segment, and one
// at the end, after another segment, is one or more.
func subscriptionMatches(topic, pattern string) bool {
	t, p := strings.Split(topic, "."), strings.Split(pattern, ".")
	if last := len(p) - 1; last > 0 && p[last] == "*" && len(t) > last {
		t = append(t[:last:last], "x")
	}
	return slices.EqualFunc(t, p, func(t, p string) bool { return p == "*" || p == t })
}

// The table finds the subscriptions that match, each once, whatever was added and removed.
func TestSubscriptionTable(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "*"})
	path := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(t, "segments"), ".") })
	sys := system.New(quiet())
	defer sys.Close()
	rapid.Check(t, func(rt *rapid.T) {
		b := NewBus(BusConfig{System: sys, Router: NewRouter(nil, nil)})
		var all []*Subscription
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			switch rapid.IntRange(0, 2).Draw(rt, "what") {
			case 0:
				all = append(all, b.Subscribe(path.Draw(rt, "pattern")))
			case 1:
				if len(all) > 0 {
					n := rapid.IntRange(0, len(all)-1).Draw(rt, "which")
					all[n].Close()
					all[n].Close()
					all = slices.Delete(all, n, n+1)
				}
			default:
				topic := path.Draw(rt, "topic")
				delivered := b.subscriptions.deliver(note(topic, "1"), &route{})
				want := 0
				for _, s := range all {
					m, _ := s.Next()
					more, _ := s.Next()
					if matches := subscriptionMatches(topic, s.pattern); matches != (m != nil) || more != nil {
						rt.Fatalf("%q for %q: got %v, and %v", topic, s.pattern, m, more)
					} else if matches {
						want++
					}
				}
				if delivered != want {
					rt.Fatalf("%q: delivered to %d, want %d", topic, delivered, want)
				}
			}
		}
		for _, s := range all {
			s.Close()
		}
		if left := &b.subscriptions; left.count != 0 || len(left.exact)+len(left.wild.next) != 0 {
			rt.Fatalf("left: %+v", left)
		}
	})
}

func note(topic, json string) *capsulehost.Message {
	p, err := capsulehost.ParsePayload([]byte(json))
	if err != nil {
		panic(err)
	}
	return &capsulehost.Message{Topic: topic, Payload: p}
}

// A subscription that is full loses its oldest messages, by number, by bytes, and by the
// bytes of all that its capsule holds; and says so once.
func TestSubscriptionLosesItsOldest(t *testing.T) {
	sys := system.New(quiet())
	defer sys.Close()
	b := NewBus(BusConfig{System: sys, Router: NewRouter(nil, nil)})
	held := &atomic.Int64{}
	one := func() *Subscription { return b.subscribe(&Subscription{pattern: "t", held: held}) }

	s := one()
	for range subscriptionMessages + 10 {
		s.push(note("t", "1"))
	}
	got := s.batch(false)
	if len(got.Messages) != subscriptionMessages || got.Lagged != 10 || got.Dropped != 0 {
		t.Errorf("by number: %d messages, %d lagged, %d dropped", len(got.Messages), got.Lagged, got.Dropped)
	}
	if again := s.batch(false); again.Lagged != 0 || len(again.Messages) != 0 {
		t.Errorf("a second time: %+v", again)
	}

	large := note("t", `"`+strings.Repeat("x", 3<<20)+`"`)
	for range 7 {
		s.push(large)
	}
	if s.count != 5 || held.Load() != 5*int64(large.Payload.Size()) {
		t.Errorf("by bytes: %d wait, with %d bytes", s.count, held.Load())
	}
	got = s.batch(false)
	if len(got.Messages) != 3 || got.Lagged != 2 || got.Dropped != 1 {
		t.Errorf("a batch of 10 MiB: %d messages, %d lagged, %d dropped", len(got.Messages), got.Lagged, got.Dropped)
	}
	if got = s.batch(true); len(got.Messages) != 1 || held.Load() != 0 {
		t.Errorf("the rest: %d messages, %d bytes held", len(got.Messages), held.Load())
	}

	var many []*Subscription
	for range 6 {
		many = append(many, one())
	}
	for range 5 {
		for _, s := range many {
			s.push(large)
		}
	}
	if held.Load() > capsuleBytes {
		t.Errorf("all subscriptions hold %d bytes", held.Load())
	}
	for _, s := range many {
		s.Close()
	}
	if held.Load() != 0 {
		t.Errorf("closed, they hold %d bytes", held.Load())
	}
	s.Close()
	s.push(large)
	if s.count != 0 {
		t.Error("a closed subscription takes messages")
	}
	if b.stats.lagged.Load() == 0 {
		t.Error("nothing was counted as lagged")
	}
}
