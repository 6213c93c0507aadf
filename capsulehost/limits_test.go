package capsulehost

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// num encodes a number as LEB128.
func num(n int) string { return string(leb(n)) }

func sized(content string) string { return num(len(content)) + content }

// sections builds a module from sections: a number, then the content.
func sections(parts ...any) []byte {
	out := "\x00asm\x01\x00\x00\x00"
	for i := 0; i < len(parts); i += 2 {
		out += string([]byte{byte(parts[i].(int))}) + sized(parts[i+1].(string))
	}
	return []byte(out)
}

// functions returns a module with a memory and functions of type () -> ().
func functions(bodies ...string) []byte {
	var code strings.Builder
	for _, b := range bodies {
		code.WriteString(sized(b))
	}
	n := len(bodies)
	return sections(1, "\x01\x60\x00\x00", 3, num(n)+strings.Repeat("\x00", n), 5, "\x01\x00\x01", 10, num(n)+code.String())
}

// perLocal returns code for each of n locals.
func perLocal(n int, before, after string) string {
	var code strings.Builder
	for i := range n {
		code.WriteString(before + num(i) + after)
	}
	return code.String()
}

// Modules that would need the host's memory, or hours, to compile or instantiate are refused
// before that, with a sentence that names the excess.
func TestBombs(t *testing.T) {
	const (
		brIf = "\x41\x00\x0d\x00"                     // to the innermost label
		load = "\x41\x00\x28\x02\x00"                 // i32.load of address 0
		drop = "\x1a"                                 //
		fill = "\x41\x00\x41\x00\x41\x00\xfc\x0b\x00" // memory.fill
	)
	repeat := strings.Repeat
	tests := []struct {
		name string
		wasm []byte
		want string
	}{
		{"large tables", sections(4, num(90)+repeat("\x70\x00"+num(1<<20), 90)), "90 tables start with 94371840 elements together, over the limit of 1048576"},
		{"3000 tables", sections(4, num(3000)+repeat("\x70\x00\x00", 3000)), "3000 tables, over the limit of 100"},
		{"passive elements", sections(1, "\x01\x60\x00\x00", 3, "\x01\x00", 4, "\x01\x70\x00\x00",
			9, "\x01\x01\x00"+num(1<<21)+repeat("\x00", 1<<21), 10, "\x01\x02\x00\x0b"), "2097152 elements together, over the limit of 1048576"},
		{"locals", functions(times(1600, "\x01"+num(50_000)+"\x7f\x0b")...), "80000000 locals of all functions together, to compile this would take up to"},
		{"live locals", functions("\x01" + num(20_000) + "\x7f" + perLocal(20_000, load+"\x21", "") +
			repeat("\x41\x00\x04\x40\x0b", 20_000) + perLocal(20_000, "\x41\x00\x20", "\x36\x02\x00") + "\x0b"), "function 0: 20000 locals in use across"},
		{"live values", functions("\x00\x41\x00" + repeat(load, 5001) + repeat("\x41\x00\x04\x40\x0b", 5000) + repeat("\x6a", 5000) + "\x36\x02\x00\x0b"),
			"up to 5003 values on the stack across"},
		{"types", sections(1, num(100_000)+repeat("\x60"+num(100)+repeat("\x7f", 100)+"\x00", 100_000)), "10000000 parameters and results of types, to compile this would take up to"},
		{"a long function", functions("\x00" + repeat(load+drop, 400_000) + "\x0b"), "function 0: its instructions are over the limit of"},
		{"loops", functions("\x00" + repeat("\x03\x40", 4600) + repeat("\x0b", 4600) + "\x0b"), "basic blocks behind or inside each other"},
		{"more loops", functions("\x00" + repeat("\x03\x40", 11_000) + repeat("\x0b", 11_000) + "\x0b"), "basic blocks behind or inside each other"},
		{"loops with locals", functions("\x01" + num(400) + "\x7f" + repeat("\x03\x40", 130) + perLocal(400, "\x41\x00\x20", "\x36\x02\x00") +
			repeat(brIf+"\x0b", 130) + "\x0b"), "400 locals in use in loops that are 130 deep inside each other"},
		{"blocks", functions("\x00" + repeat("\x02\x40", 100_000) + repeat("\x0b", 100_000) + "\x0b"), "blocks 50001 deep inside each other, over the limit of 50000"},
		{"blocks in a row", functions("\x00" + repeat("\x02\x40\x0b", 49_000) + "\x0b"), "basic blocks behind or inside each other"},
		{"joins", functions("\x00\x02\x40" + repeat(brIf, 175_000) + "\x0b\x0b"), "basic blocks behind or inside each other"},
		{"br_table", functions("\x00\x02\x40\x41\x00\x0e" + num(100_000) + repeat("\x00", 100_001) + "\x0b\x0b"), "100001 branches to one label"},
		{"fills", functions("\x00" + repeat(fill, 20_000) + "\x0b"), "function 0: its instructions are over the limit of"},
		{"globals", sections(1, "\x01\x60\x00\x00", 3, num(30_000)+repeat("\x00", 30_000), 6, num(30_000)+repeat("\x7f\x01\x41\x00\x0b", 30_000),
			10, num(30_000)+repeat("\x02\x00\x0b", 30_000)), "30000 functions in a module of 30000 globals"},
		{"calls and globals", sections(1, "\x01\x60\x00\x00", 3, "\x01\x00", 6, num(3000)+repeat("\x7f\x01\x41\x00\x0b", 3000),
			10, "\x01"+sized("\x00"+repeat("\x10\x00", 20_000)+"\x0b")), "calls in a module of 3000 mutable globals"},
		{"exports", sections(1, "\x01\x60\x00\x00", 3, num(60_000)+repeat("\x00", 60_000), 7, num(60_000)+exports(60_000),
			10, num(60_000)+repeat("\x02\x00\x0b", 60_000)), "60000 functions in a module of 60000 exports"},
	}
	h := newHost(t, Config{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m, err := h.Compile(context.Background(), tt.wasm)
			runtime.ReadMemStats(&after)
			if err == nil {
				_ = m.Close(context.Background())
			}
			var failure *Failure
			if !errors.As(err, &failure) || failure.Kind != KindBadModule || !strings.Contains(failure.Message, tt.want) || !strings.Contains(failure.Message, "over the limit of") {
				t.Errorf("%d bytes: %v\nwant a message with %q, and the limit", len(tt.wasm), err, tt.want)
			}
			if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 64+uint64(len(tt.wasm))>>17 {
				t.Errorf("%d bytes: it took %d MiB to refuse them", len(tt.wasm), took)
			}
		})
	}
}

