package capsulehost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// nested is a Peers whose triggers run a function of the test.
type nested func(ctx context.Context) error

func (n nested) TriggerHook(ctx context.Context, _ string, _ json.RawMessage) ([]json.RawMessage, error) {
	return nil, n(ctx)
}

func (n nested) CheckCapability(context.Context, string, string) bool { return false }

var request = []byte(`{"hook":"x","payload":null}`)

func failsWith(t *testing.T, err error, kind Kind) (message string) {
	t.Helper()
	var f *Failure
	if !errors.As(err, &f) || f.Kind != kind {
		t.Fatalf("got %v, want a failure of kind %s", err, kind)
	}
	return f.Message
}

// A call stops at its budget, at the same reduction each time, for any tick.
func TestBudgetOfACall(t *testing.T) {
	const budget = 123_456
	spent := map[string][]uint64{}
	for _, tick := range []uint32{0, 1, 333, 1 << 30} {
		h := newHost(t, Config{Tick: tick})
		m, err := h.Compile(context.Background(), read(t, "testdata/endless.wasm"))
		if err != nil {
			t.Fatal(err)
		}
		for _, export := range []string{"fib", "tail_calls", "loop", "kernel_calls", "host_calls", "fill"} {
			i, err := m.Instantiate(context.Background(), &world{})
			if err != nil {
				t.Fatal(err)
			}
			i.SetBudget(Budget{Reductions: budget})
			before := i.Reductions()
			_, err = i.Call(context.Background(), export, nil)
			if got, want := failsWith(t, err, KindBudget), "out of budget: more than the 123456 reductions of one call"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			spent[export] = append(spent[export], i.Reductions()-before)
			_ = i.Close(context.Background())
		}
	}
	for export, n := range spent {
		if slices.Min(n) != slices.Max(n) {
			t.Errorf("%s: it spent %v, not always the same", export, n)
		}
		if n[0] <= budget || n[0] > budget+1024 { // the largest step is one piece of memory
			t.Errorf("%s: stopped after %d reductions, the budget is %d", export, n[0], budget)
		}
	}
}

// The host charges for the bytes that it copies, in both directions.
func TestHostCallsCostByTheirBytes(t *testing.T) {
	const size = 32 << 10
	d := drive(t, &world{config: map[string]string{"k": strings.Repeat("v", size)}, peers: &asked{values: []json.RawMessage{json.RawMessage(`"` + strings.Repeat("a", size) + `"`)}}})
	d.call("var_set", d.text("k"), d.text(strings.Repeat("v", size)))
	for _, tt := range []struct {
		call string
		args []uint64
	}{
		{"config_get", []uint64{d.text("k")}}, {"astrid_get_config", []uint64{d.text("k")}}, {"var_get", []uint64{d.text("k")}},
		{"var_set", []uint64{d.text("k"), d.text(strings.Repeat("v", size))}},
		{"log_trace", []uint64{d.text(strings.Repeat("m", size))}}, {"log_error", []uint64{d.text(strings.Repeat("m", size))}},
		{"astrid_log", []uint64{0, d.text(strings.Repeat("m", size))}},
		{"astrid_trigger_hook", []uint64{d.text(`{"hook":"a","payload":1}`)}},
	} {
		before := d.Reductions()
		d.call(tt.call, tt.args...)
		if cost := d.Reductions() - before; cost < size/bytesPerReduction || cost > size/bytesPerReduction+2*hostCallCost {
			t.Errorf("%s costs %d reductions, with %d bytes", tt.call, cost, size)
		}
	}
}

// The budget applies to each call, not to the instance; calls within it work as usual.
func TestBudgetIsForEachCall(t *testing.T) {
	h := newHost(t, Config{})
	i := mustInstantiate(t, h, fixture(t, "counter"), &world{})
	i.SetBudget(Budget{Reductions: 2000})
	var last uint64
	var each []uint64
	for range 20 {
		if _, err := i.Invoke(context.Background(), "ask", nil); err != nil {
			t.Fatal(err)
		}
		each = append(each, i.Reductions()-last)
		last = i.Reductions()
	}
	if slices.Sort(each[1:]); each[1] == 0 || each[len(each)-1] > each[1]+8 { // the number in it gets longer
		t.Errorf("calls of the same spent %v", each)
	}
	i.SetBudget(Budget{Reductions: 3})
	_, err := i.Invoke(context.Background(), "ask", nil)
	_ = failsWith(t, err, KindBudget)
}

