package monotime_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
)

const (
	longest  = time.Duration(math.MaxInt64)
	shortest = time.Duration(math.MinInt64)
	longAgo  = monotime.Time(math.MinInt64)
)

func TestAdd(t *testing.T) {
	for _, test := range []struct {
		t    monotime.Time
		d    time.Duration
		want monotime.Time
	}{
		{5, 3, 8},
		{5, -8, -3},
		{5, 0, 5},
		{5, -5, 1}, // not None
		{5, longest, monotime.Never},
		{5, longest - 5, monotime.Never},
		{5, longest - 6, monotime.Never - 1},
		{-5, longest, monotime.Never - 5},
		{-5, shortest, longAgo},
		{5, shortest, longAgo + 5},
		{longAgo, -1, longAgo},
		{longAgo, longest, -1},
		{monotime.None, 5, monotime.None},
		{monotime.None, longest, monotime.None},
		{monotime.Never, 5, monotime.Never},
		{monotime.Never, -5, monotime.Never},
		{monotime.Never, shortest, monotime.Never},
	} {
		if got := test.t.Add(test.d); got != test.want {
			t.Errorf("%d.Add(%d) is %d, want %d", test.t, test.d, got, test.want)
		}
	}
}

func TestSub(t *testing.T) {
	for _, test := range []struct {
		t, u monotime.Time
		want time.Duration
	}{
		{8, 5, 3},
		{5, 8, -3},
		{-5, 3, -8},
		{monotime.Never, 5, longest},
		{monotime.Never, -5, longest},
		{monotime.Never, monotime.Never, 0},
		{monotime.Never, longAgo, longest},
		{5, monotime.Never, shortest},
		{longAgo, monotime.Never, shortest},
		{longAgo, 5, shortest},
		{5, longAgo, longest},
		{-1, longAgo, longest},
		{longAgo, longAgo, 0},
		{monotime.Never - 1, -5, longest},
		{-1, monotime.Never - 1, shortest + 1}, // exact, without overflow
		{-5, monotime.Never - 1, shortest},
	} {
		if got := test.t.Sub(test.u); got != test.want {
			t.Errorf("%d.Sub(%d) is %d, want %d", test.t, test.u, got, test.want)
		}
	}
}

func TestAddDurations(t *testing.T) {
	for _, test := range []struct{ a, b, want time.Duration }{
		{3, 5, 8},
		{-3, -5, -8},
		{longest, 1, longest},
		{1, longest, longest},
		{longest, longest, longest},
		{longest, -1, longest - 1},
		{shortest, -1, shortest},
		{shortest, shortest, shortest},
		{shortest, longest, -1},
		{0, 0, 0},
	} {
		if got := monotime.AddDurations(test.a, test.b); got != test.want {
			t.Errorf("AddDurations(%d, %d) is %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

// TestOrder checks that adding a value that is not negative never returns an earlier
// time, and never None.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := monotime.Time(rapid.Int64().Draw(t, "at"))
		d := time.Duration(rapid.Int64().Draw(t, "d"))
		sum := at.Add(d)
		switch {
		case at == monotime.None:
			return
		case sum == monotime.None:
			t.Fatalf("%d.Add(%d) is None", at, d)
		case d >= 0 && sum < at, d <= 0 && sum > at && sum != 1:
			t.Fatalf("%d.Add(%d) is %d", at, d, sum)
		}
		u := monotime.Time(rapid.Int64().Draw(t, "u"))
		if diff := at.Sub(u); at > u && diff <= 0 || at < u && diff >= 0 {
			t.Fatalf("%d.Sub(%d) is %d", at, u, diff)
		}
	})
}

// TestFromTime checks deadlines that people and programs set.
func TestFromTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // so that no time passes
		now := monotime.Now()
		year9999 := time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
		for name, test := range map[string]struct {
			t    time.Time
			want monotime.Time
		}{
			"none":                   {time.Time{}, monotime.None},
			"now":                    {time.Now(), now},
			"in an hour":             {time.Now().Add(time.Hour), now.Add(time.Hour)},
			"an hour ago":            {time.Now().Add(-time.Hour), now.Add(-time.Hour)},
			"of the wall clock":      {time.Now().Add(time.Hour).UTC().Round(0), now.Add(time.Hour)},
			"the longest time-out":   {time.Now().Add(longest), now.Add(longest)},
			"the year 9999":          {year9999, now.Add(longest)},
			"the end of Go's time":   {time.Unix(math.MaxInt64-62135596801, 0), now.Add(longest)},
			"the year 1":             {time.Time{}.Add(1), now.Add(shortest)},
			"the first of year 1970": {time.Unix(0, 0), now.Add(time.Until(time.Unix(0, 0)))},
		} {
			if got := monotime.FromTime(test.t); got != test.want {
				t.Errorf("%s: %d, want %d", name, got, test.want)
			}
		}
	})
	// Outside a bubble the process has just started, and all of these are out of range.
	for _, far := range []time.Time{
		time.Date(9999, time.January, 1, 0, 0, 0, 0, time.UTC), time.Now().Add(longest), time.Unix(1<<60, 0),
	} {
		if got := monotime.FromTime(far); got != monotime.Never {
			t.Errorf("%v is %d, want Never", far, got)
		}
	}
}

