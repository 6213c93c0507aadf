package actors

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/astrid-actors/astrid-actors/messages"
)

// subscribe enters a pattern and returns its subscription.
func subscribe(x *topicIndex, t *target, event, action string, priority uint32) subscription {
	i := messages.Interceptor{Event: event, Action: action, Priority: priority}
	s := subscription{target: t, interceptor: &i, position: len(t.interceptors)}
	t.interceptors = append(t.interceptors, i)
	x.add(s)
	return s
}

func actions(found []subscription) []string {
	var out []string
	for _, s := range found {
		out = append(out, s.target.id+":"+s.interceptor.Action)
	}
	return out
}

func TestIndexMatchesByTheSegment(t *testing.T) {
	var x topicIndex
	a := &target{id: "a"}
	for _, event := range []string{"x", "x.y", "x.*", "*.y", "*.*", "*", "x.y.z", "x..y", ""} {
		subscribe(&x, a, event, event, 100)
	}
	for topic, want := range map[string][]string{
		"x":     {"a:x", "a:*"},
		"x.y":   {"a:x.y", "a:x.*", "a:*.y", "a:*.*"},
		"q.y":   {"a:*.y", "a:*.*"},
		"x.y.z": {"a:x.y.z"},
		"x.y.q": nil,
		"x..y":  nil,
		"x.":    nil,
		"":      nil,
		"x.*":   {"a:x.*", "a:*.*"}, // `*` in a topic is a segment like any other: only patterns have wildcards
	} {
		if diff := cmp.Diff(want, actions(x.match(topic))); diff != "" {
			t.Errorf("match(%q): -want +got\n%s", topic, diff)
		}
	}
}

func TestLegsAreOrderedByPriorityCapsuleAndPlace(t *testing.T) {
	var x topicIndex
	b, a := &target{id: "b"}, &target{id: "a"}
	subscribe(&x, b, "t", "late", 200)
	subscribe(&x, b, "t", "first", 1)
	subscribe(&x, b, "t", "second", 100)
	subscribe(&x, a, "*", "one", 100)
	subscribe(&x, a, "t", "two", 100)
	subscribe(&x, b, "u", "last", 9)
	subscribe(&x, a, "u", "first", 9) // "u" has one pattern with several subscribers
	want := map[string][]string{
		"t": {"b:first", "a:one", "a:two", "b:second", "b:late"},
		"u": {"a:first", "b:last", "a:one"},
	}
	for range 2 {
		for topic := range want {
			if diff := cmp.Diff(want[topic], actions(x.match(topic))); diff != "" {
				t.Errorf("match(%q): -want +got\n%s", topic, diff)
			}
		}
	}
	subscribe(&x, b, "v", "last", 9)
	subscribe(&x, a, "v", "first", 1)
	x.remove(a, "*")
	if diff := cmp.Diff([]string{"a:first", "b:last"}, actions(x.match("v"))); diff != "" {
		t.Errorf("one pattern: -want +got\n%s", diff)
	}
}

// The index answers as a scan over all patterns would, whatever comes and goes.
func TestIndexIsAScan(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "c", "*", ""})
	pattern := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(segment, 0, 4).Draw(t, "segments"), ".")
	})
	rapid.Check(t, func(t *rapid.T) {
		var x topicIndex
		targets := []*target{{id: "p"}, {id: "q"}, {id: "r"}}
		var all []subscription
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			who := rapid.SampledFrom(targets).Draw(t, "target")
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				for _, i := range who.interceptors {
					x.remove(who, i.Event)
				}
				who.interceptors = nil
				all = slices.DeleteFunc(all, func(s subscription) bool { return s.target == who })
				continue
			}
			event := pattern.Draw(t, "pattern")
			all = append(all, subscribe(&x, who, event, event, rapid.Uint32Range(0, 3).Draw(t, "priority")))
		}
		topic := pattern.Draw(t, "topic")
		var want []subscription
		for _, s := range all {
			if matches(s.interceptor.Event, topic) {
				want = append(want, s)
			}
		}
		slices.SortFunc(want, subscription.order)
		if got := x.match(topic); !slices.Equal(got, want) {
			t.Fatalf("match(%q) = %v, want %v", topic, actions(got), actions(want))
		}
		for _, who := range targets {
			for _, i := range who.interceptors {
				x.remove(who, i.Event)
			}
		}
		if x.root.any != nil || len(x.root.exact) != 0 || len(x.root.here) != 0 {
			t.Fatal("branches are left in an index that holds nothing")
		}
	})
}

// matches is the rule itself: as many segments, each equal or `*` in the pattern.
func matches(pattern, topic string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(topic, ".")
	if len(p) != len(s) {
		return false
	}
	for i := range p {
		if p[i] == "" || s[i] == "" || (p[i] != "*" && p[i] != s[i]) {
			return false
		}
	}
	return true
}

func BenchmarkMatchTenOf(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(strings.ReplaceAll("n", "n", map[int]string{1_000: "1000", 100_000: "100000"}[n]), func(b *testing.B) {
			var x topicIndex
			for i := range n {
				who := &target{id: string(rune('a'+i%26)) + strings.Repeat("x", i%7)}
				event := "hook." + strings.Repeat("y", i%50) + string(rune('a'+i%26)) + ".t" + strings.Repeat("z", i/1000)
				if i%(n/10) == 0 {
					event = "hook.wanted.*"
				}
				subscribe(&x, who, event, "act", 100)
			}
			b.ReportAllocs()
			for b.Loop() {
				if len(x.match("hook.wanted.now")) != 10 {
					b.Fatal("not ten")
				}
			}
		})
	}
}
