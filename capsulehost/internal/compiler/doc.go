// Package compiler compiles WebAssembly to machine code that can be stored, and loads stored
// machine code.
//
//	code, err := c.Compile(ctx, wasm, id) // slow; safe for concurrent use
//	module, err := c.Load(ctx, code)      // fast
//	instance, err := c.Runtime.InstantiateModule(ctx, module, config)
//
// wazero does both in one step, and stores machine code only in a directory whose contents it
// trusts. Here, each compilation has its own wazero runtime, which shares nothing with the
// one that runs guests: it may continue after that one is closed, and a panic in it leaves
// nothing behind. The result is bytes, which the caller can authenticate and store.
//
// The package neither meters guests nor decides which modules may be compiled.
package compiler
