;; Imports the kernel's own bookkeeping, to write to it.
(module
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "kernel.output_length" (global $n (mut i64)))
  (func (export "astrid_hook_trigger") (result i32)
    (global.set $n (i64.const -1))
    (i32.const 0)))
