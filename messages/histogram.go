package messages

import (
	"math/bits"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
)

// HistogramBuckets is how many buckets a Histogram can have: one for each bound,
// and the last for what is over all of them.
const HistogramBuckets = 26

// HistogramBound is the longest duration in bucket k: 1 µs doubled k times, so
// 16.8 s in the last but one. The last bucket has no bound, which is 0.
func HistogramBound(k int) time.Duration {
	if k < 0 || k >= HistogramBuckets-1 {
		return 0
	}
	return time.Microsecond << k
}

// HistogramBucket is the bucket that a duration belongs to.
func HistogramBucket(d time.Duration) int {
	if d <= time.Microsecond {
		return 0
	}
	return min(bits.Len64(uint64(d-1)/uint64(time.Microsecond)), HistogramBuckets-1)
}

// Counts is a Histogram in the making, without allocations. It has no lock.
type Counts struct {
	sum     time.Duration // in the same cache line as the first buckets
	buckets [HistogramBuckets]uint64
}

// Add counts one duration; a negative one is 0.
func (c *Counts) Add(d time.Duration) {
	d = max(0, d)
	c.buckets[HistogramBucket(d)]++
	c.sum += d
}

// Histogram returns what was counted so far; nil where nothing was.
func (c *Counts) Histogram() *Histogram {
	n := len(c.buckets)
	for n > 0 && c.buckets[n-1] == 0 {
		n--
	}
	if n == 0 {
		return nil
	}
	return &Histogram{Buckets: append([]uint64(nil), c.buckets[:n]...), Sum: durationpb.New(c.sum)}
}

// Count is how many durations were counted.
func (h *Histogram) Count() uint64 {
	var n uint64
	for _, in := range h.GetBuckets() {
		n += in
	}
	return n
}

// Quantile is about the duration that a share q of all were not over, as 0.99: it
// is interpolated within its bucket. Where that is the last one, which has no
// bound, it is the highest bound. It is 0 where nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := q * float64(h.Count())
	var below float64
	for k, in := range h.GetBuckets() {
		if in == 0 || below+float64(in) < rank {
			below += float64(in)
			continue
		}
		if k == HistogramBuckets-1 {
			break
		}
		low := time.Duration(0)
		if k > 0 {
			low = HistogramBound(k - 1)
		}
		return low + time.Duration(float64(HistogramBound(k)-low)*max(0, rank-below)/float64(in))
	}
	if len(h.GetBuckets()) == 0 {
		return 0
	}
	return HistogramBound(HistogramBuckets - 2)
}
