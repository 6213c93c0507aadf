;; Notes in which order its start-up functions are called, and answers with it:
;; a digit for each. It is built four ways; see the test.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (global $order (mut i64) (i64.const 0)) ;; the digits, the last one lowest
  (global $count (mut i64) (i64.const 0))
  (func $note (param $digit i64)
    (global.set $order
      (i64.or (global.get $order)
        (i64.shl (i64.add (local.get $digit) (i64.const 0x30)) (i64.shl (global.get $count) (i64.const 3)))))
    (global.set $count (i64.add (global.get $count) (i64.const 1))))
  (func (export "_initialize") (call $note (i64.const 1)))
  (func (export "hs_init") (param $argc i32) (param $argv i32)
    (if (i32.or (local.get $argc) (local.get $argv)) (then (unreachable)))
    (call $note (i64.const 2)))
  (func (export "__wasm_call_ctors") (call $note (i64.const 3)))
  (func (export "_start") (call $note (i64.const 4)))
  (func (export "astrid_hook_trigger") (result i32)
    (local $p i64)
    (local.set $p (call $alloc (i64.const 8)))
    (call $store_u64 (local.get $p) (global.get $order))
    (call $output_set (local.get $p) (global.get $count))
    (i32.const 0)))
