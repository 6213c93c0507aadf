;; Writes two lines to its standard output, the last one without an end, and one to its
;; standard error, and succeeds without an output.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "one\0a\0atwo") ;; stdout
  (data (i32.const 16) "a warning\0a") ;; stderr

  (func (export "astrid_hook_trigger") (result i32)
    (call $write (i32.const 1) (i32.const 0) (i32.const 8))   ;; stdout
    (call $write (i32.const 2) (i32.const 16) (i32.const 10)) ;; stderr
    (i32.const 0))

  ;; write writes the $n bytes at $p to a stream.
  (func $write (param $fd i32) (param $p i32) (param $n i32)
    (i32.store (i32.const 64) (local.get $p))
    (i32.store (i32.const 68) (local.get $n))
    (drop (call $fd_write (local.get $fd) (i32.const 64) (i32.const 1) (i32.const 72)))))
