package messages_test

import (
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	"github.com/astrid-actors/astrid-actors/messages"
)

// A duration is in the first bucket whose bound it is not over.
func TestHistogramBuckets(t *testing.T) {
	for d, want := range map[time.Duration]int{
		0: 0, -1: 0, 1: 0, time.Microsecond: 0, time.Microsecond + 1: 1, 2 * time.Microsecond: 1, 2*time.Microsecond + 1: 2,
		time.Microsecond << 24: 24, time.Microsecond<<24 + 1: 25, math.MaxInt64: 25,
	} {
		if got := messages.HistogramBucket(d); got != want {
			t.Errorf("%v is in bucket %d, want %d", d, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, "d"))
		if rapid.Bool().Draw(t, "short") {
			d %= 20 * time.Second
		}
		k := messages.HistogramBucket(d)
		if bound := messages.HistogramBound(k); k < messages.HistogramBuckets-1 && d > bound {
			t.Errorf("%v is in bucket %d, whose bound is %v", d, k, bound)
		}
		if k > 0 && d <= messages.HistogramBound(k-1) {
			t.Errorf("%v is in bucket %d, and not over the bound before, %v", d, k, messages.HistogramBound(k-1))
		}
	})
}

func TestHistogram(t *testing.T) {
	var counts messages.Counts
	if h := counts.Histogram(); h != nil || h.Count() != 0 || h.Quantile(0.5) != 0 {
		t.Errorf("nothing counted: %v", h)
	}
	rapid.Check(t, func(t *rapid.T) {
		var counts messages.Counts
		var sum time.Duration
		durations := rapid.SliceOfN(rapid.Int64Range(-5, int64(30*time.Second)), 1, 50).Draw(t, "durations")
		for _, d := range durations {
			counts.Add(time.Duration(d))
			sum += time.Duration(max(0, d))
		}
		h := counts.Histogram()
		if h.Count() != uint64(len(durations)) || h.GetSum().AsDuration() != sum || h.GetBuckets()[len(h.GetBuckets())-1] == 0 {
			t.Errorf("%d durations of %v together: %v", len(durations), sum, h)
		}
		last := time.Duration(0)
		for q := 0.0; q <= 1; q += 0.125 {
			got := h.Quantile(q)
			if got < last {
				t.Errorf("quantile %v is %v, and a lower one %v", q, got, last)
			}
			last = got
		}
	})
	h := &messages.Histogram{Buckets: []uint64{0, 4, 0, 4}, Sum: durationpb.New(0)} // 4 in (1, 2] µs, 4 in (4, 8] µs
	for q, want := range map[float64]time.Duration{
		0.25: 1500 * time.Nanosecond, 0.5: 2 * time.Microsecond, 0.75: 6 * time.Microsecond, 1: 8 * time.Microsecond,
	} {
		if got := h.Quantile(q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	over := &messages.Histogram{Buckets: make([]uint64, messages.HistogramBuckets)}
	over.Buckets[messages.HistogramBuckets-1] = 1
	if got := over.Quantile(0.99); got != messages.HistogramBound(messages.HistogramBuckets-2) {
		t.Errorf("over every bound: %v", got)
	}
}

// Counting costs no allocation.
func TestCountsDoNotAllocate(t *testing.T) {
	var counts messages.Counts
	if n := testing.AllocsPerRun(100, func() { counts.Add(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
