;; Has an interceptor in its manifest but no astrid_hook_trigger to ask.
(module
  (memory (export "memory") 1)

  (func (export "something_else") (result i32)
    (i32.const 0)))
