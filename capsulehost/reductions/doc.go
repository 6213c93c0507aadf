// Package reductions rewrites WebAssembly modules so that they can always be
// stopped: the rewritten module counts its own work, and calls back when its
// count is spent.
//
//	counted, cost, err := reductions.Rewrite(wasm, reductions.Config{Budget: reductions.DefaultBudget()})
//
// The result behaves like the input, and besides
//
//   - imports the function [Tick], of type () -> (), from [ImportModule], and
//   - exports the mutable i64 global [Counter], 0 at first. The host reads and
//     sets it without a call; the guest has no name for it.
//
// One reduction is subtracted at each function entry and at each iteration of a
// loop; the entry of a function with a large frame counts more. Straight-line code
// counts one more for each [StraightLine] instructions that it may run, and operations on ranges of memory or of a table count by
// their size. When the counter is found below zero, Tick is called: it sets the
// counter anew, or panics, which ends the guest. What is counted depends on the
// module and its input only, never on the machine or on time.
//
// Every instruction and section that wazero 1.12 decodes is understood, whatever
// of it is then enabled. What is not touched by the counting is kept to the
// byte, custom sections included; the name section's function indices are
// shifted, so that stack traces keep their names. Offsets in DWARF sections are
// not: turn them off.
//
// The same scan estimates what compiling the result takes, and refuses what is over
// a [Budget].
//
// The package knows no runtime and validates only what it must understand: the
// compiler has the last word on the result.
package reductions
