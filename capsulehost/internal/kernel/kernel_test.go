package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"pgregory.net/rapid"
)

// build instantiates a kernel with at most pages pages; its host functions do nothing.
func build(t testing.TB, pages uint32) (*Kernel, api.Module) {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(pages))
	t.Cleanup(func() { _ = r.Close(ctx) })
	compiled, err := r.CompileModule(ctx, Wasm)
	if err != nil {
		t.Fatal(err)
	}
	host := r.NewHostModuleBuilder("host")
	for _, d := range compiled.ImportedFunctions() {
		_, name, _ := d.Import()
		host.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(context.Context, []uint64) {}), d.ParamTypes(), d.ResultTypes()).Export(name)
	}
	if _, err := host.Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	m, err := r.InstantiateModule(ctx, compiled, wazero.NewModuleConfig())
	if err != nil {
		t.Fatal(err)
	}
	return View(m), m
}

// tester is the common part of rapid's and the fuzzer's test types.
type tester interface {
	Fatalf(format string, args ...any)
}

func call(t tester, m api.Module, name string, arguments ...uint64) uint64 {
	results, err := m.ExportedFunction(name).Call(context.Background(), arguments...)
	if err != nil {
		t.Fatalf("%s(%v): %v", name, arguments, err)
	}
	if len(results) == 0 {
		return 0
	}
	return results[0]
}

// After any allocations and frees, live blocks do not overlap and keep their bytes, and only
// their start offset identifies them.
func TestBlocks(t *testing.T) {
	k, m := build(t, 16)
	rapid.Check(t, func(t *rapid.T) {
		if err := k.Reset(nil); err != nil {
			t.Fatal(err)
		}
		live := map[uint64][]byte{}
		size := rapid.OneOf(rapid.IntRange(1, 70), rapid.IntRange(1, 5000), rapid.SampledFrom([]int{63, 64, 65, 128, 129, 65536, 70000}))
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			offsets := slices.Sorted(maps.Keys(live))
			if len(offsets) > 0 && rapid.IntRange(0, 2).Draw(t, "what") == 0 {
				p := offsets[rapid.IntRange(0, len(offsets)-1).Draw(t, "which")]
				call(t, m, "free", p)
				delete(live, p)
				if n, ok := k.Length(p); ok {
					t.Fatalf("a freed block has length %d", n)
				}
				continue
			}
			n := size.Draw(t, "size")
			data := bytes.Repeat([]byte{byte(len(live) + 1)}, n)
			p, err := k.Store(data)
			if err != nil {
				continue // no memory left: live blocks must be unchanged
			}
			if p%16 != 0 {
				t.Fatalf("a block at %d", p)
			}
			for q, other := range live {
				if p < q+uint64(len(other)) && q < p+uint64(n) {
					t.Fatalf("blocks at %d and %d overlap", p, q)
				}
			}
			live[p] = data
		}
		for p, data := range live {
			n, ok := k.Length(p)
			if !ok || n != uint64(len(data)) || !bytes.Equal(k.Bytes(p, n), data) {
				t.Fatalf("the block at %d has changed: %d bytes of %d", p, n, len(data))
			}
			for _, q := range []uint64{p + 1, p + 8, p - 1, p + 1<<32} {
				if _, ok := k.Length(q); ok && live[q] == nil {
					t.Fatalf("%d is a block, and should not be", q)
				}
			}
		}
	})
}

