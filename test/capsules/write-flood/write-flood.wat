;; Writes to its standard error forever: 1,024 buffers a call, all of them the same.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)

  (func (export "astrid_hook_trigger") (result i32)
    (local $p i32)
    (loop $more ;; each buffer is all of the memory except its end
      (i32.store offset=4 (local.get $p) (i32.const 65000))
      (br_if $more (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 8))) (i32.const 8192))))
    (loop $again
      (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1024) (i32.const 65532)))
      (br $again))
    (unreachable)))
