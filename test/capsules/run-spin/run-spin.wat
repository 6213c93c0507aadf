;; Signals ready, then loops forever without a call.
(module
  (import "extism:host/user" "astrid_signal_ready" (func $signal_ready))
  (memory (export "memory") 1)

  (func (export "run") (result i32)
    (call $signal_ready)
    (loop $again (br $again))
    (unreachable)))