// Loads return the stored bytes, at any offset and in both sizes. Access out of bounds has no
// effect. The model is one slice of bytes.
func TestLoadsAndStores(t *testing.T) {
	k, m := build(t, 2)
	rapid.Check(t, func(t *rapid.T) {
		input := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "input")
		if err := k.Reset(input); err != nil {
			t.Fatal(err)
		}
		const size = 64
		p := call(t, m, "alloc", size)
		if p == 0 {
			t.Fatal("no memory")
		}
		for i := uint64(0); i < size; i += 8 {
			call(t, m, "store_u64", p+i, 0)
		}
		model := make([]byte, size+8) // nothing lies after its end
		end := p + size
		offset := rapid.Uint64Range(0, size+16)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			at, x := offset.Draw(t, "at"), rapid.Uint64().Draw(t, "x")
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				call(t, m, "store_u8", p+at, x)
				if at < size {
					model[at] = byte(x)
				}
			case 1:
				call(t, m, "store_u64", p+at, x)
				if at+8 <= size {
					binary.LittleEndian.PutUint64(model[at:], x)
				}
			case 2:
				want := uint64(0)
				if at < size {
					want = uint64(model[at])
				}
				if got := call(t, m, "load_u8", p+at); got != want {
					t.Fatalf("load_u8(%d of %d) = %#x, want %#x", at, size, got, want)
				}
			case 3:
				want := uint64(0)
				if at+8 <= size {
					want = binary.LittleEndian.Uint64(model[at:])
				}
				if got := call(t, m, "load_u64", p+at); got != want {
					t.Fatalf("load_u64(%d of %d) = %#x, want %#x", at, size, got, want)
				}
			case 4:
				n := rapid.Uint64Range(1, size+8).Draw(t, "n")
				before := k.Output()
				call(t, m, "output_set", p+at, n)
				want := before
				if at+n <= size {
					want = model[at : at+n]
				}
				if got := k.Output(); !bytes.Equal(got, want) {
					t.Fatalf("the output at %d of %d bytes is %x, want %x", at, n, got, want)
				}
				call(t, m, "output_set", 0, 0)
			default:
				want := [8]byte{}
				if at+8 <= uint64(len(input)) {
					copy(want[:], input[at:])
				}
				if got := call(t, m, "input_load_u64", at); got != binary.LittleEndian.Uint64(want[:]) {
					t.Fatalf("input_load_u64(%d of %d) = %#x, want %x", at, len(input), got, want)
				}
			}
		}
		if call(t, m, "load_u8", end) != 0 {
			t.Fatal("there is something behind the last block")
		}
	})
}

// A run loop that frees its blocks can run forever.
func TestFreedBlocksAreUsedAgain(t *testing.T) {
	k, m := build(t, 4)
	for i := range 100_000 {
		p, err := k.Store(make([]byte, 1+i*7919%20_000))
		if err != nil {
			t.Fatalf("after %d blocks: %v", i, err)
		}
		call(t, m, "free", p)
	}
}

func TestResetForgets(t *testing.T) {
	k, m := build(t, 2)
	if err := k.Reset([]byte("one")); err != nil {
		t.Fatal(err)
	}
	p, _ := k.Store([]byte("an answer"))
	call(t, m, "output_set", p, 9)
	call(t, m, "error_set", p)
	call(t, m, "free", p)
	if p := call(t, m, "alloc", 1<<20); p != 0 || !k.Exhausted() {
		t.Fatalf("alloc(1 MiB) = %d of 128 KiB", p)
	}
	if err := k.Reset([]byte("other")); err != nil {
		t.Fatal(err)
	}
	if len(k.Output()) != 0 || len(k.ErrorText()) != 0 || k.Exhausted() {
		t.Error("reset has left something")
	}
	if got := string(k.Bytes(call(t, m, "input_offset"), call(t, m, "input_length"))); got != "other" {
		t.Errorf("input %q", got)
	}
}

// With any writes and offsets of a guest, no kernel function traps or leaves the shared memory,
// and a reset restores it.
func FuzzHostileGuest(f *testing.F) {
	f.Add([]byte{0, 40, 1, 2, 3, 1, 0, 5, 9, 9})
	f.Add(bytes.Repeat([]byte{4, 16, 0, 0, 255, 3, 8, 1}, 20))
	k, m := build(f, 8)
	names := []string{
		"alloc", "free", "length", "length_unsafe", "load_u8", "load_u64", "store_u8", "store_u64",
		"input_load_u8", "input_load_u64", "input_set", "output_set", "error_set", "reset",
		"input_offset", "input_length", "output_offset", "output_length", "error_get", "memory_bytes",
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if err := k.Reset([]byte("input")); err != nil {
			t.Fatal(err)
		}
		seen := []uint64{0, 1, 1024, 1040, ^uint64(0), 1 << 32}
		for len(script) >= 4 {
			name := names[int(script[0])%len(names)]
			d := m.ExportedFunction(name).Definition()
			arguments := []uint64{seen[int(script[1])%len(seen)] + uint64(int8(script[2])), seen[int(script[3])%len(seen)] ^ uint64(script[2])}
			if name == "alloc" {
				arguments[0] = uint64(script[1]) << (script[2] % 24)
			}
			script = script[4:]
			result := call(t, m, name, arguments[:len(d.ParamTypes())]...)
			if len(seen) < 200 {
				seen = append(seen, result)
			}
			k.Output()
			k.ErrorText()
			if n, ok := k.Length(arguments[0]); ok && uint64(len(k.Bytes(arguments[0], n))) != n {
				t.Fatalf("a block of %d bytes at %d is not in the shared memory", n, arguments[0])
			}
		}
		if err := k.Reset([]byte("again")); err != nil {
			t.Fatal(err)
		}
		if p, err := k.Store([]byte("x")); err != nil || p != 1072 {
			t.Fatalf("after a reset, a block is at %d: %v", p, err)
		}
	})
}
