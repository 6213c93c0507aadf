;; Calls itself twice at each of 62 levels: it has no loop and no deep stack, and does
;; not end in practice. Only counting function entries stops it.
(module
  (memory (export "memory") 1)

  (func (export "astrid_hook_trigger") (result i32)
    (call $both (i32.const 62)))

  (func $both (param $levels i32) (result i32)
    (if (i32.eqz (local.get $levels)) (then (return (i32.const 1))))
    (i32.add
      (call $both (i32.sub (local.get $levels) (i32.const 1)))
      (call $both (i32.sub (local.get $levels) (i32.const 1))))))
