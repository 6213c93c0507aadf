;; Signals ready and returns 0: a clean end.
(module
  (import "extism:host/user" "astrid_signal_ready" (func $signal_ready))
  (memory (export "memory") 1)

  (func (export "run") (result i32)
    (call $signal_ready)
    (i32.const 0)))