// TestRoundTrip checks that a time is unchanged after a context.
func TestRoundTrip(t *testing.T) {
	in := monotime.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(t.Context(), in.Time())
	defer cancel()
	if got := monotime.Deadline(ctx); got.Sub(in).Abs() > time.Minute {
		t.Errorf("%v from the deadline that was set", got.Sub(in))
	}
	if got := monotime.Deadline(t.Context()); got != monotime.None {
		t.Errorf("a context without a deadline has one in %v", got.Until())
	}
	if until := in.Until(); until <= 0 || until > time.Hour {
		t.Errorf("in %v, want in an hour", until)
	}
	if !monotime.None.Time().IsZero() || !monotime.None.Wall().IsZero() {
		t.Error("None is a date")
	}
}

// TestWall checks that a date is by the wall clock.
func TestWall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := monotime.Now()
		if got, want := now.Add(time.Hour).Wall(), time.Now().Add(time.Hour); !got.Equal(want) {
			t.Errorf("%v, want %v", got, want)
		}
		if got, want := monotime.Epoch().Add(time.Duration(now)), time.Now(); !got.Equal(want) {
			t.Errorf("%v after the epoch, want %v", got, want)
		}
	})
}

// TestContext checks that a context ends at its deadline, and not before; without a
// deadline it has no timer.
func TestContext(t *testing.T) {
	cause := errors.New("too late")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := monotime.WithDeadlineCause(t.Context(), monotime.Now().Add(time.Second), cause)
		defer cancel()
		began := time.Now()
		<-ctx.Done()
		if took := time.Since(began); took != time.Second || !errors.Is(context.Cause(ctx), cause) {
			t.Errorf("it ended after %v: %v", took, context.Cause(ctx))
		}
		for _, never := range []monotime.Time{monotime.None, monotime.Never} {
			ctx, cancel := monotime.WithDeadlineCause(t.Context(), never, cause)
			if _, ok := ctx.Deadline(); ok || ctx.Err() != nil {
				t.Errorf("%d: it has a deadline, or ended: %v", never, ctx.Err())
			}
			cancel()
		}
	})
	// The longest timeouts mean none, even if a timer receives them.
	for _, far := range []monotime.Time{monotime.Now().Add(longest), monotime.Now().Add(longest - time.Hour), monotime.Never - 1} {
		ctx, cancel := monotime.WithDeadlineCause(t.Context(), far, cause)
		timer := time.NewTimer(far.Until())
		select {
		case <-ctx.Done():
			t.Errorf("%d: the context ended at once", far)
		case <-timer.C:
			t.Errorf("%d: the timer fired at once", far)
		default:
		}
		timer.Stop()
		cancel()
	}
}

func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		_ = monotime.Now()
	}
}

func BenchmarkTimeNow(b *testing.B) {
	for b.Loop() {
		_ = time.Now()
	}
}
