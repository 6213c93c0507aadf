package actors

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// A call is seen while it runs, timed with its wait when it is over, and kept.
func TestCallStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTree(t)
		h := w.start("c", func(ctx context.Context, _ *script, payload string) (capsulehost.Result, error) {
			select {
			case <-time.After(3 * time.Second):
			case <-ctx.Done():
				return capsulehost.Result{}, interruption(ctx)
			}
			return capsulehost.Result{Data: []byte(payload)}, nil
		})
		synctest.Wait()
		ask := func(limit time.Duration) {
			go func() {
				_, _ = w.triggerWithin(limit, TriggerRequest{Topic: "c", Payload: []byte("1")})
			}()
			synctest.Wait()
		}
		seen := func() *messages.Capsule {
			c := &messages.Capsule{}
			h.Stats().Show(c)
			return c
		}
		ask(time.Minute)
		ask(time.Minute)
		ask(4 * time.Second) // is given up while it waits
		if c := seen(); c.Calls != 0 || c.Busy != 1 || c.CallDuration.Count() != 0 {
			t.Errorf("as the first call begins: %v", c)
		}
		<-time.After(2 * time.Second)
		if c := seen(); c.Busy != 2*time.Second {
			t.Errorf("2 s later: %v", c)
		}
		<-time.After(10 * time.Second)
		synctest.Wait()
		c := seen()
		if c.Busy != 0 || c.Calls != 2 || c.MemoryBytes != 1<<16 || c.MemoryPeakBytes != 1<<16 {
			t.Errorf("when all is over: %v", c)
		}
		took, waited := c.CallDuration, c.QueueWait
		if took.Count() != 2 || took.Sum != 6*time.Second {
			t.Errorf("the calls took %v", took)
		}
		if waited.Count() != 3 || waited.Sum != 9*time.Second {
			t.Errorf("the calls waited %v", waited)
		}
		type recent struct {
			Topic, Action, Outcome string
			Took, Waited, Ago      time.Duration
		}
		var got []recent
		for _, r := range h.Stats().RecentCalls() {
			got = append(got, recent{r.Topic, r.Action, r.Outcome.String(), r.Duration, r.QueueWait, time.Since(r.At)})
		}
		want := []recent{
			{"c", "on-c", "continue", 3 * time.Second, 0, 9 * time.Second},
			{"c", "on-c", "continue", 3 * time.Second, 3 * time.Second, 6 * time.Second},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("recent calls: -want +got\n%s", d)
		}
		w.stop()
		if c := seen(); c.MemoryBytes != 0 || c.MemoryPeakBytes != 1<<16 || c.Calls != 2 {
			t.Errorf("when it has stopped: %v", c)
		}
	})
}

// idle is a guest that says what it uses.
type idle struct {
	Guest
	usage capsulehost.Usage
}

func (i *idle) Usage() capsulehost.Usage { return i.usage }
func (i *idle) MemoryBytes() uint64      { return i.usage.MemoryBytes }

// What the lives of a capsule have used adds up, and never shrinks but for memory.
func TestCallStatsOverLives(t *testing.T) {
	var a CallStats
	check := func(reductions, shared, memory, peak uint64) {
		t.Helper()
		c := &messages.Capsule{}
		a.Show(c)
		want := []uint64{reductions, shared, memory, peak}
		if d := cmp.Diff(want, []uint64{c.Reductions, c.KernelBytes, c.MemoryBytes, c.MemoryPeakBytes}); d != "" {
			t.Errorf("reductions, bytes, memory, peak: -want +got\n%s", d)
		}
	}
	first := &idle{usage: capsulehost.Usage{Reductions: 10, SharedBytes: 5, MemoryBytes: 100}}
	a.born(first)
	check(10, 5, 100, 100)
	first.usage.Reductions = 30
	check(30, 5, 100, 100)
	a.died()
	check(30, 5, 0, 100)
	a.died() // once is enough
	check(30, 5, 0, 100)
	a.born(&idle{usage: capsulehost.Usage{Reductions: 1, SharedBytes: 1, MemoryBytes: 40}})
	check(31, 6, 40, 100)
}