// Work that others do for a guest can be charged to it, and limited by the rest of its budget.
func TestBudgetOfATrigger(t *testing.T) {
	h := newHost(t, Config{})
	var left []uint64
	w := &world{}
	var i *Instance
	charge := uint64(0)
	w.peers = nested(func(context.Context) error {
		n, bounded := i.BudgetLeft()
		if !bounded {
			return errors.New("no budget")
		}
		left = append(left, n)
		i.Charge(charge)
		return nil
	})
	i = mustInstantiate(t, h, fixture(t, "fan-out"), w)
	i.SetBudget(Budget{Reductions: 100_000})
	if _, err := i.Invoke(context.Background(), "ask", request); err != nil {
		t.Fatal(err)
	}
	if len(left) == 0 || left[0] >= 100_000 || left[0] < 50_000 {
		t.Errorf("left in the first trigger: %v of 100000", left)
	}
	charge = 200_000
	_, err := i.Invoke(context.Background(), "ask", request)
	if err == nil { // the guest had no further tick: the charge counts for the next call
		if i.Reductions() < 200_000 {
			t.Errorf("%d reductions in all, with 200000 charged", i.Reductions())
		}
		return
	}
	_ = failsWith(t, err, KindBudget)
}

// A guest that exceeds its rate waits, and a cancellation ends the wait.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, Config{})
		i := mustInstantiate(t, h, read(t, "testdata/endless.wasm"), &world{})
		i.SetBudget(Budget{Reductions: 5_000_000, Rate: NewRate(1_000_000)})
		began := time.Now()
		_, err := i.Call(context.Background(), "loop", nil)
		_ = failsWith(t, err, KindBudget)
		// One second's worth at once, then a million per second.
		if took := time.Since(began); took < 3900*time.Millisecond || took > 4100*time.Millisecond {
			t.Errorf("5 million reductions at a million each second took %v", took)
		}
		i = mustInstantiate(t, h, read(t, "testdata/endless.wasm"), &world{})
		i.SetBudget(Budget{Rate: NewRate(1)})
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		began = time.Now()
		_, err = i.Call(ctx, "loop", nil)
		_ = failsWith(t, err, KindTimeout)
		if took := time.Since(began); took != 50*time.Millisecond {
			t.Errorf("stopped after %v", took)
		}
	})
}

// spin runs an endless call on its own goroutine until ctx ends.
func spin(ctx context.Context, t *testing.T, m *Module, group *sync.WaitGroup) *Instance {
	t.Helper()
	i, err := m.Instantiate(context.Background(), &world{})
	if err != nil {
		t.Fatal(err)
	}
	group.Go(func() { _, _ = i.Invoke(ctx, "ask", nil) })
	return i
}

// Many spinning guests all make progress, at about the same speed.
func TestTurnsAreFair(t *testing.T) {
	for _, procs := range []int{1, 2} {
		t.Run(fmt.Sprint(procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			h := newHost(t, Config{})
			m, err := h.Compile(context.Background(), fixture(t, "spin"))
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			var group sync.WaitGroup
			var all []*Instance
			for range 12 {
				all = append(all, spin(ctx, t, m, &group))
			}
			counts := func() (least, most uint64) {
				var n []uint64
				for _, i := range all {
					n = append(n, i.Reductions())
				}
				return slices.Min(n), slices.Max(n)
			}
			// Long enough for many turns of each.
			for end := time.Now().Add(time.Minute); time.Now().Before(end); {
				if least, most := counts(); least > 20_000_000 {
					if most > 3*least {
						t.Errorf("one spent %d, another %d", least, most)
					}
					break
				}
				<-time.After(time.Millisecond)
			}
			if least, _ := counts(); least <= 20_000_000 {
				t.Errorf("one spent only %d", least)
			}
			// The end reaches all of them, including the waiting ones.
			stop()
			group.Wait()
			for _, i := range all {
				_ = i.Close(context.Background())
			}
		})
	}
}

