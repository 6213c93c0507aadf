package web

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// spanOf is how far back a timeline goes; 0 is as far as is known.
func spanOf(name string) time.Duration {
	return map[string]time.Duration{"5min": 5 * time.Minute, "1h": time.Hour}[name]
}

// timelinePicture is a capsule's life, drawn from left to right. Its lengths are
// percentages, so that it fits any width.
type timelinePicture struct {
	ID, Span string
	Segments []segment
	Marks    []mark
	Ticks    []tick
	Deaths   int
	From, To time.Time
}

// segment is a time in one state.
type segment struct {
	X, Width   string
	State      messages.CapsuleState
	Generation uint64
	From, To   time.Time
	Label      string // where there is room for it
}

// mark is a death.
type mark struct {
	X          string
	At         time.Time
	Generation uint64
	Kind, Text string
}

type tick struct{ X, Label, Anchor string }

// stateAfter is the state that an event puts its capsule into.
func stateAfter(e *messages.Event) (messages.CapsuleState, bool) {
	switch e.Detail.(type) {
	case messages.CapsuleLoading:
		return loading, true
	case messages.CapsuleStarting:
		return starting, true
	case messages.CapsuleReady:
		return ready, true
	case messages.CapsuleCrashed:
		return crashed, true
	case messages.CapsuleFailed:
		return failed, true
	case messages.CapsuleStopping:
		return stopping, true
	case messages.CapsuleStopped:
		return stopped, true
	}
	return 0, false
}

// timeline draws a capsule's events, which come newest first, and its last deaths.
func timeline(events []messages.Event, d *messages.CapsuleDetail, now time.Time, span time.Duration) *timelinePicture {
	t := &timelinePicture{ID: d.Capsule.ID, From: now.Add(-10 * time.Second), To: now}
	if span > 0 {
		t.From = now.Add(-span)
	} else {
		for _, at := range oldest(events, d) {
			if at.Before(t.From) {
				t.From = at
			}
		}
	}
	x := func(at time.Time) float64 {
		return min(100, max(0, 100*float64(at.Sub(t.From))/float64(t.To.Sub(t.From))))
	}
	end := now
	for _, e := range events { // backwards: each state ends where the next begins
		state, ok := stateAfter(e)
		if !ok {
			continue
		}
		at := e.At
		if end.After(t.From) {
			s := segment{State: state, Generation: e.Generation, From: at, To: end}
			left, width := x(at), x(end)-x(at)
			if width > 7 {
				s.Label = strconv.FormatUint(e.Generation, 10)
			}
			if width < 0.25 { // what is brief is to be seen too
				left, width = max(0, min(left, 99.75)), 0.25
			}
			s.X, s.Width = percent(left), percent(width)
			t.Segments = append(t.Segments, s)
		}
		end = at
	}
	slices.Reverse(t.Segments)
	for _, r := range d.Failures {
		at := r.Failure.At
		if at.Before(t.From) {
			continue
		}
		t.Marks = append(t.Marks, mark{
			X: percent(x(at)), At: at, Generation: r.Generation, Kind: r.Failure.Kind, Text: r.Failure.Message,
		})
	}
	t.Deaths = len(t.Marks)
	whole := t.To.Sub(t.From)
	for i, anchor := range []string{"start", "middle", "middle", "middle", "end"} {
		label := "now"
		if i < 4 {
			label = "−" + age(whole-whole*time.Duration(i)/4)
		}
		t.Ticks = append(t.Ticks, tick{percent(25 * float64(i)), label, anchor})
	}
	return t
}

func oldest(events []messages.Event, d *messages.CapsuleDetail) []time.Time {
	var at []time.Time
	if n := len(events); n > 0 {
		at = append(at, events[n-1].At)
	}
	if f := d.Failures; len(f) > 0 {
		at = append(at, f[0].Failure.At)
	}
	return at
}

func percent(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) + "%" }

// latencyPicture is how long a capsule's calls have taken: lately as a curve, and
// all since the daemon started as bars.
type latencyPicture struct {
	// P50 and P99 are the points of lines in a box of 300 by 60, several where there
	// were steps without a call between them.
	P50, P99 []string
	Low      time.Duration // at the bottom; the scale is logarithmic
	High     time.Duration
	Bars     []bar
	Calls    uint64
	Sum50    time.Duration
	Sum99    time.Duration
	Minutes  int
}

// bar is one bucket of a histogram.
type bar struct {
	X, Width, Y, Height string
	N                   uint64
	From, To            time.Duration // To is 0 without a bound
}

func latency(points []point, h *messages.Histogram) *latencyPicture {
	p := &latencyPicture{Calls: h.Count(), Sum50: h.Quantile(0.5), Sum99: h.Quantile(0.99), Minutes: int(steps * stepEvery / time.Minute)}
	for _, at := range points {
		if at.calls == 0 {
			continue
		}
		if p.Low == 0 || at.p50 < p.Low {
			p.Low = max(at.p50, 100*time.Nanosecond)
		}
		p.High = max(p.High, at.p99)
	}
	if p.High > 0 {
		p.High = max(p.High, p.Low*2)
		p.P50 = p.lines(points, func(at point) time.Duration { return at.p50 })
		p.P99 = p.lines(points, func(at point) time.Duration { return at.p99 })
	}
	p.bars(h)
	return p
}

func (p *latencyPicture) lines(points []point, value func(point) time.Duration) []string {
	var lines []string
	var b strings.Builder
	scale := math.Log(float64(p.High) / float64(p.Low))
	finish := func() {
		if b.Len() > 0 {
			lines = append(lines, b.String())
			b.Reset()
		}
	}
	for i, at := range points {
		if at.calls == 0 {
			finish()
			continue
		}
		x := 300 * float64(steps-len(points)+i) / float64(steps-1)
		y := 57 - 54*math.Log(float64(max(value(at), p.Low))/float64(p.Low))/scale
		if b.Len() == 0 {
			fmt.Fprintf(&b, "%.1f,%.1f ", x-2, y) // one point alone is a dash
		}
		fmt.Fprintf(&b, "%.1f,%.1f ", x, y)
	}
	finish()
	return lines
}

// bars draws the buckets between the first and the last that have something.
func (p *latencyPicture) bars(h *messages.Histogram) {
	buckets := h.Buckets
	first := slices.IndexFunc(buckets, func(n uint64) bool { return n > 0 })
	if first < 0 {
		return
	}
	shown := buckets[first:]
	most := slices.Max(shown)
	wide := 100 / float64(max(len(shown), 8))
	for i, n := range shown {
		height := 0.0
		if n > 0 {
			height = max(3, 96*float64(n)/float64(most))
		}
		b := bar{
			X: percent(wide * float64(i)), Width: percent(wide * 0.86), Y: percent(100 - height), Height: percent(height),
			N: n, To: messages.HistogramBound(first + i),
		}
		if k := first + i; k > 0 {
			b.From = messages.HistogramBound(k - 1)
		}
		p.Bars = append(p.Bars, b)
	}
}
