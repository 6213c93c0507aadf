package web

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/messages"
)

func TestTimeline(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	at := func(ago time.Duration, generation uint64, detail messages.Detail) messages.Event {
		return messages.Event{At: now.Add(-ago), Generation: generation, Detail: detail}
	}
	events := []messages.Event{ // newest first
		at(20*time.Second, 2, messages.CapsuleReady{}),
		at(25*time.Second, 2, messages.CapsuleLoading{}),
		at(49*time.Second, 1, messages.RestartScheduled{}),
		at(50*time.Second, 1, messages.CapsuleCrashed{}),
		at(100*time.Second, 1, messages.CapsuleReady{}),
	}
	detail := &messages.CapsuleDetail{Capsule: &messages.Capsule{ID: "a"}, Failures: []messages.FailureRecord{
		{Generation: 1, Failure: messages.Failure{Kind: "trap", At: now.Add(-50 * time.Second)}},
	}}
	show := func(span time.Duration) string {
		p := timeline(events, detail, now, span)
		var b strings.Builder
		for _, s := range p.Segments {
			b.WriteString(s.State.String() + " " + s.X + "+" + s.Width + " " + s.Label + "\n")
		}
		for _, m := range p.Marks {
			b.WriteString("death " + m.X + "\n")
		}
		for _, k := range p.Ticks {
			b.WriteString(k.Label + " ")
		}
		return b.String()
	}
	for span, want := range map[time.Duration]string{
		0: "ready 0.00%+50.00% 1\ncrashed 50.00%+25.00% 1\nloading 75.00%+5.00% \nready 80.00%+20.00% 2\n" +
			"death 50.00%\n−1 min 40 s −1 min 15 s −50 s −25 s now ",
		40 * time.Second: "crashed 0.00%+37.50% 1\nloading 37.50%+12.50% 2\nready 50.00%+50.00% 2\n−40 s −30 s −20 s −10 s now ",
	} {
		if got := show(span); got != want {
			t.Errorf("the last %v:\n%s\nwant\n%s", span, got, want)
		}
	}
	if p := timeline(nil, &messages.CapsuleDetail{Capsule: &messages.Capsule{}}, now, 0); len(p.Segments) != 0 || p.From != now.Add(-10*time.Second) {
		t.Errorf("of nothing: %+v", p)
	}
}

func TestLatency(t *testing.T) {
	h := counted(map[time.Duration]int{2100: 2, 4000: 3, 9 * time.Microsecond: 15, 16 * time.Microsecond: 5})
	points := []point{
		{calls: 1, p50: 10 * time.Microsecond, p99: time.Millisecond},
		{calls: 1, p50: 100 * time.Microsecond, p99: time.Millisecond},
		{},
		{calls: 1, p50: time.Millisecond, p99: time.Millisecond},
	}
	p := latency(points, h)
	if p.Low != 10*time.Microsecond || p.High != time.Millisecond {
		t.Errorf("from %v to %v", p.Low, p.High)
	}
	if len(p.P50) != 2 || len(p.P99) != 2 {
		t.Fatalf("the step without calls is no gap: %q", p.P50)
	}
	if want := "289.8,30.0 "; !strings.HasSuffix(p.P50[0], want) {
		t.Errorf("half of the scale is %q, want %q at its end", p.P50[0], want)
	}
	if len(p.Bars) != 3 || p.Bars[0].N != 5 || p.Bars[2].Height != "96.00%" || p.Bars[1].Height != "0.00%" || p.Bars[0].From != 2048 || p.Bars[0].To != 4096 {
		t.Errorf("bars %+v", p.Bars)
	}
	if p := latency(nil, messages.Histogram{}); p.Calls != 0 || len(p.Bars) != 0 {
		t.Errorf("of nothing: %+v", p)
	}
}

// counted returns a histogram of durations, each with its count.
func counted(durations map[time.Duration]int) messages.Histogram {
	var counts messages.Counts
	for d, n := range durations {
		for range n {
			counts.Add(d)
		}
	}
	return counts.Histogram()
}

func TestDifference(t *testing.T) {
	const a, b, c, d = time.Microsecond, time.Millisecond, time.Second, time.Minute
	earlier := counted(map[time.Duration]int{b: 2, c: 1})
	later := counted(map[time.Duration]int{a: 1, b: 5, c: 1, d: 3})
	want := counted(map[time.Duration]int{a: 1, b: 3, d: 3})
	if diff := cmp.Diff(want.Buckets, difference(later, earlier).Buckets); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := difference(later, later).Count(); n != 0 {
		t.Errorf("a histogram differs from itself by %d", n)
	}
}

// TestBarsOfShortCalls checks that all durations up to a microsecond share the first
// bar.
func TestBarsOfShortCalls(t *testing.T) {
	p := latency(nil, counted(map[time.Duration]int{0: 1, 100: 2, 1023: 4, 1024: 8}))
	if len(p.Bars) != 2 || p.Bars[0].N != 7 || p.Bars[0].From != 0 || p.Bars[0].To != 1024 || p.Bars[1].N != 8 || p.Bars[1].From != 1024 {
		t.Errorf("bars %+v", p.Bars)
	}
}
