// Package reductions rewrites WebAssembly modules so that they can always be
// stopped: the rewritten module counts its own work, and calls the host when the
// count is used up.
//
//	counted, cost, err := reductions.Rewrite(wasm, reductions.Config{Budget: reductions.DefaultBudget()})
//
// The result behaves like the input. In addition, it
//
//   - imports the function [Tick], of type () -> (), from [ImportModule], and
//   - exports the mutable i64 global [Counter], which starts at 0. The host reads
//     and sets it without a call; the guest has no index for it and cannot touch it.
//
// Each function entry and each loop iteration subtracts one reduction; the entry of
// a function with a large frame subtracts more. Straight-line code subtracts one
// for each [StraightLine] instructions that it may run. Operations on ranges of
// memory or of a table subtract in proportion to their size. When the counter is
// below zero, the module calls Tick. Tick either refills the counter or panics,
// which ends the guest. The count depends only on the module and its input, never
// on the machine or on time.
//
// The package decodes every instruction and section that wazero 1.12 decodes,
// including all optional features. It copies everything else byte for byte, custom
// sections included. It shifts the function indices in the name section, so stack
// traces keep their names. It does not adjust the offsets in DWARF sections, so
// the runtime must not use them.
//
// The same scan estimates the cost of compiling the result, and refuses a module
// that exceeds a [Budget].
//
// The package depends on no runtime, and validates only the parts that it must
// understand. The compiler validates the result.
package reductions
