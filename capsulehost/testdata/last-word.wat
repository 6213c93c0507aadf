;; Stores an error's text and traps all the same.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "error_set" (func $error_set (param i64)))
  (func (export "astrid_hook_trigger") (result i32)
    (local $p i64)
    (local.set $p (call $alloc (i64.const 8)))
    (call $store_u64 (local.get $p) (i64.const 0x6b6e692066666f20)) ;; " off ink"
    (call $error_set (local.get $p))
    (unreachable)))
