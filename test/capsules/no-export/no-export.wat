;; Has an interceptor in its manifest but no export astrid_hook_trigger.
(module
  (memory (export "memory") 1)

  (func (export "something_else") (result i32)
    (i32.const 0)))
