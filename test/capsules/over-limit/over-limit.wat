;; Logs with a level of 65 bytes; 64 are allowed.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/user" "astrid_log" (func $log (param i64 i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "hello") ;; text

  (func (export "astrid_hook_trigger") (result i32)
    (call $log (call $put (i32.const 64) (i32.const 65)) (call $put (i32.const 0) (i32.const 5)))  ;; text
    (i32.const 0))

  ;; --- put.wat ---
  ;; put copies the $n bytes at $p into a new kernel block and returns its offset, in the
  ;; form in which the host accepts bytes.
  (func $put (param $p i32) (param $n i32) (result i64)
    (local $block i64)
    (local $to i64)
    (local.set $block (call $alloc (i64.extend_i32_u (local.get $n))))
    (local.set $to (local.get $block))
    (block $done
      (loop $eight
        (br_if $done (i32.lt_u (local.get $n) (i32.const 8)))
        (call $store_u64 (local.get $to) (i64.load align=1 (local.get $p)))
        (local.set $to (i64.add (local.get $to) (i64.const 8)))
        (local.set $p (i32.add (local.get $p) (i32.const 8)))
        (local.set $n (i32.sub (local.get $n) (i32.const 8)))
        (br $eight)))
    (block $done
      (loop $one
        (br_if $done (i32.eqz (local.get $n)))
        (call $store_u8 (local.get $to) (i32.load8_u (local.get $p)))
        (local.set $to (i64.add (local.get $to) (i64.const 1)))
        (local.set $p (i32.add (local.get $p) (i32.const 1)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $one)))
    (local.get $block))
  ;; --- end of put.wat ---
)
