package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clockwork is a contender that reports a fixed duration, without waiting for it.
func clockwork(who string, each time.Duration, log *[]string) contender {
	return contender{who: who, run: func(_ context.Context, n int) (time.Duration, error) {
		*log = append(*log, who)
		return time.Duration(n) * each, nil
	}}
}

func TestAlternate(t *testing.T) {
	var log []string
	e := effort{turns: 4, least: 1, limit: time.Hour, batch: time.Millisecond}
	got, err := alternate(t.Context(), e, []contender{clockwork("a", 10, &log), clockwork("b", 3e6, &log)})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{10, 3e6} {
		if diff := cmp.Diff([]float64{want, want, want, want}, got[i].values); diff != "" {
			t.Errorf("%s (-want +got):\n%s", got[i].who, diff)
		}
	}
	if turns := strings.Join(log, ""); !strings.HasSuffix(turns, "bb"+strings.Repeat("aabb", 4)) {
		t.Errorf("the turns were %s, want to end with four times aabb: each turn is warmed up", turns)
	}
}

// A turn is long enough to be measured, and no longer than necessary.
func TestCalibrate(t *testing.T) {
	var log []string
	for _, each := range []time.Duration{1, 17, 1000, 999_999, time.Millisecond, time.Second} {
		n, err := calibrate(t.Context(), time.Millisecond, clockwork("a", each, &log))
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Duration(n) * each; took < time.Millisecond || (n > 1 && took > 10*time.Millisecond) {
			t.Errorf("%v each: a turn of %d takes %v", each, n, took)
		}
	}
}

// One pause, as in the first run of many, does not make the turns short.
func TestCalibrateAfterAPause(t *testing.T) {
	for paused := range 4 {
		run := 0
		c := contender{who: "a", run: func(_ context.Context, n int) (time.Duration, error) {
			took := time.Duration(n) * time.Microsecond
			if run == paused {
				took += time.Second
			}
			run++
			return took, nil
		}}
		if n, err := calibrate(t.Context(), time.Millisecond, c); err != nil || n < 1000 {
			t.Errorf("a pause in run %d: turns of %d (%v), want at least 1000", paused, n, err)
		}
	}
}

// At least some turns are taken, however slow they are; then no more.
func TestAlternateEnds(t *testing.T) {
	var log []string
	e := effort{turns: 100, least: 3, limit: 0, batch: 0}
	got, err := alternate(t.Context(), e, []contender{clockwork("a", 1, &log)})
	if err != nil || len(got[0].values) != 3 {
		t.Errorf("%d turns (%v), want 3", len(got[0].values), err)
	}
}

func TestAlternateStopsAtAnError(t *testing.T) {
	broken := errors.New("broken")
	calls := 0
	_, err := alternate(t.Context(), effort{turns: 9, least: 9}, []contender{{who: "a", run: func(context.Context, int) (time.Duration, error) {
		if calls++; calls > 6 {
			return 0, broken
		}
		return time.Second, nil
	}}})
	if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "a: ") {
		t.Errorf("error %v, want one that names a and is %v", err, broken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var log []string
	if _, err := alternate(ctx, effort{turns: 9, least: 9}, []contender{clockwork("a", 1, &log)}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

var kept [][]byte

func TestCountAllocs(t *testing.T) {
	got, err := countAllocs(t.Context(), 100, contender{run: repeat(func(context.Context) error {
		kept = [][]byte{make([]byte, 100), make([]byte, 200)} // three with the slice of them
		return nil
	})})
	if err != nil || got < 3 || got > 3.2 {
		t.Errorf("%v allocs (%v), want 3", got, err)
	}
}

// Single durations from the warm-up do not count.
func TestEachOfTheTurnsOnly(t *testing.T) {
	var each []float64
	got, err := alternate(t.Context(), effort{turns: 2, least: 2}, []contender{{who: "a", each: &each, run: func(_ context.Context, n int) (time.Duration, error) {
		for range n {
			each = append(each, 5)
		}
		return 5, nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float64{5, 5}, got[0].each); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
