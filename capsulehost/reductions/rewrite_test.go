package reductions_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-actors/astrid-actors/capsulehost/reductions"
)

// counted is a running rewritten module with a fixed grant per tick.
type counted struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	module   api.Module
	counter  api.MutableGlobal
	granted  int64
	quantum  int64
}

func start(t *testing.T, wasm []byte, cfg reductions.Config, quantum int64) *counted {
	t.Helper()
	wasm, _, err := reductions.Rewrite(wasm, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	pages := cfg.MemoryLimitPages
	if pages == 0 {
		pages = 65536
	}
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(features).WithMemoryLimitPages(pages))
	t.Cleanup(func() { _ = r.Close(ctx) })
	c := &counted{quantum: quantum}
	if _, err := r.NewHostModuleBuilder(reductions.ImportModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(context.Context, api.Module, []uint64) { c.grant() }), nil, nil).
		Export(reductions.Tick).Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	if c.compiled, err = r.CompileModule(ctx, wasm); err != nil {
		t.Fatal(err)
	}
	c.runtime = r
	c.again(t)
	return c
}

// again creates a new instance, with nothing spent.
func (c *counted) again(t *testing.T) {
	t.Helper()
	var err error
	if c.module, err = c.runtime.InstantiateModule(context.Background(), c.compiled, wazero.NewModuleConfig().WithName("")); err != nil {
		t.Fatal(err)
	}
	c.counter = c.module.ExportedGlobal(reductions.Counter).(api.MutableGlobal)
	c.granted = 0
	c.grant()
}

func (c *counted) grant() {
	c.granted += c.quantum - int64(c.counter.Get())
	c.counter.Set(uint64(c.quantum))
}

func (c *counted) spent() int64 { return c.granted - int64(c.counter.Get()) }

// The cost of each operation, which does not depend on the size of the grants.
func TestCounts(t *testing.T) {
	wasm := read(t, "testdata/counts.wasm")
	var modules []*counted
	for _, quantum := range []int64{0, 1, 7, 1 << 40} {
		modules = append(modules, start(t, wasm, reductions.Config{MemoryLimitPages: 8}, quantum))
	}
	for _, tt := range []struct {
		export string
		n      int
		want   int64
	}{
		{"leaf", 0, 1},
		{"two_calls", 0, 3},
		{"indirect", 0, 2},
		{"loop", 1, 2},
		{"loop", 1000, 1001},
		{"calling_loop", 1000, 2001},
		{"carrying_loop", 1000, 1001},
		{"nested", 30, 1 + 30 + 900},
		{"straight", 1, 3},
		{"fill", 63, 1},
		{"fill", 4096, 1 + 64},
		{"fill", 262144, 1 + 4096},
		{"copy", 64, 2},
		{"copy", 200_000, 1 + 200_000/64},
		{"init", 10, 1},
		{"grow", 1, 1 + 1024},
		{"grow", 5, 1}, // refused: the limit is 8 pages
		{"grow", -1, 1},
		{"table_grow", 80, 1 + 10},
		{"table_fill", 8, 2},
	} {
		for _, c := range modules {
			c.again(t)
			f := c.module.ExportedFunction(tt.export)
			args := make([]uint64, len(f.Definition().ParamTypes()))
			if len(args) > 0 {
				args[0] = uint64(uint32(tt.n))
			}
			if _, err := f.Call(context.Background(), args...); err != nil {
				t.Fatal(err)
			}
			if got := c.spent(); got != tt.want {
				t.Errorf("%s %d with ticks each %d: %d reductions, want %d", tt.export, tt.n, c.quantum, got, tt.want)
			}
		}
	}
}

