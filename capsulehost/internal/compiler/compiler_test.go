package compiler

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// numbers exports a function that returns 7, and one that traps.
var numbers = module(
	"\x01\x05\x01\x60\x00\x01\x7f",                     // type 0: () -> i32
	"\x03\x03\x02\x00\x00",                             // two functions
	"\x07\x11\x02\x05seven\x00\x00\x05fault\x00\x01",   // exports
	"\x0a\x0a\x02\x04\x00\x41\x07\x0b\x03\x00\x00\x0b", // bodies
	"\x00\x08\x03xyzjunk",                              // a custom section without a use
	"\x00\x0c\x04name\x01\x05\x01\x01\x02ab",           // function 1 is named ab
)

func module(sections ...string) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range sections {
		out = append(out, s...)
	}
	return out
}

// Machine code from one compiler runs in another: wazero still stores it where replaceFiles
// expects it, and requests it by the recorded key.
func TestMachineCodeIsKept(t *testing.T) {
	ctx := context.Background()
	config := wazero.NewRuntimeConfigCompiler()
	first, second := newCompiler(t, config), newCompiler(t, config)
	code, err := first.Compile(ctx, numbers, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	if code.Machine == nil {
		t.Fatal("this wazero keeps its machine code in another way: the cache of compiled modules does not work")
	}
	compiled, err := second.Load(ctx, code)
	if err != nil {
		t.Fatal(err)
	}
	m, err := second.Runtime.InstantiateModule(ctx, compiled, wazero.NewModuleConfig())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.ExportedFunction("seven").Call(ctx); err != nil || got[0] != 7 {
		t.Errorf("seven() = %v, %v", got, err)
	}
	if _, err := m.ExportedFunction("fault").Call(ctx); err == nil || !bytes.Contains([]byte(err.Error()), []byte(".ab(")) {
		t.Errorf("the trap's stack has not the function's name: %v", err)
	}
	if n := len(second.loads.machine); n != 0 {
		t.Errorf("machine code of %d modules is still held", n)
	}
}

// A shell is never compiled, since its functions are empty: neither without its machine code
// nor with the code of another wazero version.
func TestShellIsNotCompiled(t *testing.T) {
	ctx := context.Background()
	c := newCompiler(t, wazero.NewRuntimeConfigCompiler())
	code, err := c.Compile(ctx, numbers, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	foreign := code
	foreign.Key[0]++
	other := code
	other.Machine = bytes.Replace(code.Machine, []byte("WAZEVO"), []byte("WAZEVO\xff"), 1) // a longer version
	for name, code := range map[string]Code{"of another processor": foreign, "of another wazero": other} {
		if _, err := c.Load(ctx, code); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := c.Load(ctx, code); err != nil {
		t.Errorf("the right one: %v", err)
	}
}

// Modules that differ only in their code have different shells.
func TestShellsDiffer(t *testing.T) {
	one, two := shell(numbers, [32]byte{1}), shell(numbers, [32]byte{2})
	if bytes.Equal(one, two) {
		t.Error("two ids, one shell")
	}
	if bytes.Contains(one, []byte("junk")) || !bytes.Contains(one, []byte("seven")) {
		t.Errorf("the shell is %q", one)
	}
}

// If wazero interprets, there is no machine code, and the module still runs.
func TestInterpreter(t *testing.T) {
	ctx := context.Background()
	c := newCompiler(t, wazero.NewRuntimeConfigInterpreter())
	code, err := c.Compile(ctx, numbers, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Load(ctx, code)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Runtime.InstantiateModule(ctx, compiled, wazero.NewModuleConfig())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.ExportedFunction("seven").Call(ctx); code.Machine != nil || err != nil || got[0] != 7 {
		t.Errorf("seven() = %v, %v; %d bytes of machine code", got, err, len(code.Machine))
	}
}

// The shells of all modules in this repository are valid, with the same imports and exports.
func TestShellsOfRealModules(t *testing.T) {
	paths, _ := filepath.Glob("../../testdata/*.wasm")
	more, _ := filepath.Glob("../../../test/capsules/*/*.wasm")
	ctx := context.Background()
	c := newCompiler(t, wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2))
	loaded := 0
	for _, path := range append(paths, more...) {
		wasm, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		code, err := c.Compile(ctx, wasm, [32]byte{2})
		if err != nil {
			continue // some are invalid
		}
		got, err := c.Load(ctx, code)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		loaded++
		plain := wazero.NewRuntime(ctx)
		want, err := plain.CompileModule(ctx, wasm)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.ImportedFunctions()) != len(want.ImportedFunctions()) || len(got.ExportedFunctions()) != len(want.ExportedFunctions()) ||
			len(got.ExportedMemories()) != len(want.ExportedMemories()) {
			t.Errorf("%s: the shell has other imports or exports", path)
		}
		_, _ = got.Close(ctx), plain.Close(ctx)
	}
	if loaded < 20 {
		t.Errorf("only %d modules were loaded", loaded)
	}
}

func newCompiler(t *testing.T, config wazero.RuntimeConfig) *Compiler {
	t.Helper()
	c := New(context.Background(), config)
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}
