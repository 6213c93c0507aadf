// Package monotime measures time by the process's monotonic clock, and can't overflow.
//
//	deadline := monotime.Now().Add(timeout) // Never, if timeout is longer than the clock
//	if monotime.Now() >= deadline { … }
//
// A [Time] is one integer: it is cheap to read (half of time.Now, which reads two
// clocks), to store in an atomic and to send. Changes of the wall clock do not affect
// it, and it does not advance while the machine sleeps. Only times of one process can be
// compared: do not send a Time to another process. [Time.Wall] returns the date for
// people.
//
// Go's own timers and contexts accept every duration and every date, so the package has
// none. Arithmetic on those types overflows; this package does it without.
package monotime

import (
	"context"
	"math"
	"time"
)

// Time is in nanoseconds since the process started. Comparing two with < is correct for
// all values but None.
type Time int64

const (
	// None is the zero value: no time is set.
	None Time = 0
	// Never is later than every other time: at least 292 years from now.
	Never Time = math.MaxInt64
	// longAgo is before every other time.
	longAgo Time = math.MinInt64
)

// start is the zero point of every Time.
var start = time.Now() //nolint:gochecknoglobals // one clock for all

// Now reads the clock.
func Now() Time { return Time(time.Since(start)) }

// FromTime converts a deadline. It returns None for the zero time.Time, and Never for a
// time that is too far away. If t has no monotonic reading (it was parsed, rounded, or
// converted by In or UTC), its distance is measured by the wall clock.
func FromTime(t time.Time) Time {
	if t.IsZero() {
		return None
	}
	return Now().Add(time.Until(t))
}

// Deadline returns the deadline of ctx, or None if it has none.
func Deadline(ctx context.Context) Time {
	deadline, _ := ctx.Deadline()
	return FromTime(deadline)
}

// Add returns t+d. If that overflows, it returns Never, or a time before all others.
// None and Never stay unchanged, and no other sum is None.
func (t Time) Add(d time.Duration) Time {
	if t == None || t == Never {
		return t
	}
	sum := t + Time(d)
	switch {
	case sum < t && d > 0:
		return Never
	case sum > t && d < 0:
		return longAgo
	case sum == None:
		return 1 // a nanosecond late, but not None
	}
	return sum
}

// Sub returns t-u, or the longest duration if that overflows. Never is the longest
// duration away from every other time.
func (t Time) Sub(u Time) time.Duration {
	switch {
	case t == u:
		return 0
	case t == Never:
		return math.MaxInt64
	case u == Never:
		return math.MinInt64
	}
	diff := t - u
	switch {
	case diff > t && u > 0: // it overflowed
		return math.MinInt64
	case diff < t && u < 0:
		return math.MaxInt64
	}
	return time.Duration(diff)
}

// Until returns the duration until t, for a timer or a timeout.
func (t Time) Until() time.Duration { return t.Sub(Now()) }

// Time returns t for a context or a timer, which use its monotonic reading. It returns
// the zero time.Time for None.
func (t Time) Time() time.Time {
	if t == None {
		return time.Time{}
	}
	return start.Add(time.Duration(t))
}

// Wall returns t by the current setting of the wall clock. It returns the zero time.Time
// for None.
func (t Time) Wall() time.Time {
	if t == None {
		return time.Time{}
	}
	return Epoch().Add(time.Duration(t))
}

// Epoch returns the start of the process by the current setting of the wall clock. To
// convert many times at once, add to one Epoch, so that they stay in order even if the
// wall clock is set meanwhile.
func Epoch() time.Time {
	now := time.Now() // of both clocks, at once
	return now.Add(-now.Sub(start))
}

// AddDurations returns a+b, or the longest duration if that overflows.
func AddDurations(a, b time.Duration) time.Duration {
	sum := a + b
	switch {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return math.MinInt64
	}
	return sum
}

// WithDeadlineCause is [context.WithDeadlineCause]; with None and Never the context
// has no deadline, and so no timer.
func WithDeadlineCause(parent context.Context, deadline Time, cause error) (context.Context, context.CancelFunc) {
	if deadline == None || deadline == Never {
		return context.WithCancel(parent)
	}
	return context.WithDeadlineCause(parent, deadline.Time(), cause)
}
