;; Calls itself forever, without a loop, until the stack is full.
(module
  (memory (export "memory") 1)

  (func (export "astrid_hook_trigger") (result i32)
    (call $deeper (i32.const 0)))

  (func $deeper (param $n i32) (result i32)
    ;; The addition keeps this from being a tail call.
    (i32.add (i32.const 1) (call $deeper (i32.add (local.get $n) (i32.const 1))))))
