;; Loops forever, without a call.
(module
  (memory (export "memory") 1)

  (func (export "astrid_hook_trigger") (result i32)
    (loop $again (br $again))
    (unreachable)))