// Only the last calls are kept, and counting one costs no allocation.
func TestRecentCalls(t *testing.T) {
	var a CallStats
	guest := &idle{}
	a.born(guest)
	for i := range callsKept + 5 {
		a.end(guest, &recentCall{generation: uint64(i)}, &callKind{})
	}
	calls := a.RecentCalls()
	if len(calls) != callsKept || calls[0].Generation != 5 || calls[callsKept-1].Generation != callsKept+4 {
		t.Errorf("%d calls are kept, from %v to %v", len(calls), calls[0], calls[len(calls)-1])
	}
	if n := testing.AllocsPerRun(100, func() {
		a.begin(monotime.Now())
		a.end(guest, &recentCall{ended: monotime.Now()}, &callKind{action: "a"})
	}); n != 0 {
		t.Errorf("a call costs %v allocations", n)
	}
}

// Events of answers are a sample that stands for all, those with a problem first,
// and never a flood.
func TestTriggerStatsIsSampled(t *testing.T) {
	var events []messages.TriggerAnswered
	stats := &TriggerStats{Observe: func(e messages.Event) {
		events = append(events, e.Detail.(messages.TriggerAnswered))
	}}
	leg := func(o messages.Outcome) []messages.Leg {
		return []messages.Leg{{Capsule: "c", Action: "act", Outcome: o, Reason: "so"}}
	}
	now, total, told := monotime.Now(), uint64(0), uint64(0)
	for _, test := range []struct {
		n       int
		every   time.Duration
		outcome messages.Outcome
		made    int
	}{
		{1, time.Hour, messages.OutcomeContinue, 1},
		{1000, time.Millisecond, messages.OutcomeDenied, 0},
		{1, time.Millisecond, messages.OutcomeCrashed, 1},
		{1000, time.Millisecond, messages.OutcomeTimeout, 5}, // what is left of the burst, and one more
		{3, time.Minute, messages.OutcomeEmpty, 3},
		{100_000, 10 * time.Millisecond, messages.OutcomeInvalid, 1004}, // one a second
	} {
		events = nil
		for range test.n {
			now = now.Add(test.every)
			stats.answered(&trigger{topic: "t", made: now.Add(-time.Millisecond), legs: leg(test.outcome)}, now)
		}
		total += uint64(test.n)
		for _, e := range events {
			told += e.StandsFor
		}
		if len(events) != test.made {
			t.Errorf("%d answers %v: %d events, want %d", test.n, test.outcome, len(events), test.made)
		}
	}
	if told+stats.unreported != total {
		t.Errorf("the events stand for %d answers of %d, and %d are not told of yet", told, total, stats.unreported)
	}
	if last := events[len(events)-1]; last.Problem != "c/act: invalid: so" || last.Legs["invalid"] != 1 {
		t.Errorf("an event says %v", last)
	}
}

// Each call is counted once, whenever somebody looks.
func TestCallsAreCountedOnce(t *testing.T) {
	for _, every := range []uint64{1, 5, callsKept, 100} {
		s := &CallStats{current: usageOf{}}
		for n := uint64(1); n <= 100; n++ {
			s.end(nil, &recentCall{took: time.Second, waited: time.Minute}, &callKind{})
			if n%every > 0 {
				continue
			}
			c := &messages.Capsule{}
			s.Show(c)
			took, waited := c.CallDuration, c.QueueWait
			if took.Count() != n || waited.Count() != n || waited.Sum != time.Duration(n)*time.Minute || len(s.RecentCalls()) != int(min(n, callsKept)) {
				t.Fatalf("after %d calls: %d took %v, %d waited %v, %d are kept", n, took.Count(), took.Sum, waited.Count(), waited.Sum, len(s.RecentCalls()))
			}
		}
	}
}

type usageOf struct{}

func (usageOf) Usage() capsulehost.Usage { return capsulehost.Usage{} }
