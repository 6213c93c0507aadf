package reductions_test

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/astrid-actors/astrid-actors/capsulehost/reductions"
)

// The features that capsulehost enables.
const features = api.CoreFeaturesV2 | experimental.CoreFeaturesTailCall | experimental.CoreFeaturesExtendedConst

// run is the result of a module: the outcome of each call, and its final state.
type run struct {
	outcomes []string
	memory   uint64
	globals  []uint64
	spent    int64
	ticks    int
}

// runAll instantiates a generated module and calls its functions one after the other. In a
// rewritten module, each tick grants quantum reductions.
func runAll(t testing.TB, wasm []byte, functions []signature, quantum int64) run {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(features).WithMemoryLimitPages(64))
	defer r.Close(ctx)
	var out run
	var granted int64
	counter := func(m api.Module) api.MutableGlobal {
		g, _ := m.ExportedGlobal(reductions.Counter).(api.MutableGlobal)
		return g
	}
	if _, err := r.NewHostModuleBuilder("host").NewFunctionBuilder().
		WithGoFunction(api.GoFunc(func(_ context.Context, stack []uint64) { stack[0] = uint64(uint32(stack[0]) * 2654435761) }),
			[]api.ValueType{api.ValueTypeI32}, []api.ValueType{api.ValueTypeI32}).Export("h").Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.NewHostModuleBuilder(reductions.ImportModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, m api.Module, _ []uint64) {
			c := counter(m)
			left := int64(c.Get())
			if left >= 0 {
				t.Error("a tick with reductions left")
			}
			out.ticks++
			granted += quantum - left
			c.Set(uint64(quantum))
		}), nil, nil).Export(reductions.Tick).Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	m, err := r.Instantiate(ctx, wasm)
	if err != nil {
		t.Fatalf("a generated module: %v", err)
	}
	fuel, _ := m.ExportedGlobal("g0").(api.MutableGlobal)
	for i, s := range functions {
		var args []uint64
		for n := range s.params {
			args = append(args, uint64(n*3+1)<<(n*20))
		}
		fuel.Set(300)
		f := m.ExportedFunction(fmt.Sprintf("f%d", i))
		results, err := f.Call(ctx, args...)
		out.outcomes = append(out.outcomes, outcome(f.Definition().ResultTypes(), results, err))
		h := fnv.New64a()
		_, _ = h.Write(memory(m))
		out.memory = out.memory*31 + h.Sum64()
	}
	for i := range globalCount {
		out.globals = append(out.globals, m.ExportedGlobal(fmt.Sprintf("g%d", i)).Get())
	}
	if c := counter(m); c != nil {
		out.spent = granted - int64(c.Get())
	}
	return out
}

// A rewritten module does the same as the original, and spends the same number of reductions
// for any quantum.
func differential(t testing.TB, source []byte) run {
	t.Helper()
	wasm, functions := generate(source)
	counted, _, err := reductions.Rewrite(wasm, reductions.Config{MemoryLimitPages: 64})
	if err != nil {
		t.Fatalf("rewrite: %v", err)
	}
	want := runAll(t, wasm, functions, 0)
	got := runAll(t, counted, functions, 4000)
	often := runAll(t, counted, functions, 0)
	for _, r := range []run{got, often} {
		if fmt.Sprint(r.outcomes) != fmt.Sprint(want.outcomes) {
			t.Errorf("counted: %q\nas it is: %q", r.outcomes, want.outcomes)
		}
		if r.memory != want.memory || fmt.Sprint(r.globals) != fmt.Sprint(want.globals) {
			t.Errorf("other bytes in memory, or globals %v where it is %v", r.globals, want.globals)
		}
	}
	if got.spent != often.spent {
		t.Errorf("%d reductions with few ticks, %d with many", got.spent, often.spent)
	}
	return often
}

func FuzzBehaviour(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		source := make([]byte, 100+random.IntN(900))
		for i := range source {
			source[i] = byte(random.Uint32())
		}
		f.Add(source)
	}
	f.Fuzz(func(t *testing.T, source []byte) { differential(t, source) })
}

// The generator produces the instructions that it is meant to test.
func TestGeneratedModules(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	seen := map[string]int{}
	for range 60 {
		source := make([]byte, 200+random.IntN(1500))
		for i := range source {
			source[i] = byte(random.Uint32())
		}
		r := differential(t, source)
		for _, o := range r.outcomes {
			if !bytes.HasPrefix([]byte(o), []byte("error")) {
				o = "results"
			}
			seen[o]++
		}
		seen["reductions"] += int(r.spent)
		seen["ticks"] += r.ticks
	}
	t.Logf("%v", seen)
	if seen["results"] < 100 || seen["ticks"] < 5_000 || len(seen) < 6 {
		t.Errorf("little was tried: %v", seen)
	}
}

// valid returns an error if wazero refuses a module.
func valid(wasm []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("wazero panics: %v", p)
		}
	}()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(features).WithMemoryLimitPages(64))
	defer r.Close(ctx)
	_, err = r.CompileModule(ctx, wasm)
	return err
}

// No input makes Rewrite panic, and its output is valid if and only if its input is. So the
// rewriting never makes an invalid module valid, for example by adding the counter that it
// refers to.
func FuzzBytes(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*.wasm")
	for _, pattern := range []string{"../testdata/*.wasm", "../../test/capsules/*/*.wasm"} {
		more, _ := filepath.Glob(pattern)
		paths = append(paths, more...)
	}
	for _, path := range paths {
		wasm, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wasm, uint32(0), byte(0))
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		source := make([]byte, 300)
		for i := range source {
			source[i] = byte(random.Uint32())
		}
		wasm, _ := generate(source)
		f.Add(wasm, random.Uint32(), byte(random.Uint32()))
	}
	f.Fuzz(func(t *testing.T, wasm []byte, at uint32, b byte) {
		if len(wasm) > 0 {
			wasm = bytes.Clone(wasm)
			wasm[int(at)%len(wasm)] ^= b
		}
		// wazero does not receive a refused module: it might allocate gigabytes that the module
		// declares, before it finds the error.
		if _, _, err := reductions.Rewrite(wasm, reductions.Config{}); err == nil {
			sameValidity(t, wasm)
		}
	})
}

func sameValidity(t testing.TB, wasm []byte) (ok bool) {
	t.Helper()
	counted, _, refused := reductions.Rewrite(wasm, reductions.Config{})
	was := valid(wasm)
	switch is := valid(counted); {
	case was == nil && refused != nil:
		t.Errorf("a valid module was refused: %v", refused)
	case was == nil && is != nil:
		t.Errorf("a valid module came out invalid: %v", is)
	case was != nil && strings.Contains(was.Error(), "section custom"):
		// Malformed names are dropped.
	case was != nil && refused == nil && is == nil:
		t.Errorf("an invalid module came out valid; it was: %v", was)
	}
	return was == nil
}

// Every byte of small modules, changed to some other values.
func TestEveryByte(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	n, good := 0, 0
	for range 6 {
		source := make([]byte, 120)
		for i := range source {
			source[i] = byte(random.Uint32())
		}
		wasm, _ := generate(source)
		for at := range wasm {
			for _, b := range []byte{1, 0x80, byte(random.Uint32()) | 1} {
				changed := bytes.Clone(wasm)
				changed[at] ^= b
				n++
				if sameValidity(t, changed) {
					good++
				}
				if t.Failed() {
					t.Fatalf("byte %d changed by %#x: %x", at, b, changed)
				}
			}
		}
		for end := range wasm {
			sameValidity(t, wasm[:end])
		}
	}
	t.Logf("%d modules, %d of them valid", n, good)
}
