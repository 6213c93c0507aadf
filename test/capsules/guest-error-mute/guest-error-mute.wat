;; Fails in good order, but does not say why.
(module
  (memory (export "memory") 1)

  (func (export "astrid_hook_trigger") (result i32)
    (i32.const 7)))
