;; Signals ready, then sleeps 50 ms at a time until it is interrupted.
(module
  (import "extism:host/user" "astrid_signal_ready" (func $signal_ready))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)

  (func (export "run") (result i32)
    (call $signal_ready)
    (loop $again
      (call $sleep (i32.const 50))
      (br $again))
    (unreachable))

  ;; The host never calls this export of a run-loop capsule.
  (func (export "astrid_hook_trigger") (result i32)
    (unreachable))

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