// A guest that waits for another gives up its turn: with one turn and two long calls, neither
// waits forever.
func TestNoGuestWaitsForAPlaceOfAnother(t *testing.T) {
	h := newHost(t, Config{Processors: 1})
	inner := mustInstantiate(t, h, read(t, "testdata/endless.wasm"), &world{})
	inner.SetBudget(Budget{Reductions: 10_000_000})
	w := &world{}
	w.peers = nested(func(ctx context.Context) error {
		_, err := inner.Call(ctx, "loop", nil)
		return err
	})
	outer := mustInstantiate(t, h, fixture(t, "fan-out"), w)
	outer.meter.host.scheduler.take(&outer.meter.turn, nil) // as after a tick
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := outer.Invoke(ctx, "ask", request)
	if got := failsWith(t, err, KindHostCall); !strings.Contains(got, "out of budget") {
		t.Errorf("the inner guest did not get through: %v", got)
	}
	if h.scheduler.running != 0 {
		t.Errorf("%d places are still taken", h.scheduler.running)
	}
}

// A short call runs even if all turns are taken; a longer one waits.
func TestAShortCallNeedsNoTurn(t *testing.T) {
	h := newHost(t, Config{Processors: 1})
	holder := &turn{at: -1}
	h.scheduler.take(holder, nil)
	// Some 400 µs: it yields, and is over before it needs a turn. On a busy machine that may
	// not be true at once.
	short := func() error {
		i := mustInstantiate(t, h, read(t, "testdata/endless.wasm"), &world{})
		i.SetBudget(Budget{Reductions: 500_000})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := i.Call(ctx, "loop", nil)
		return err
	}
	err := short()
	for range 20 {
		if f, ok := errors.AsType[*Failure](err); !ok || f.Kind != KindTimeout {
			break
		}
		err = short()
	}
	failsWith(t, err, KindBudget)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	i := mustInstantiate(t, h, read(t, "testdata/endless.wasm"), &world{})
	i.SetBudget(Budget{Reductions: 50_000_000})
	ended := make(chan error, 1)
	go func() {
		_, err := i.Call(ctx, "loop", nil)
		ended <- err
	}()
	for h.scheduler.waiters.Load() == 0 {
		if ctx.Err() != nil {
			t.Fatal("a long call asks for no turn")
		}
		runtime.Gosched()
	}
	h.scheduler.give(holder)
	failsWith(t, <-ended, KindBudget)
}

// The guest with the least used time goes first, and one that stopped waiting gets no turn.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scheduler{processors: 1}
		holder := &turn{at: -1}
		s.take(holder, nil)
		var order []string
		var mu sync.Mutex
		wait := func(name string, used time.Duration, done <-chan struct{}) {
			own := &turn{used: used, at: -1}
			s.take(own, done)
			if own.held {
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				s.give(own)
			}
		}
		gone := make(chan struct{})
		go wait("much", 3*time.Second, nil)
		go wait("gone", 0, gone)
		go wait("little", time.Second, nil)
		go wait("some", 2*time.Second, nil)
		synctest.Wait()
		close(gone)
		synctest.Wait()
		holder.used = 10 * time.Second
		s.pass(holder, nil) // all others go first
		synctest.Wait()
		if got := fmt.Sprint(order); got != "[little some much]" {
			t.Errorf("they went on as %s", got)
		}
		if !holder.held || s.running != 1 || s.waiters.Load() != 0 {
			t.Errorf("held %v, %d running, %d waiting", holder.held, s.running, s.waiters.Load())
		}
		// Waiting earns no credit.
		late := &turn{at: -1}
		s.give(holder)
		s.take(late, nil)
		if late.used < 3*time.Second {
			t.Errorf("a newcomer starts at %v", late.used)
		}
	})
}
