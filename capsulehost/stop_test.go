package capsulehost

import (
	"context"
	"errors"
	"math"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"testing"
	"time"
)

// endless lists the exports of testdata/endless.wat that never return.
var endless = []string{
	"fib", "tail_calls", "indirect_tail_calls", "loop", "kernel_calls", "host_calls", "random",
	"fill", "copy", "divide", "chase",
}

// Every endless guest is stopped within ten milliseconds of its deadline. Meanwhile the
// garbage collector finishes, and another capsule answers. A busy machine is late by itself,
// so only the best quarter of several tries must meet the limit.
func TestEverythingStops(t *testing.T) {
	for _, procs := range []int{1, 2} {
		h := newHost(t, Config{})
		m, err := h.Compile(context.Background(), read(t, "testdata/endless.wasm"))
		if err != nil {
			t.Fatal(err)
		}
		bystander := mustInstantiate(t, h, fixture(t, "counter"), &world{})
		for _, export := range endless {
			t.Run(export, func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				quarter(t, []string{"late", "pause of the collector", "answer of another"}, 10*time.Millisecond, func() []time.Duration {
					return stopOnce(t, m, bystander, export)
				})
			})
		}
	}
}

// A guest that waits for its turn is stopped as well, however many others wait.
func TestWaitingStops(t *testing.T) {
	h := newHost(t, Config{Processors: 1})
	m, err := h.Compile(context.Background(), fixture(t, "spin"))
	if err != nil {
		t.Fatal(err)
	}
	quarter(t, []string{"late"}, 10*time.Millisecond, func() []time.Duration {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		deadline, _ := ctx.Deadline()
		var group sync.WaitGroup
		var all []*Instance
		for range 30 {
			all = append(all, spin(ctx, t, m, &group))
		}
		group.Wait()
		late := time.Since(deadline)
		for _, i := range all {
			_ = i.Close(context.Background())
		}
		return []time.Duration{late}
	})
}

// quarter repeats measure until a quarter of the tries is below the limit for each value, or
// that is no longer possible. On a machine that is busy with other work even plain Go is
// late: then the limit is added to the best quarter of what that is late.
func quarter(t *testing.T, what []string, limit time.Duration, measure func() []time.Duration) {
	t.Helper()
	const least, most = 3, 25
	seen := make([][]time.Duration, len(what))
	var plain []time.Duration // empty until a limit is exceeded
	for try := range most {
		for i, d := range measure() {
			seen[i] = insert(seen[i], d)
		}
		if try+1 < least {
			continue
		}
		over := false
		for _, s := range seen {
			over = over || best(s) > limit+best(plain)
		}
		if !over {
			for i, s := range seen {
				t.Logf("%s: a quarter within %v of %d tries, most %v; plain Go %v", what[i], best(s), len(s), s[len(s)-1], best(plain))
			}
			return
		}
		plain = insert(plain, plainLate())
	}
	for i, s := range seen {
		t.Errorf("%s: a quarter within %v of %d tries, most %v; the limit is %v, plain Go is %v late",
			what[i], best(s), len(s), s[len(s)-1], limit, best(plain))
	}
}

func insert(sorted []time.Duration, d time.Duration) []time.Duration {
	at, _ := slices.BinarySearch(sorted, d)
	return slices.Insert(sorted, at, d)
}

// best returns the longest of the best quarter; 0 of none.
func best(sorted []time.Duration) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)/4]
}

// plainLate returns how late the last of 30 goroutines ends that spin for 50 ms.
func plainLate() time.Duration {
	deadline := time.Now().Add(50 * time.Millisecond)
	var group sync.WaitGroup
	for range 30 {
		group.Go(func() {
			for time.Now().Before(deadline) {
			}
		})
	}
	group.Wait()
	return time.Since(deadline)
}

// stopOnce runs an endless export until its deadline. It returns the delay after the deadline,
// the longest pause of a garbage collection, and the median time of another guest's answer.
func stopOnce(t *testing.T, m *Module, bystander *Instance, export string) []time.Duration {
	t.Helper()
	i, err := m.Instantiate(context.Background(), &world{})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	deadline, _ := ctx.Deadline()

	before := gcPauses()
	var answers []time.Duration
	var others sync.WaitGroup
	others.Go(func() {
		for len(answers) == 0 || ctx.Err() == nil {
			runtime.GC()
			asked := time.Now()
			<-time.After(time.Millisecond) // timers must be on time, too
			if _, err := bystander.Invoke(context.Background(), "ask", nil); err != nil {
				t.Error(err)
			}
			answers = append(answers, time.Since(asked)-time.Millisecond)
		}
	})
	_, err = i.Call(ctx, export, nil)
	late := time.Since(deadline)
	others.Wait()
	var failure *Failure
	if !errors.As(err, &failure) || failure.Kind != KindTimeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%s: got %v, want a timeout", export, err)
	}
	slices.Sort(answers)
	return []time.Duration{late, longest(before, gcPauses()), answers[len(answers)/2]}
}

// gcPauses returns the histogram of the collector's stop-the-world pauses, including the time
// to stop the world.
func gcPauses() *metrics.Float64Histogram {
	sample := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(sample)
	return sample[0].Value.Float64Histogram()
}

// longest returns the longest pause that is only in the second histogram.
func longest(before, after *metrics.Float64Histogram) time.Duration {
	for b, n := range slices.Backward(after.Counts) {
		if n > before.Counts[b] {
			return time.Duration(min(after.Buckets[b+1], math.MaxInt32) * float64(time.Second))
		}
	}
	return 0
}
