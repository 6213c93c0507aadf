;; Allocates kernel blocks of 64 KiB until there are no more, then traps.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (memory (export "memory") 1)

  (func (export "astrid_hook_trigger") (result i32)
    (loop $more
      (br_if $more (i64.ne (call $alloc (i64.const 65536)) (i64.const 0))))
    (unreachable)))
