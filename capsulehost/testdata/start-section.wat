;; Its start section makes host calls and then traps, before any export is called.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/user" "astrid_log" (func $log (param i64 i64)))
  (start $start)
  (func $start
    (local $p i64)
    (local.set $p (call $alloc (i64.const 1)))
    (call $store_u8 (local.get $p) (i32.const 0x21)) ;; '!'
    (call $log (i64.const 0) (local.get $p))
    (unreachable)))