// Jumping over the positions of the charges does not make straight-line code cheap. Here, all
// charges would be in the skipped part of each block if the scan did not follow the branches.
func TestBranchesAreCounted(t *testing.T) {
	const blocks, before, run, skipped = 50, 20, 40, 22                                 // 63 in a block, including the branch
	instructions := func(n int) string { return strings.Repeat("\x20\x00\x45\x1a", n) } // local.get, i32.eqz, drop
	body := "\x00" + instructions(before) +
		strings.Repeat("\x02\x40"+instructions(run)+"\x41\x01\x0d\x00"+instructions(skipped)+"\x0b", blocks) + "\x0b"
	wasm := sections(
		1, "\x01\x60\x01\x7f\x00", 3, "\x01\x00", 7, "\x01\x01f\x00\x00",
		10, "\x01"+string(sized([]byte(body))))
	c := start(t, wasm, reductions.Config{}, 4000)
	if _, err := c.module.ExportedFunction("f").Call(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	if least := int64(blocks * run / reductions.StraightLine); c.spent() < least {
		t.Errorf("%d reductions for %d instructions, want %d at least", c.spent(), blocks*run, least)
	}
}

// Copies in pieces, also overlapping ones, have the same result as a single copy.
func TestLargeCopies(t *testing.T) {
	// A function with the parameters to, from and size.
	wasm := sections(
		1, "\x01\x60\x03\x7f\x7f\x7f\x00", 3, "\x01\x00", 5, "\x01\x00\x0a", 7, "\x02\x01f\x00\x00\x01m\x02\x00",
		10, "\x01"+string(sized([]byte("\x00\x20\x00\x20\x01\x20\x02\xfc\x0a\x00\x00\x0b"))))
	c := start(t, wasm, reductions.Config{}, 4000)
	want := memory(c.module)
	for i := range want {
		want[i] = byte(i * i >> 8)
	}
	for _, tt := range []struct{ to, from, size int }{
		{0, 1, 300_000}, {1, 0, 300_000}, {70_000, 0, 300_000}, {0, 70_000, 300_000}, {5, 5, 200_000}, {0, 400_000, 200_000},
		{100, 0, reductions.PieceSize + 1}, {0, 100, reductions.PieceSize}, {100, 0, 4097},
	} {
		want = bytes.Clone(memory(c.module))
		copy(want[tt.to:tt.to+tt.size], bytes.Clone(want[tt.from:tt.from+tt.size]))
		if _, err := c.module.ExportedFunction("f").Call(context.Background(), uint64(tt.to), uint64(tt.from), uint64(tt.size)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(memory(c.module), want) {
			t.Errorf("%d bytes from %d to %d: not what a copy leaves", tt.size, tt.from, tt.to)
		}
	}
}

// A stack trace names the same functions, and a fill out of bounds writes nothing.
func TestTraces(t *testing.T) {
	c := start(t, read(t, "testdata/counts.wasm"), reductions.Config{}, 4000)
	_, err := c.module.ExportedFunction("trap").Call(context.Background(), 1)
	if want := "wasm error: integer divide by zero\nwasm stack trace:\n\t.broken(i32) i32\n\t.caller(i32)"; err == nil || err.Error() != want {
		t.Errorf("got %q\nwant %q", err, want)
	}
	for _, n := range []uint64{10, 200_000} {
		_, err = c.module.ExportedFunction("fill_outside").Call(context.Background(), n)
		if err == nil || !strings.Contains(err.Error(), "out of bounds memory access") {
			t.Errorf("filling %d bytes and one too many: %v", n, err)
		}
		if bytes.IndexByte(memory(c.module), 1) >= 0 {
			t.Errorf("a fill of %d bytes wrote before it trapped", n)
		}
	}
}

// custom returns a custom section.
func custom(name, content string) []byte {
	body := append(uleb(nil, uint64(len(name))), name...)
	return append([]byte{0}, sized(append(body, content...))...)
}

// Custom sections are unchanged, and keep their positions.
func TestCustomSectionsStay(t *testing.T) {
	wasm := read(t, "testdata/counts.wasm")
	first, last := custom("first", "\x00\xff at the start"), custom(".debug_line", strings.Repeat("\x80", 300))
	wasm = append(append(append(append([]byte(nil), wasm[:8]...), first...), wasm[8:]...), last...)
	out, _, err := reductions.Rewrite(wasm, reductions.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(out[8:], first) || !bytes.HasSuffix(out, last) {
		t.Error("a custom section was changed or moved")
	}
}

// sections builds a module from pairs of a section's number and content.
func sections(parts ...any) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	for i := 0; i < len(parts); i += 2 {
		out = append(append(out, byte(parts[i].(int))), sized([]byte(parts[i+1].(string)))...)
	}
	return out
}

func TestWhatIsRefused(t *testing.T) {
	types := "\x01\x60\x00\x00" // one type, () -> ()
	code := func(body string) []byte {
		return sections(1, types, 3, "\x01\x00", 10, "\x01"+string(sized([]byte(body))))
	}
	for _, tt := range []struct {
		name string
		wasm []byte
		want string
	}{
		{"nothing", nil, "not a WebAssembly module"},
		{"a section that is cut", []byte("\x00asm\x01\x00\x00\x00\x01\x05\x01"), "section at byte 8: it ends too early"},
		{"no such section", sections(14, ""), "14 is not the number of a section"},
		{"twice", sections(1, types, 1, types), "the type section is out of order"},
		{"backwards", sections(3, "\x00", 1, types), "the type section is out of order"},
		{"left over", sections(1, types+"\x00"), "type section, byte 4: 1 bytes are left over"},
		{"a vector longer than its section", sections(1, "\xff\xff\xff\xff\x0f"), "it ends too early"},
		{"the host's import", sections(1, types, 2, "\x01\x11astrid:reductions\x04tick\x00\x00"), `import 0 is from "astrid:reductions", which is the host's own`},
		{"the host's export", sections(6, "\x01\x7f\x00\x41\x00\x0b", 7, "\x01\x11astrid:reductions\x03\x00"), `the export "astrid:reductions" has a name of the host's own`},
		{"the counter, exported", sections(7, "\x01\x01c\x03\x00"), "global 0 of 0"},
		{"the counter, read", code("\x00\x23\x00\x1a\x0b"), "function 0, byte 3: global 0 of 0"},
		{"the counter, set", code("\x00\x42\x00\x24\x00\x0b"), "global 0 of 0"},
		{"the counter, in a constant", sections(6, "\x01\x7e\x00\x23\x01\x0b"), "global 1 of 1"},
		{"our type", code("\x00\x02\x01\x0b\x0b"), "type 1 of 1"},
		{"our helper", code("\x00\x10\x01\x0b"), "function 1 of 1"},
		{"our local", code("\x00\x20\x00\x1a\x0b"), "local 0 of 0"},
		{"billions of locals", code("\x01\xff\xff\xff\xff\x0f\x7f\x0b"), "over the limit of 50000"},
		{"functions without code", sections(1, types, 3, "\x01\x00"), "1 functions have no code"},
		{"code without functions", sections(1, types, 3, "\x00", 10, "\x01\x02\x00\x0b"), "1 functions have code, and 0 are declared"},
		{"no end", code("\x00\x02\x40\x0b"), "1 blocks have no end"},
		{"code behind the end", code("\x00\x0b\x0b"), "code behind the end"},
		{"a branch too far", code("\x00\x0c\x01\x0b"), "a branch to label 1 of 1"},
		{"old exceptions", code("\x00\x06\x40\x0b\x0b"), "unknown instruction 0x06"},
		{"fill without memory", code("\x00\x41\x00\x41\x00\x41\x00\xfc\x0b\x00\x0b"), "a memory instruction without a memory"},
		{"a large table", sections(4, "\x01\x70\x00\xe9\x07"), "table 0 starts with 1001 elements, over the limit of 1000"},
		{"large tables together", sections(4, "\x02\x70\x00\xe8\x07\x70\x00\x01"), "2 tables start with 1001 elements together, over the limit of 1000"},
		{"many tables", sections(4, "\x65"+strings.Repeat("\x70\x00\x00", 101)), "101 tables, over the limit of 100"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, _, err := reductions.Rewrite(tt.wasm, reductions.Config{TableLimit: 1000})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %d bytes and %v, want %q", len(out), err, tt.want)
			}
		})
	}
}