func times(n int, body string) []string {
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = body
	}
	return bodies
}

func exports(n int) string {
	var s strings.Builder
	for i := range n {
		s.WriteString(sized(strconv.Itoa(i)) + "\x00\x00")
	}
	return s.String()
}

// recursive returns a module whose `_initialize` and hook recurse to the given depth, with at
// least 32 bytes of stack per call.
func recursive(depth int) []byte {
	// f(n) { if (n) f(n-1) }
	f := "\x00\x20\x00\x04\x40\x20\x00\x41\x01\x6b\x10\x00\x0b\x0b"
	var number []byte
	for v := int64(depth); ; v >>= 7 {
		if v < 64 {
			number = append(number, byte(v))
			break
		}
		number = append(number, byte(v)&0x7f|0x80)
	}
	call := "\x00\x41" + string(number) + "\x10\x00"
	return sections(
		1, "\x03\x60\x01\x7f\x00\x60\x00\x00\x60\x00\x01\x7f", 3, "\x03\x00\x01\x02",
		7, "\x02"+sized(exportInitialize)+"\x00\x01"+sized(ExportInterceptor)+"\x00\x02",
		10, "\x03"+sized(f)+sized(call+"\x0b")+sized(call+"\x41\x00\x0b"))
}

// A grown call stack is freed when the call ends.
func TestStacksAreGivenBack(t *testing.T) {
	h := newHost(t, Config{})
	m, err := h.Compile(context.Background(), recursive(60_000))
	if err != nil {
		t.Fatal(err)
	}
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	var instances [4]*Instance
	for n := range instances {
		i, err := m.Instantiate(context.Background(), &world{})
		if err != nil {
			t.Fatal(err)
		}
		instances[n] = i
		if _, err := i.Invoke(context.Background(), "a", nil); err != nil {
			t.Fatal(err)
		}
		if got, most := i.Usage().MemoryBytes, uint64(1<<16+keptStack); got > most {
			t.Errorf("MemoryBytes is %d when idle, want %d at most", got, most)
		}
	}
	if kept := (heap() - before) / uint64(len(instances)); kept > 1<<20 {
		t.Errorf("each idle instance keeps %d KiB", kept>>10)
	}
	for _, i := range instances {
		if err := i.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// A call stack counts as memory while the guest runs, and is limited.
func TestStacksAreBounded(t *testing.T) {
	h := newHost(t, Config{})
	m, err := h.Compile(context.Background(), recursive(1<<30))
	if err != nil {
		t.Fatal(err)
	}
	overflows(t, m)
}

// overflows checks that a module is stopped in its initialization because of its stack, and
// that all stacks that it had, each twice as large as the one before, are bounded.
func overflows(t *testing.T, m *Module) {
	t.Helper()
	took := uint64(math.MaxUint64)
	for range 3 { // what other goroutines allocate counts as well
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := m.Instantiate(context.Background(), &world{})
		runtime.ReadMemStats(&after)
		var failure *Failure
		if !errors.As(err, &failure) || failure.Kind != KindStackOverflow || !strings.Contains(failure.Message, "over the limit of 8192 KiB") {
			t.Errorf("got %v", err)
		}
		took = min(took, after.TotalAlloc-before.TotalAlloc)
	}
	if took > 64<<20 {
		t.Errorf("endless recursion took %d MiB", took>>20)
	}
}

// A function with a large frame exceeds the limit only slightly between two ticks.
func TestLargeFramesAreBounded(t *testing.T) {
	// After a loop that makes ticks rare, a function calls itself at once. Its other branch has
	// some thousands of values to keep across a call.
	const values = 4000
	spin := "\x01\x01\x7f\x03\x40\x20\x00\x41\x01\x6a\x22\x00\x41" + "\xd0\x86\x03" + "\x48\x0d\x00\x0b\x10\x01\x0b" // to 50,000
	deep := "\x00\x41\x01\x04\x40\x10\x01\x05\x41\x00" + strings.Repeat("\x41\x00\x28\x02\x00", values) + "\x10\x01" +
		strings.Repeat("\x6a", values-1) + "\x36\x02\x00\x0b\x0b"
	wasm := sections(
		1, "\x01\x60\x00\x00", 3, "\x02\x00\x00", 5, "\x01\x00\x01", 7, "\x01"+sized(exportInitialize)+"\x00\x00",
		10, "\x02"+sized(spin)+sized(deep))
	h := newHost(t, Config{})
	m, err := h.Compile(context.Background(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	overflows(t, m)
}

// wazero has no method for this; the test fails if the field is renamed.
func TestStackBytes(t *testing.T) {
	i := mustInstantiate(t, newHost(t, Config{}), fixture(t, "echo"), &world{})
	if _, err := i.Invoke(context.Background(), "ask", nil); err != nil {
		t.Fatal(err)
	}
	if n := i.callee.stackBytes(); n != 10<<10 {
		t.Errorf("the stack has %d bytes, want wazero's 10240 at first", n)
	}
}
