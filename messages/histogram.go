package messages

import (
	"math/bits"
	"slices"
	"time"
)

// Durations are counted in buckets of a logarithmic scale with linear steps, as
// an HDR histogram has them: up to 63 ns one bucket a nanosecond, above that 32
// for each power of two. So no bucket is wider than 1/32 of its lower bound, and
// its middle is never more than 1.6 % from any duration in it.
const (
	stepBits = 5
	steps    = 1 << stepBits // buckets for each power of two
)

// bucketOf returns the bucket of a duration, which is not negative.
func bucketOf(d time.Duration) int {
	n := uint64(d) //nolint:gosec // not negative
	if n < steps {
		return int(n)
	}
	shift := bits.Len64(n) - stepBits - 1
	return (shift+1)<<stepBits + int(n>>shift) - steps //nolint:gosec // less than 2*steps
}

// BucketBounds returns the durations that bucket k holds: from low, up to but
// not including high.
func BucketBounds(k int) (low, high time.Duration) {
	row, step := k>>stepBits, k&(steps-1)
	if row == 0 {
		return time.Duration(step), time.Duration(step + 1)
	}
	width := time.Duration(1) << (row - 1)
	low = time.Duration(steps+step) << (row - 1)
	return low, low + width
}

// Bucket is a bucket of a Histogram that is not empty.
type Bucket struct {
	Index int
	Count uint64
}

// Histogram counts durations. Quantiles of it are right within 2 %. The zero
// value is empty.
type Histogram struct {
	// Buckets are in rising order; see BucketBounds.
	Buckets []Bucket
	// Sum of all durations.
	Sum time.Duration
}

func (h Histogram) clone() Histogram {
	h.Buckets = slices.Clone(h.Buckets)
	return h
}

// Count returns how many durations were counted.
func (h Histogram) Count() uint64 {
	var n uint64
	for _, b := range h.Buckets {
		n += b.Count
	}
	return n
}

// Quantile returns the duration that a share q of all did not exceed, as 0.99,
// within 2 %: the middle of its bucket. It is 0 if nothing was counted.
func (h Histogram) Quantile(q float64) time.Duration {
	rank, below := q*float64(h.Count()), 0.0
	for n, b := range h.Buckets {
		below += float64(b.Count)
		if below >= rank || n == len(h.Buckets)-1 {
			low, high := BucketBounds(b.Index)
			return low + (high-low)/2
		}
	}
	return 0
}

// Counts is a Histogram under construction, with a memory of 256 bytes for each power of
// two from the shortest duration to the longest. It has no lock.
type Counts struct {
	sum   time.Duration
	zeros uint64 // durations of 0: those of calls that do not wait, which are many
	first int    // the row of rows[0]
	rows  [][steps]uint64
}

// Add counts one duration; a negative one counts as 0.
func (c *Counts) Add(d time.Duration) {
	if d <= 0 {
		c.zeros++
		return
	}
	c.sum += d
	k := bucketOf(d)
	c.row(k >> stepBits)[k&(steps-1)]++
}

// row returns the counters of one power of two.
func (c *Counts) row(n int) *[steps]uint64 {
	at := n - c.first
	if uint(at) < uint(len(c.rows)) {
		return &c.rows[at]
	}
	rows := c.rows
	if len(rows) == 0 {
		c.first = n
	}
	from, to := min(n, c.first), max(n+1, c.first+len(rows))
	c.rows = make([][steps]uint64, to-from)
	copy(c.rows[c.first-from:], rows)
	c.first = from
	return &c.rows[n-from]
}

// Histogram returns a copy of the counts so far.
func (c *Counts) Histogram() Histogram {
	h := Histogram{Sum: c.sum}
	if c.zeros > 0 {
		h.Buckets = append(h.Buckets, Bucket{Index: 0, Count: c.zeros})
	}
	for n, row := range c.rows {
		for step, count := range row {
			if count > 0 {
				h.Buckets = append(h.Buckets, Bucket{Index: (c.first+n)<<stepBits + step, Count: count})
			}
		}
	}
	return h
}

// Plus returns the sum of two histograms.
func (h Histogram) Plus(o Histogram) Histogram {
	sum := Histogram{Sum: h.Sum + o.Sum}
	a, b := h.Buckets, o.Buckets
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Index < b[0].Index:
			sum.Buckets, a = append(sum.Buckets, a[0]), a[1:]
		case len(a) == 0 || b[0].Index < a[0].Index:
			sum.Buckets, b = append(sum.Buckets, b[0]), b[1:]
		default:
			sum.Buckets = append(sum.Buckets, Bucket{Index: a[0].Index, Count: a[0].Count + b[0].Count})
			a, b = a[1:], b[1:]
		}
	}
	return sum
}
