;; Traps: reads past the end of its memory.
(module
  (memory (export "memory") 1)

  (func (export "astrid_hook_trigger") (result i32)
    (i32.load (i32.const 0x7fffffff))))
