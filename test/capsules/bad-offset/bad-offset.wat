;; Logs with offsets at which there is no kernel block.
(module
  (import "extism:host/user" "astrid_log" (func $log (param i64 i64)))
  (memory (export "memory") 1)

  (func (export "astrid_hook_trigger") (result i32)
    (call $log (i64.const 12345) (i64.const 12345))
    (i32.const 0)))