// Malformed names are dropped; the module still works.
func TestBrokenNames(t *testing.T) {
	for _, content := range []string{"\x01\x05\xff\xff\xff\xff\x0f", "\x01\xff", "\x01\x04\x01\x00\x01\xff"} {
		out, _, err := reductions.Rewrite(append(sections(), custom("name", content)...), reductions.Config{})
		if err != nil {
			t.Error(err)
		}
		if !bytes.Contains(out, custom("name", "")) || bytes.Contains(out, []byte(content)) {
			t.Errorf("%q: names are left: %q", content, out)
		}
	}
}

// Tables can't grow beyond the limit, whatever maximum they declare.
func TestTableLimit(t *testing.T) {
	// A table of at least 1, and a function that grows it by its parameter.
	wasm := sections(
		1, "\x01\x60\x01\x7f\x01\x7f", 3, "\x01\x00", 4, "\x01\x70\x00\x01", 7, "\x01\x01g\x00\x00",
		10, "\x01"+string(sized([]byte("\x00\xd0\x70\x20\x00\xfc\x0f\x00\x0b"))))
	c := start(t, wasm, reductions.Config{TableLimit: 1000}, 4000)
	for _, tt := range []struct {
		by   uint64
		want int32
	}{{999, 1}, {1, -1}} {
		got, err := c.module.ExportedFunction("g").Call(context.Background(), tt.by)
		if err != nil || int32(got[0]) != tt.want {
			t.Errorf("growing by %d: %v %v, want %d", tt.by, got, err, tt.want)
		}
	}
}

