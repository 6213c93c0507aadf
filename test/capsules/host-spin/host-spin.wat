;; Asks the host for the time, forever.
(module
  (import "extism:host/env" "free" (func $free (param i64)))
  (import "extism:host/user" "astrid_clock_ms" (func $clock_ms (result i64)))
  (memory (export "memory") 1)

  (func (export "astrid_hook_trigger") (result i32)
    (loop $again
      (call $free (call $clock_ms))
      (br $again))
    (unreachable)))
