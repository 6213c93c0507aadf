;; Traps: unreachable.
(module
  (memory (export "memory") 1)

  (func (export "astrid_hook_trigger") (result i32)
    (unreachable)))
