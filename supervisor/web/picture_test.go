package web

import (
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

func TestTimeline(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	at := func(ago time.Duration, generation uint64, e *messages.Event) *messages.Event {
		e.At, e.Generation = (now.Add(-ago)), generation
		return e
	}
	loadingEvent := func() *messages.Event { return messages.Event{What: &messages.Event_CapsuleLoading{}} }
	readyEvent := func() *messages.Event { return messages.Event{What: &messages.Event_CapsuleReady{}} }
	crashedEvent := func() *messages.Event { return messages.Event{What: &messages.Event_CapsuleCrashed{}} }
	events := []messages.Event{ // newest first
		at(20*time.Second, 2, readyEvent()),
		at(25*time.Second, 2, loadingEvent()),
		at(49*time.Second, 1, messages.Event{What: &messages.Event_RestartScheduled{}}),
		at(50*time.Second, 1, crashedEvent()),
		at(100*time.Second, 1, readyEvent()),
	}
	detail := &messages.CapsuleDetail{Capsule: &messages.Capsule{ID: "a"}, Failures: []messages.FailureRecord{
		{Generation: 1, Failure: &messages.Failure{Kind: "trap", At: (now.Add(-50 * time.Second))}},
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
	if p := timeline(nil, &messages.CapsuleDetail{}, now, 0); len(p.Segments) != 0 || p.From != now.Add(-10*time.Second) {
		t.Errorf("of nothing: %+v", p)
	}
}

func TestLatency(t *testing.T) {
	h := &messages.Histogram{Buckets: []uint64{0, 0, 5, 0, 20}}
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
	if len(p.Bars) != 3 || p.Bars[0].N != 5 || p.Bars[2].Height != "96.00%" || p.Bars[1].Height != "0.00%" || p.Bars[0].To != 4*time.Microsecond {
		t.Errorf("bars %+v", p.Bars)
	}
	if p := latency(nil, nil); p.Calls != 0 || len(p.Bars) != 0 {
		t.Errorf("of nothing: %+v", p)
	}
}

func TestDifference(t *testing.T) {
	d := difference(&messages.Histogram{Buckets: []uint64{1, 5, 3}}, &messages.Histogram{Buckets: []uint64{1, 2}})
	if d.Count() != 6 || d.Buckets[1] != 3 {
		t.Errorf("difference %v", d)
	}
}
