// Package monotime measures time by the process's monotonic clock, and can't overflow.
//
//	deadline := monotime.Now().Add(timeout) // Never, if timeout is longer than the clock
//	if monotime.Now() >= deadline { … }
//
// A [Time] is one integer: it is cheap to read (half of time.Now, which reads two
// clocks), to store in an atomic and to send. Setting the wall clock does not change
// it, and it stands still while the machine sleeps. Only times of one process can be
// compared: a Time must not leave it. [Time.Wall] gives the date for people.
//
// Go's own timers and contexts accept every duration and every date, so the package
// has none. Arithmetic on them overflows, and that is done here.
package monotime

import (
	"context"
	"math"
	"time"
)

// Time is in nanoseconds since the process started. Comparing two with < is right for
// all values but None.
type Time int64

const (
	// None is the zero value: no time is set.
	None Time = 0
	// Never is later than every other time: some 292 years from now, or longer.
	Never Time = math.MaxInt64
	// longAgo is before every other time.
	longAgo Time = math.MinInt64
)

// start is what a Time counts from.
var start = time.Now() //nolint:gochecknoglobals // one clock for all

// Now reads the clock.
func Now() Time { return Time(time.Since(start)) }

// FromTime converts a deadline. It is None for the zero time.Time, and Never for one
// that is too far away. A t without a monotonic reading (parsed, rounded, or in
// another location by In or UTC) is as far away as the wall clock says now.
func FromTime(t time.Time) Time {
	if t.IsZero() {
		return None
	}
	return Now().Add(time.Until(t))
}

// Deadline returns the deadline of ctx, and None if it has none.
func Deadline(ctx context.Context) Time {
	deadline, _ := ctx.Deadline()
	return FromTime(deadline)
}

// Add returns t+d, or Never or a time before all others if that overflows. None and
// Never stay as they are, and no other sum is None.
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
		return 1 // a nanosecond late, but a time
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
	case diff > t && u > 0: // it wrapped
		return math.MinInt64
	case diff < t && u < 0:
		return math.MaxInt64
	}
	return time.Duration(diff)
}

// Until returns how far away t is: for a timer, or a time-out.
func (t Time) Until() time.Duration { return t.Sub(Now()) }

// Time returns t for a context or a timer, which go by its monotonic reading. It is
// the zero time.Time for None.
func (t Time) Time() time.Time {
	if t == None {
		return time.Time{}
	}
	return start.Add(time.Duration(t))
}

// Wall returns when t was by the wall clock as it is set now. It is the zero
// time.Time for None.
func (t Time) Wall() time.Time {
	if t == None {
		return time.Time{}
	}
	return Epoch().Add(time.Duration(t))
}

// Epoch returns when the process started by the wall clock as it is set now. Who
// converts many times at once adds to one Epoch, so that they stay in order even if
// the wall clock is set meanwhile.
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
