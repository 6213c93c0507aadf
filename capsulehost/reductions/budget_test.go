package reductions_test

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-actors/astrid-actors/capsulehost/reductions"
)

var (
	shapes     = flag.Int("shapes", 10, "how many random modules TestCompileBudget makes")
	firstShape = flag.Uint64("firstshape", 0, "the seed of the first")
)

// extreme generates valid modules of extreme shapes. Each statement leaves the stack unchanged.
type extreme struct {
	*rand.Rand
	out     []byte
	locals  int
	globals int
	depth   int // open labels, including the function's
	left    int // bytes left to generate
}

// many returns a number up to n; small and large magnitudes are equally likely.
func (x *extreme) many(n int) int {
	m := 1
	for m < n && x.IntN(8) > 0 {
		m = m*2 + x.IntN(2)
	}
	return min(m, n)
}

func (x *extreme) put(code ...string) {
	for _, c := range code {
		x.out = append(x.out, c...)
		x.left -= len(c)
	}
}

func leb(n int) string { return string(uleb(nil, uint64(n))) }

// copies writes body up to n times, as far as there is room.
func (x *extreme) copies(n int, body string) {
	n = min(n, max(1, x.left/max(1, len(body))))
	x.put(strings.Repeat(body, n))
}

// apart returns the output of write, and does not append it.
func (x *extreme) apart(write func()) string {
	from := len(x.out)
	write()
	s := string(x.out[from:])
	x.out = x.out[:from]
	return s
}

func (x *extreme) value() string {
	if x.IntN(2) == 0 {
		return "\x41\x00\x28\x02" + leb(x.IntN(1000)) // i32.load
	}
	return "\x20" + leb(x.IntN(x.locals)) // local.get
}

func (x *extreme) statement(level int) {
	if x.left <= 0 || level > 6 {
		x.put("\x01")
		return
	}
	switch x.IntN(15) {
	case 0, 1: // the same statement repeated
		body := x.apart(func() { x.statement(level + 1) })
		x.copies(x.many(20_000), body)
	case 2: // statements in sequence
		for range 1 + x.IntN(4) {
			x.statement(level + 1)
		}
	case 3, 4, 5: // nested blocks
		before, after := x.wrapper()
		n := min(x.many(10_000), max(1, x.left/8))
		x.depth += n
		body := x.apart(func() { x.statement(level + 1) })
		x.depth -= n
		x.put(strings.Repeat(before, n), body, strings.Repeat(after, n))
	case 6:
		x.put(x.value(), "\x0d", leb(x.IntN(x.depth)))
	case 7: // a branch to each label
		for range min(x.many(5000), max(1, x.left/5)) {
			x.put(x.value(), "\x0d", leb(x.IntN(x.depth)))
		}
	case 8:
		n := min(x.many(20_000), max(1, x.left/2))
		x.put("\x02\x40", x.value(), "\x0e", leb(n))
		for range n + 1 {
			x.put(leb(x.IntN(x.depth + 1)))
		}
		x.put("\x0b")
	case 9: // set many locals
		from := x.IntN(x.locals)
		for i := range min(x.many(x.locals-from), max(1, x.left/6)) {
			x.put(x.value(), "\x21", leb(from+i))
		}
	case 10: // read them
		from := x.IntN(x.locals)
		for i := range min(x.many(x.locals-from), max(1, x.left/6)) {
			x.put("\x41\x00\x20", leb(from+i), "\x36\x02\x00")
		}
	case 11: // meanwhile hold values on the stack
		n := min(x.many(5000), max(1, x.left/7))
		v := x.value()
		x.put("\x41\x00", strings.Repeat(v, n+1))
		x.statement(level + 1)
		x.put(strings.Repeat("\x6a", n), "\x36\x02\x00")
	case 12: // new addresses
		l := leb(x.IntN(x.locals))
		x.copies(x.many(3000), "\x20"+l+"\x28\x02\x00\x22"+l+"\x28\x02\x08\x21"+l)
	case 13:
		x.put([]string{
			"\x10\x00", "\x41\x00\x41\x00\x41\x00\xfc\x0b\x00", "\x41\x00\x41\x00\x41\x00\xfc\x0a\x00\x00",
			"\x41\x01\x40\x00\x1a", "\x41\x00\x11\x00\x00", "\x41\x00\x41\x05\x41\x03\x6d\x36\x02\x00",
		}[x.IntN(6)])
	case 14:
		g := leb(x.IntN(x.globals))
		x.put("\x23", g, "\x45\x24", g)
	}
}

func (x *extreme) wrapper() (before, after string) {
	v := x.value()
	switch x.IntN(6) {
	case 0:
		return "\x02\x40", "\x0b"
	case 1:
		return "\x03\x40", "\x0b"
	case 2:
		return "\x03\x40", v + "\x0d\x00\x0b"
	case 3:
		return v + "\x04\x40", "\x0b"
	case 4:
		return v + "\x04\x40", "\x05" + v + "\x1a\x0b"
	default:
		return "\x02\x40", v + "\x0d\x00\x0b"
	}
}

