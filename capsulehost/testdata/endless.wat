;; wat2wasm: --enable-tail-call
;; Ways never to come back. Each export is of the type that the host calls.
(module
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "get_log_level" (func $get_log_level (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 1024)
  (table 2 funcref)
  (elem (i32.const 0) $ping $pong)
  (type $step (func (param i64) (result i32)))

  (func $fib (param $n i64) (result i64)
    (if (result i64) (i64.lt_s (local.get $n) (i64.const 2))
      (then (local.get $n))
      (else (i64.add
        (call $fib (i64.sub (local.get $n) (i64.const 1)))
        (call $fib (i64.sub (local.get $n) (i64.const 2)))))))
  ;; Recursion that takes centuries, without a loop and without depth.
  (func (export "fib") (result i32) (i32.wrap_i64 (call $fib (i64.const 60))))

  (func $ping (param $n i64) (result i32) (return_call $pong (i64.add (local.get $n) (i64.const 1))))
  (func $pong (param $n i64) (result i32) (return_call $ping (i64.add (local.get $n) (i64.const 1))))
  (func (export "tail_calls") (result i32) (return_call $ping (i64.const 0)))

  (func $itself (param $n i64) (result i32)
    (return_call_indirect (type $step) (local.get $n) (i32.wrap_i64 (i64.and (local.get $n) (i64.const 1)))))
  (func (export "indirect_tail_calls") (result i32) (return_call $itself (i64.const 0)))

  (func (export "loop") (result i32) (loop $again (br $again)) (unreachable))

  ;; In a kernel function, which is not counted, and in one of the host's.
  (func (export "kernel_calls") (result i32)
    (loop $again (drop (call $input_length)) (br $again)) (unreachable))
  (func (export "host_calls") (result i32)
    (loop $again (drop (call $get_log_level)) (br $again)) (unreachable))
  (func (export "random") (result i32)
    (loop $again (drop (call $random_get (i32.const 0) (i32.const 67108864))) (br $again)) (unreachable))

  ;; Few instructions, much work.
  (func (export "fill") (result i32)
    (loop $again (memory.fill (i32.const 0) (i32.const 7) (i32.const 67108864)) (br $again)) (unreachable))
  (func (export "copy") (result i32)
    (loop $again (memory.copy (i32.const 1) (i32.const 0) (i32.const 67108863)) (br $again)) (unreachable))
  (func (export "divide") (result i32) (local $n i64)
    (loop $again
      (local.set $n (i64.add (i64.div_u (i64.const -1) (i64.or (local.get $n) (i64.const 1))) (i64.const 3)))
      (local.set $n (i64.add (i64.div_u (i64.const -1) (i64.or (local.get $n) (i64.const 1))) (i64.const 3)))
      (br $again)) (unreachable))
  ;; Loads that miss every cache, each of the place that the last one names.
  (func (export "chase") (result i32) (local $p i32)
    (loop $again
      (local.set $p (i32.and (i32.add (i32.mul (local.get $p) (i32.const 1103515245)) (i32.add (i32.load (local.get $p)) (i32.const 12345))) (i32.const 0x3fffff0)))
      (local.set $p (i32.and (i32.add (i32.mul (local.get $p) (i32.const 1103515245)) (i32.add (i32.load (local.get $p)) (i32.const 12345))) (i32.const 0x3fffff0)))
      (local.set $p (i32.and (i32.add (i32.mul (local.get $p) (i32.const 1103515245)) (i32.add (i32.load (local.get $p)) (i32.const 12345))) (i32.const 0x3fffff0)))
      (local.set $p (i32.and (i32.add (i32.mul (local.get $p) (i32.const 1103515245)) (i32.add (i32.load (local.get $p)) (i32.const 12345))) (i32.const 0x3fffff0)))
      (br $again)) (unreachable))

  ;; Short, again and again: the host's loop, not the guest's.
  (func (export "short") (result i32) (i32.const 0))
)
