;; Grows its memory until the host refuses, then traps as an allocator would.
(module
  (memory (export "memory") 1)

  (func (export "astrid_hook_trigger") (result i32)
    (loop $more
      (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    (unreachable)))
