package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

const (
	floor    = "wazero alone"
	deadline = "wazero's deadline"
)

// bareHost instantiates a guest on wazero without anything around it: the guest is
// linked to the project's kernel, and all other imports do nothing.
type bareHost struct {
	runtime       wazero.Runtime
	kernel, guest wazero.CompiledModule
	others        map[string]api.Module // by the name of the imported module
}

// newBareHost compiles the guest. With stoppable, calls end with their context, through
// wazero's own mechanism.
func newBareHost(ctx context.Context, kernel, guest []byte, stoppable bool) (*bareHost, error) {
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(stoppable))
	h := &bareHost{runtime: r, others: map[string]api.Module{}}
	if err := h.compile(ctx, kernel, guest); err != nil {
		return nil, errors.Join(err, r.Close(ctx))
	}
	return h, nil
}

func (h *bareHost) compile(ctx context.Context, kernel, guest []byte) (err error) {
	if _, err = wasi_snapshot_preview1.Instantiate(ctx, h.runtime); err != nil {
		return err
	}
	if h.kernel, err = h.runtime.CompileModule(ctx, kernel); err != nil {
		return fmt.Errorf("compile the kernel: %w", err)
	}
	if h.guest, err = h.runtime.CompileModule(ctx, guest); err != nil {
		return fmt.Errorf("compile the guest: %w", err)
	}
	builders := map[string]wazero.HostModuleBuilder{}
	for _, f := range slices.Concat(h.kernel.ImportedFunctions(), h.guest.ImportedFunctions()) {
		module, name, _ := f.Import()
		if module == "extism:host/env" || module == wasi_snapshot_preview1.ModuleName {
			continue
		}
		if builders[module] == nil {
			builders[module] = h.runtime.NewHostModuleBuilder(module)
		}
		nothing := api.GoModuleFunc(func(_ context.Context, _ api.Module, stack []uint64) { clear(stack) })
		builders[module].NewFunctionBuilder().WithGoModuleFunction(nothing, f.ParamTypes(), f.ResultTypes()).Export(name)
	}
	for module := range maps.Keys(builders) {
		if h.others[module], err = builders[module].Instantiate(ctx); err != nil {
			return fmt.Errorf("make module %q: %w", module, err)
		}
	}
	return nil
}

func (h *bareHost) Close(ctx context.Context) error { return h.runtime.Close(ctx) }

// bare is one instance of the guest and its kernel. Use it on one goroutine at a time.
type bare struct {
	kernel, guest       api.Module
	do                  api.Function // of the kernel: see kernel.wat
	output, outputBytes api.Global
	exports             map[string]api.Function
	stack               [2]uint64
}

func (h *bareHost) instantiate(ctx context.Context) (*bare, error) {
	// Real clocks: without them a sleep takes no time, for example when a Go guest dies.
	anonymous := wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize").
		WithSysWalltime().WithSysNanotime().WithSysNanosleep()
	kernel, err := h.runtime.InstantiateModule(ctx, h.kernel, anonymous)
	if err != nil {
		return nil, fmt.Errorf("instantiate the kernel: %w", err)
	}
	linked := experimental.WithImportResolver(ctx, func(name string) api.Module {
		if name == "extism:host/env" {
			return kernel
		}
		return h.others[name]
	})
	guest, err := h.runtime.InstantiateModule(linked, h.guest, anonymous)
	if err != nil {
		return nil, fmt.Errorf("instantiate the guest: %w", err)
	}
	b := &bare{
		kernel: kernel, guest: guest, exports: map[string]api.Function{},
		do:     kernel.ExportedFunction("kernel.do"),
		output: kernel.ExportedGlobal("kernel.output"), outputBytes: kernel.ExportedGlobal("kernel.output_length"),
	}
	if b.do == nil || b.output == nil || b.outputBytes == nil {
		return nil, errors.New("instantiate the kernel: it no longer exports what bare.go uses")
	}
	return b, nil
}

// call calls an export with some input and copies its output.
func (b *bare) call(ctx context.Context, export string, input []byte) ([]byte, error) {
	f := b.exports[export]
	if f == nil {
		if f = b.guest.ExportedFunction(export); f == nil {
			return nil, fmt.Errorf("the guest has no export %q", export)
		}
		b.exports[export] = f
	}
	b.stack = [2]uint64{0, uint64(len(input))} // reset, and allocate the input
	if err := b.do.CallWithStack(ctx, b.stack[:]); err != nil {
		return nil, err
	}
	if len(input) > 0 {
		b.kernel.ExportedMemory("kernel.memory").Write(uint32(b.stack[0]), input)
	}
	if err := f.CallWithStack(ctx, b.stack[:]); err != nil {
		return nil, err
	}
	if b.stack[0] != 0 {
		return nil, fmt.Errorf("%s returned %d", export, b.stack[0])
	}
	output, ok := b.kernel.ExportedMemory("kernel.memory").Read(uint32(b.output.Get()), uint32(b.outputBytes.Get()))
	if !ok {
		return nil, errors.New("the output is outside the kernel's memory")
	}
	return slices.Clone(output), nil
}

func (b *bare) Close(ctx context.Context) error {
	return errors.Join(b.guest.Close(ctx), b.kernel.Close(ctx))
}