// All tables together can't grow beyond the limit either. A failed growth of one table leaves
// the room to the others.
func TestTablesTogether(t *testing.T) {
	// A table of at most 10, one without a maximum, and functions that grow them.
	grow := func(table string) string {
		return string(sized([]byte("\x00\xd0\x70\x20\x00\xfc\x0f" + table + "\x0b")))
	}
	wasm := sections(
		1, "\x01\x60\x01\x7f\x01\x7f", 3, "\x02\x00\x00", 4, "\x02\x70\x01\x01\x0a\x70\x00\x00",
		7, "\x02\x01a\x00\x00\x01b\x00\x01", 10, "\x02"+grow("\x00")+grow("\x01"))
	c := start(t, wasm, reductions.Config{TableLimit: 1000}, 4000)
	for _, tt := range []struct {
		export string
		by     uint64
		want   int32
	}{{"a", 500, -1}, {"b", 1000, -1}, {"b", 900, 0}, {"a", 9, 1}, {"a", 1, -1}, {"b", 1<<32 - 1, -1}, {"b", 91, -1}, {"b", 90, 900}, {"b", 1, -1}, {"b", 0, 990}} {
		before := c.spent()
		got, err := c.module.ExportedFunction(tt.export).Call(context.Background(), tt.by)
		if err != nil || int32(got[0]) != tt.want {
			t.Errorf("growing %s by %d: %v %v, want %d", tt.export, tt.by, got, err, tt.want)
		}
		if spent := c.spent() - before; spent > 200 {
			t.Errorf("growing %s by %d cost %d reductions", tt.export, tt.by, spent)
		}
	}
}

// A start function runs before the host has the counter.
func TestStartFunction(t *testing.T) {
	// It calls itself a thousand times, until its global is 0.
	wasm := sections(
		1, "\x01\x60\x00\x00", 3, "\x01\x00", 6, "\x01\x7f\x01\x41\xe8\x07\x0b", 8, "\x00",
		10, "\x01"+string(sized([]byte("\x00\x23\x00\x04\x40\x23\x00\x41\x01\x6b\x24\x00\x10\x00\x0b\x0b"))))
	out, _, err := reductions.Rewrite(wasm, reductions.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	defer r.Close(ctx)
	ticks := 0
	link(t, r, 99, &ticks)
	if _, err := r.Instantiate(ctx, out); err != nil {
		t.Fatal(err)
	}
	if ticks != 11 { // the first at once, then one per hundred
		t.Errorf("%d ticks", ticks)
	}
}
