package web

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// spanOf returns how far back a timeline goes; 0 means as far as events are kept.
func spanOf(name string) time.Duration {
	return map[string]time.Duration{"5min": 5 * time.Minute, "1h": time.Hour}[name]
}

// timelinePicture draws a capsule's states from left to right. Its lengths are
// percentages, so that it fits any width.
type timelinePicture struct {
	ID, Span string
	Segments []segment
	Marks    []mark
	Versions []versionMark
	Ticks    []tick
	Deaths   int
	From, To time.Time
}

// segment is a period in one state.
type segment struct {
	X, Width   string
	State      messages.CapsuleState
	Generation uint64
	From, To   time.Time
	Label      string // empty if there is no room for it
}

// mark is a death.
type mark struct {
	X          string
	At         time.Time
	Generation uint64
	Kind, Text string
}

// versionMark is a change of its version.
type versionMark struct {
	X           string
	At          time.Time
	Text, Grade string
}

type tick struct{ X, Label, Anchor string }

// stateAfter returns the state that an event puts its capsule into.
func stateAfter(e messages.Event) (messages.CapsuleState, bool) {
	switch e.Detail.(type) {
	case messages.CapsuleLoading:
		return loading, true
	case messages.CapsuleStarting:
		return starting, true
	case messages.CapsuleReady:
		return ready, true
	case messages.CapsuleCrashed:
		return crashed, true
	case messages.CapsuleUpgraded:
		return ready, true
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
	x := t.at
	end := now
	for _, e := range events { // backwards: each state ends when the next begins
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
			if width < 0.25 { // a short one must be visible, too
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

// at returns the place of a time.
func (t *timelinePicture) at(at time.Time) float64 {
	return min(100, max(0, 100*float64(at.Sub(t.From))/float64(t.To.Sub(t.From))))
}

// Died returns Deaths for the templates.
func (t *timelinePicture) Died() uint64 { return uint64(t.Deaths) } //nolint:gosec // a count

// mark adds the changes of its version.
func (t *timelinePicture) mark(versions []messages.VersionRecord) {
	for _, r := range versions {
		if !r.At.Before(t.From) {
			t.Versions = append(t.Versions, versionMark{
				X: percent(t.at(r.At)), At: r.At, Text: versionWord(r.Change) + " " + r.Version, Grade: versionGrade(r.Change),
			})
		}
	}
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

// latencyPicture shows the durations of a capsule's calls: the recent ones as a curve,
// and all since the daemon started as bars.
type latencyPicture struct {
	// P50 and P99 are the points of lines in a box of 300 by 60. A step without a call
	// interrupts a line.
	P50, P99 []string
	Low      time.Duration // at the bottom; the scale is logarithmic
	High     time.Duration
	Bars     []bar
	Calls    uint64
	Sum50    time.Duration
	Sum99    time.Duration
	Minutes  int
}

// bar counts the calls with a duration from From up to To.
type bar struct {
	X, Width, Y, Height string
	N                   uint64
	From, To            time.Duration
}

func latency(points []point, h messages.Histogram) *latencyPicture {
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
			fmt.Fprintf(&b, "%.1f,%.1f ", x-2, y) // a single point is a dash
		}
		fmt.Fprintf(&b, "%.1f,%.1f ", x, y)
	}
	finish()
	return lines
}

// shortest is the upper bound of the first bar. Each other bar covers one power of two.
const shortest = 1024 * time.Nanosecond

// bars draws the counts between the first and the last bar that are not empty.
func (p *latencyPicture) bars(h messages.Histogram) {
	counts := map[int]uint64{}
	first, last := math.MaxInt, -1
	var most uint64
	for _, b := range h.Buckets {
		low, _ := messages.BucketBounds(b.Index)
		k := bits.Len64(uint64(low / shortest)) //nolint:gosec // not negative
		counts[k] += b.Count
		first, last, most = min(first, k), max(last, k), max(most, counts[k])
	}
	wide := 100 / float64(max(last-first+1, 8))
	for k := first; k <= last; k++ {
		n, height := counts[k], 0.0
		if n > 0 {
			height = max(3, 96*float64(n)/float64(most))
		}
		b := bar{
			X: percent(wide * float64(k-first)), Width: percent(wide * 0.86), Y: percent(100 - height), Height: percent(height),
			N: n, To: shortest << k,
		}
		if k > 0 {
			b.From = shortest << (k - 1)
		}
		p.Bars = append(p.Bars, b)
	}
}
