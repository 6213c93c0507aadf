;; The Extism kernel manages the memory that a guest and the host share. It implements the
;; functions of `extism:host/env` that need nothing from the host, and re-exports the
;; others, which the host implements. Each instance of a guest has its own kernel.
;;
;; A block consists of a header of 16 bytes and its data. The offset p of the data
;; identifies it:
;;
;;     p-16  u32  capacity: the size of the block's class
;;     p-12  u32  length: the requested size; in a free block, the next free block of
;;                the class
;;     p-8   u64  tag: a constant for live or for free blocks, exclusive-or p
;;     p          the data; p is a multiple of 16
;;
;; A guest can overwrite headers, so all that is read from one is checked before it is
;; used: a guest that forges headers harms only its own blocks. The host relies only on
;; globals, which no store can change, and on the memory below $BASE, which the guest's
;; stores can't change either.
;;
;; A free block is in the list of its class, whose head is at 4 * class. There are no
;; loops: each function executes a fixed number of steps.
(module
  (import "host" "config_get" (func $config_get (param i64) (result i64)))
  (import "host" "var_get" (func $var_get (param i64) (result i64)))
  (import "host" "var_set" (func $var_set (param i64 i64)))
  (import "host" "http_request" (func $http_request (param i64 i64) (result i64)))
  (import "host" "http_status_code" (func $http_status_code (result i32)))
  (import "host" "http_headers" (func $http_headers (result i64)))
  (import "host" "log_trace" (func $log_trace (param i64)))
  (import "host" "log_debug" (func $log_debug (param i64)))
  (import "host" "log_info" (func $log_info (param i64)))
  (import "host" "log_warn" (func $log_warn (param i64)))
  (import "host" "log_error" (func $log_error (param i64)))
  (import "host" "get_log_level" (func $get_log_level (result i32)))
  (export "config_get" (func $config_get))
  (export "var_get" (func $var_get))
  (export "var_set" (func $var_set))
  (export "http_request" (func $http_request))
  (export "http_status_code" (func $http_status_code))
  (export "http_headers" (func $http_headers))
  (export "log_trace" (func $log_trace))
  (export "log_debug" (func $log_debug))
  (export "log_info" (func $log_info))
  (export "log_warn" (func $log_warn))
  (export "log_error" (func $log_error))
  (export "get_log_level" (func $get_log_level))

  (memory (export "kernel.memory") 1)

  ;; The lowest block starts here. Below are the heads of the free lists of 104 classes.
  (global $BASE i64 (i64.const 1024))
  (global $LIVE i64 (i64.const 0x6576696c2d737461)) ;; "ats-live"
  (global $FREE i64 (i64.const 0x656572662d737461)) ;; "ats-free"

  ;; The end of the last block. Nothing at or above it belongs to the guest.
  (global $end (export "kernel.end") (mut i64) (i64.const 1024))
  (global $input (mut i64) (i64.const 0))
  (global $input_length (mut i64) (i64.const 0))
  (global $output (export "kernel.output") (mut i64) (i64.const 0))
  (global $output_length (export "kernel.output_length") (mut i64) (i64.const 0))
  (global $error (export "kernel.error") (mut i64) (i64.const 0))
  ;; 1 if an alloc has found no memory since the last reset.
  (global $exhausted (export "kernel.exhausted") (mut i32) (i32.const 0))

  ;; 1 if a block was freed since the last reset. Until then all heads are 0.
  (global $freed (mut i32) (i32.const 0))

  ;; reset frees all blocks, and clears the input, the output and the error.
  (func $reset (export "reset")
    (if (global.get $freed)
      (then
        (memory.fill (i32.const 0) (i32.const 0) (i32.wrap_i64 (global.get $BASE)))
        (global.set $freed (i32.const 0))))
    (global.set $end (global.get $BASE))
    (global.set $input (i64.const 0))
    (global.set $input_length (i64.const 0))
    (global.set $output (i64.const 0))
    (global.set $output_length (i64.const 0))
    (global.set $error (i64.const 0))
    (global.set $exhausted (i32.const 0)))

  ;; class returns the class of blocks for n bytes, 1 <= n <= 2^31. Sizes up to 64 are
  ;; multiples of 16; above that there are four sizes for each power of two.
  (func $class (param $n i32) (result i32)
    (local $e i32)
    (local.set $n (i32.sub (local.get $n) (i32.const 1)))
    (if (i32.lt_u (local.get $n) (i32.const 64))
      (then (return (i32.shr_u (local.get $n) (i32.const 4)))))
    (local.set $e (i32.sub (i32.const 31) (i32.clz (local.get $n)))) ;; 2^e <= n-1
    (i32.add
      (i32.shl (i32.sub (local.get $e) (i32.const 5)) (i32.const 2))
      (i32.and (i32.shr_u (local.get $n) (i32.sub (local.get $e) (i32.const 2))) (i32.const 3))))

  ;; capacity returns the size of a class's blocks.
  (func $capacity (param $class i32) (result i32)
    (local $e i32)
    (if (i32.lt_u (local.get $class) (i32.const 4))
      (then (return (i32.shl (i32.add (local.get $class) (i32.const 1)) (i32.const 4)))))
    (local.set $e (i32.add (i32.shr_u (local.get $class) (i32.const 2)) (i32.const 5)))
    (i32.shl
      (i32.add (i32.and (local.get $class) (i32.const 3)) (i32.const 5))
      (i32.sub (local.get $e) (i32.const 2))))

  ;; block reports whether a block with this tag can start at p: its header and as many
  ;; bytes as its capacity lie within the allocated memory.
  (func $block (param $p i64) (param $tag i64) (result i32)
    (local $header i32)
    (if (i64.lt_u (local.get $p) (i64.add (global.get $BASE) (i64.const 16)))
      (then (return (i32.const 0))))
    (if (i64.ge_u (local.get $p) (global.get $end))
      (then (return (i32.const 0))))
    (local.set $header (i32.sub (i32.wrap_i64 (local.get $p)) (i32.const 16)))
    (i32.and
      (i64.eq
        (i64.load offset=8 (local.get $header))
        (i64.xor (local.get $tag) (local.get $p)))
      (i64.le_u
        (i64.extend_i32_u (i32.load (local.get $header)))
        (i64.sub (global.get $end) (local.get $p)))))

  ;; mark writes a block's header.
  (func $mark (param $p i64) (param $capacity i32) (param $length i32) (param $tag i64)
    (local $header i32)
    (local.set $header (i32.sub (i32.wrap_i64 (local.get $p)) (i32.const 16)))
    (i32.store (local.get $header) (local.get $capacity))
    (i32.store offset=4 (local.get $header) (local.get $length))
    (i64.store offset=8 (local.get $header) (i64.xor (local.get $tag) (local.get $p))))

  (func $alloc (export "alloc") (param $n i64) (result i64)
    (local $class i32) (local $capacity i32) (local $head i32) (local $p i64) (local $missing i64)
    (if (i64.eqz (local.get $n))
      (then (return (i64.const 0))))
    (if (i64.gt_u (local.get $n) (i64.const 0x80000000))
      (then (global.set $exhausted (i32.const 1)) (return (i64.const 0))))
    (local.set $class (call $class (i32.wrap_i64 (local.get $n))))
    (local.set $capacity (call $capacity (local.get $class)))
    (local.set $head (i32.shl (local.get $class) (i32.const 2)))

    ;; Use the first free block of the class, unless the guest has damaged its header.
    (local.set $p (i64.extend_i32_u (i32.load (local.get $head))))
    (if (call $block (local.get $p) (global.get $FREE))
      (then
        (if (i32.eq
              (i32.load (i32.sub (i32.wrap_i64 (local.get $p)) (i32.const 16)))
              (local.get $capacity))
          (then
            (i32.store (local.get $head)
              (i32.load (i32.sub (i32.wrap_i64 (local.get $p)) (i32.const 12))))
            (call $mark (local.get $p) (local.get $capacity) (i32.wrap_i64 (local.get $n)) (global.get $LIVE))
            (return (local.get $p))))))
    (i32.store (local.get $head) (i32.const 0))

    ;; Otherwise, add a new block at the end.
    (local.set $p (i64.add (global.get $end) (i64.const 16)))
    (local.set $missing
      (i64.sub
        (i64.add (local.get $p) (i64.extend_i32_u (local.get $capacity)))
        (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16))))
    (if (i64.gt_s (local.get $missing) (i64.const 0))
      (then
        (if (i32.eq
              (memory.grow (i32.wrap_i64
                (i64.shr_u (i64.add (local.get $missing) (i64.const 0xffff)) (i64.const 16))))
              (i32.const -1))
          (then (global.set $exhausted (i32.const 1)) (return (i64.const 0))))))
    (global.set $end (i64.add (local.get $p) (i64.extend_i32_u (local.get $capacity))))
    (call $mark (local.get $p) (local.get $capacity) (i32.wrap_i64 (local.get $n)) (global.get $LIVE))
    (local.get $p))

  (func $free (export "free") (param $p i64)
    (local $capacity i32) (local $class i32) (local $head i32)
    (if (i32.eqz (call $block (local.get $p) (global.get $LIVE)))
      (then (return)))
    (if (i64.eq (local.get $p) (global.get $input))
      (then (global.set $input_length (i64.const 0))))
    (local.set $capacity (i32.load (i32.sub (i32.wrap_i64 (local.get $p)) (i32.const 16))))
    ;; A capacity that no class has was forged: the block does not return to a list.
    (if (i32.eqz (local.get $capacity))
      (then (return)))
    (local.set $class (call $class (local.get $capacity)))
    (if (i32.ne (call $capacity (local.get $class)) (local.get $capacity))
      (then (return)))
    (local.set $head (i32.shl (local.get $class) (i32.const 2)))
    (call $mark (local.get $p) (local.get $capacity) (i32.load (local.get $head)) (global.get $FREE))
    (i32.store (local.get $head) (i32.wrap_i64 (local.get $p)))
    (global.set $freed (i32.const 1)))

  (func $length (export "length") (export "length_unsafe") (param $p i64) (result i64)
    (local $header i32)
    (if (i32.eqz (call $block (local.get $p) (global.get $LIVE)))
      (then (return (i64.const 0))))
    (local.set $header (i32.sub (i32.wrap_i64 (local.get $p)) (i32.const 16)))
    ;; A length greater than the capacity was forged.
    (if (i32.gt_u (i32.load offset=4 (local.get $header)) (i32.load (local.get $header)))
      (then (return (i64.const 0))))
    (i64.extend_i32_u (i32.load offset=4 (local.get $header))))

  ;; inside reports whether the guest may read and write the n bytes at p.
  (func $inside (param $p i64) (param $n i64) (result i32)
    (i32.and
      (i32.and
        (i64.ge_u (local.get $p) (global.get $BASE))
        (i64.le_u (local.get $p) (global.get $end)))
      (i64.le_u (local.get $n) (i64.sub (global.get $end) (local.get $p)))))

  (func (export "load_u8") (param $p i64) (result i32)
    (if (i32.eqz (call $inside (local.get $p) (i64.const 1)))
      (then (return (i32.const 0))))
    (i32.load8_u (i32.wrap_i64 (local.get $p))))

  (func (export "load_u64") (param $p i64) (result i64)
    (if (i32.eqz (call $inside (local.get $p) (i64.const 8)))
      (then (return (i64.const 0))))
    (i64.load align=1 (i32.wrap_i64 (local.get $p))))

  (func (export "store_u8") (param $p i64) (param $x i32)
    (if (i32.eqz (call $inside (local.get $p) (i64.const 1)))
      (then (return)))
    (i32.store8 (i32.wrap_i64 (local.get $p)) (local.get $x)))

  (func (export "store_u64") (param $p i64) (param $x i64)
    (if (i32.eqz (call $inside (local.get $p) (i64.const 8)))
      (then (return)))
    (i64.store align=1 (i32.wrap_i64 (local.get $p)) (local.get $x)))

  ;; Of the functions from here to input_load_u8, PDKs use only input_length. Extism's own
  ;; kernel has all of them.
  (func (export "memory_bytes") (result i64)
    (i64.sub (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16)) (global.get $BASE)))
  (func (export "output_offset") (result i64) (global.get $output))
  (func (export "output_length") (result i64) (global.get $output_length))
  (func (export "error_get") (result i64) (global.get $error))
  (func (export "input_set") (param $p i64) (param $n i64)
    (if (i32.eqz (call $inside (local.get $p) (local.get $n)))
      (then (return)))
    (global.set $input (local.get $p))
    (global.set $input_length (local.get $n)))
  (func (export "input_offset") (result i64) (global.get $input))
  (func (export "input_length") (result i64) (global.get $input_length))

  (func (export "input_load_u8") (param $i i64) (result i32)
    (if (i64.ge_u (local.get $i) (global.get $input_length))
      (then (return (i32.const 0))))
    (i32.load8_u (i32.wrap_i64 (i64.add (global.get $input) (local.get $i)))))

  (func (export "input_load_u64") (param $i i64) (result i64)
    (if (i64.gt_u (local.get $i) (global.get $input_length))
      (then (return (i64.const 0))))
    (if (i64.gt_u (i64.const 8) (i64.sub (global.get $input_length) (local.get $i)))
      (then (return (i64.const 0))))
    (i64.load align=1 (i32.wrap_i64 (i64.add (global.get $input) (local.get $i)))))

  (func (export "output_set") (param $p i64) (param $n i64)
    (if (i64.eqz (local.get $n))
      (then
        (global.set $output (i64.const 0))
        (global.set $output_length (i64.const 0))
        (return)))
    (if (i32.eqz (call $inside (local.get $p) (local.get $n)))
      (then (return)))
    (global.set $output (local.get $p))
    (global.set $output_length (local.get $n)))

  (func (export "error_set") (param $p i64)
    (if (i64.eqz (local.get $p))
      (then (global.set $error (i64.const 0)) (return)))
    (if (call $block (local.get $p) (global.get $LIVE))
      (then (global.set $error (local.get $p)))))

  ;; do is the only function that the host calls, because wazero keeps a stack of 10 KiB for
  ;; each function that it was asked for. op 0 resets the kernel and allocates a block of x
  ;; bytes for the input; the result is its offset, or 0 if x is 0 or there is no memory.
  ;; op 1 is alloc, 2 is free, 3 is length.
  (func (export "kernel.do") (param $op i64) (param $x i64) (result i64)
    (block $length
      (block $free
        (block $alloc
          (block $reset
            (br_table $reset $alloc $free $length (i32.wrap_i64 (local.get $op))))
          (call $reset)
          (global.set $input (call $alloc (local.get $x)))
          (if (i64.ne (global.get $input) (i64.const 0))
            (then (global.set $input_length (local.get $x))))
          (return (global.get $input)))
        (return (call $alloc (local.get $x))))
      (call $free (local.get $x))
      (return (i64.const 0)))
    (call $length (local.get $x))))
