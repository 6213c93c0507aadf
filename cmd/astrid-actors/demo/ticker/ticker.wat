;; A run-loop capsule: signals that it is ready, then logs a tick each second until
;; it is interrupted.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/user" "astrid_log" (func $log (param i64 i64)))
  (import "extism:host/user" "astrid_signal_ready" (func $signal_ready))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "debug") ;; level
  (data (i32.const 16) "tick") ;; message

  (func (export "run") (result i32)
    (local $level i64)
    (local $message i64)
    (local.set $level (call $put (i32.const 0) (i32.const 5)))  ;; level
    (local.set $message (call $put (i32.const 16) (i32.const 4)))  ;; message
    (call $signal_ready)
    (loop $again
      (call $sleep (i32.const 1000))
      (call $log (local.get $level) (local.get $message))
      (br $again))
    (unreachable))

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

  ;; --- sleep.wat ---
  ;; sleep waits for $ms milliseconds, through a relative subscription to the monotonic
  ;; clock, at address 512 in the layout of WASI preview 1; the event is written to 560.
  (func $sleep (param $ms i32)
    (memory.fill (i32.const 512) (i32.const 0) (i32.const 48))
    (i32.store (i32.const 528) (i32.const 1)) ;; the clock
    (i64.store (i32.const 536)                ;; nanoseconds
      (i64.mul (i64.extend_i32_u (local.get $ms)) (i64.const 1000000)))
    (drop (call $poll_oneoff (i32.const 512) (i32.const 560) (i32.const 1) (i32.const 592))))
  ;; --- end of sleep.wat ---
)
