// Package compiler turns WebAssembly into machine code that can be kept, and loads
// machine code that was kept.
//
//	code, err := c.Compile(ctx, wasm, id) // slow; anywhere, at any time
//	module, err := c.Load(ctx, code)      // quick
//	instance, err := c.Runtime.InstantiateModule(ctx, module, config)
//
// wazero does both in one step, and keeps machine code only in a directory of its
// own, whose contents it trusts. Here, each compilation has a wazero runtime of its
// own. It shares nothing with the one that runs guests: it may go on after that one
// is closed, and if it panics, it leaves nothing behind. The result is bytes, which
// the caller may authenticate and store.
//
// The package neither meters guests nor decides what may be compiled.
package compiler
