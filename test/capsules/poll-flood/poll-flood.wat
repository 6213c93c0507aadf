;; Polls 1,024 clocks that are due, forever.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)

  (func (export "astrid_hook_trigger") (result i32)
    (loop $again
      (drop (call $poll_oneoff (i32.const 0) (i32.const 65536) (i32.const 1024) (i32.const 131064)))
      (br $again))
    (unreachable)))
