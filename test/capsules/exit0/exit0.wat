;; Calls WASI proc_exit(0) in the middle of a call.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)

  (func (export "astrid_hook_trigger") (result i32)
    (call $proc_exit (i32.const 0))
    (unreachable)))