// module returns a module of about size bytes.
func (x *extreme) module(size int) []byte {
	x.globals = x.many(3000)
	functions := x.many(2000)
	var bodies []string
	for x.left = size; len(bodies) < functions && (x.left > 0 || len(bodies) == 0); {
		x.locals, x.depth = x.many(30_000), 1
		x.out = x.out[:0]
		x.left -= 8
		room := x.left
		x.left = max(16, room/(1+x.IntN(4)))
		part := x.left
		x.put("\x01", leb(x.locals), "\x7f")
		for range 1 + x.IntN(3) {
			x.statement(0)
		}
		x.put("\x0b")
		x.left = room - (part - x.left)
		bodies = append(bodies, string(sized(x.out)))
		for x.IntN(3) == 0 && len(bodies) < functions && x.left > 0 {
			again := x.many(min(functions-len(bodies), 1+x.left/len(bodies[len(bodies)-1])))
			for range again {
				bodies = append(bodies, bodies[len(bodies)-1])
			}
			x.left -= again * len(bodies[len(bodies)-1])
		}
	}
	n := len(bodies)
	types := x.many(5000)
	wide := x.many(50)
	return sections(
		1, leb(types+1)+"\x60\x00\x00"+strings.Repeat("\x60"+leb(wide)+strings.Repeat("\x7f", wide)+"\x00", types),
		3, leb(n)+strings.Repeat("\x00", n), 4, "\x01\x70\x00\x01", 5, "\x01\x00\x01",
		6, leb(x.globals)+strings.Repeat("\x7f\x01\x41\x00\x0b", x.globals),
		10, leb(n)+strings.Join(bodies, ""))
}

// spent is the cost of a compilation: processor time and heap.
type spent struct {
	time time.Duration
	peak uint64
}

func processorTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// compile compiles a module and measures the cost.
func compile(t testing.TB, wasm []byte) spent {
	t.Helper()
	debug.FreeOSMemory()
	var peak atomic.Uint64
	heap := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	before := heap()
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			peak.Store(max(peak.Load(), heap()))
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	began := processorTime(t)
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2))
	_, err := r.CompileModule(ctx, wasm)
	took := processorTime(t) - began
	close(done)
	<-stopped
	peak.Store(max(peak.Load(), heap()))
	if err != nil {
		t.Errorf("compile: %v", err)
	}
	_ = r.Close(ctx)
	return spent{took, peak.Load() - min(before, peak.Load())}
}

// keepsPromise checks that a module is refused or compiled within its budget. The time may be
// slow times as long on a slow or busy machine.
func keepsPromise(t testing.TB, wasm []byte, budget reductions.Budget, slow int) (cost reductions.Cost, s spent, refused error) {
	counted, cost, err := reductions.Rewrite(wasm, reductions.Config{Budget: budget})
	if err != nil {
		return cost, s, err
	}
	s = compile(t, counted)
	if s.time > time.Duration(slow)*cost.Time+time.Second {
		t.Errorf("compiling %d bytes took %v, and should take %v at most", len(wasm), s.time, cost.Time)
	}
	if s.peak > cost.Memory*3/2+16<<20 {
		t.Errorf("compiling %d bytes took %d MiB, and should take %d MiB at most", len(wasm), s.peak>>20, cost.Memory>>20)
	}
	return cost, s, nil
}

// Each accepted module compiles within its budget. For more modules: -args -shapes 10000.
func TestCompileBudget(t *testing.T) {
	var slowest, largest spent
	var worstTime, worstMemory float64
	refused, slow, modules := 0, 3, *shapes
	if raced {
		slow, modules = 50, min(modules, 2)
	}
	for n := range uint64(modules) {
		seed := *firstShape + n
		x := extreme{Rand: rand.New(rand.NewPCG(seed, 13))}
		size := 20_000
		if *shapes > 100 {
			size = x.many(1_000_000)
		}
		wasm := x.module(size)
		cost, s, err := keepsPromise(t, wasm, reductions.DefaultBudget(), slow)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		if err != nil {
			refused++
			if limit := (*reductions.LimitError)(nil); !errors.As(err, &limit) {
				t.Errorf("seed %d: %v", seed, err)
			}
			continue
		}
		if s.time > slowest.time {
			slowest = s
		}
		if s.peak > largest.peak {
			largest = s
		}
		if s.time > cost.Time && s.time > 500*time.Millisecond || s.peak > cost.Memory && s.peak > 32<<20 {
			t.Logf("seed %d: %v and %d MiB, estimated as %v and %d MiB", seed, s.time, s.peak>>20, cost.Time, cost.Memory>>20)
		}
		if s.time > 500*time.Millisecond {
			worstTime = max(worstTime, s.time.Seconds()/cost.Time.Seconds())
		}
		if s.peak > 32<<20 {
			worstMemory = max(worstMemory, float64(s.peak)/float64(cost.Memory))
		}
	}
	t.Logf("%d modules, %d refused; at most %v and %d MiB; %.2f of the time and %.2f of the memory that was estimated",
		modules, refused, slowest.time, largest.peak>>20, worstTime, worstMemory)
	runtime.GC()
}

// FuzzCompileBudget checks shapes found by fuzzing, at a small scale: the fuzzer treats ten
// seconds as a hang, and slows the compiler down tenfold.
func FuzzCompileBudget(f *testing.F) {
	for seed := range uint64(3) {
		f.Add(seed, uint64(1), uint32(5000))
	}
	f.Fuzz(func(t *testing.T, a, b uint64, size uint32) {
		x := extreme{Rand: rand.New(rand.NewPCG(a, b))}
		budget := reductions.Budget{Time: 300 * time.Millisecond, Memory: 32 << 20}
		_, _, _ = keepsPromise(t, x.module(1+int(size)%20_000), budget, 30)
	})
}
