;; The Extism kernel: the memory that a guest and the host share, as the
;; functions of `extism:host/env` that need nothing of the host. Each instance of
;; a guest has one of its own. The other functions are the host's, and handed on.
;;
;; A block is a header of 16 bytes and its bytes, known by the offset p of these:
;;
;;     p-16  u32  capacity: the size of its class
;;     p-12  u32  length: what was asked for; in a free block, the next of its class
;;     p-8   u64  tag: a constant for live or free blocks, exclusive-or p
;;     p          the bytes, p being a multiple of 16
;;
;; Headers lie where a guest can write, so whatever is read from one is checked
;; before it is used: a guest that forges headers harms its own blocks only.
;; What the host relies on is in globals, which no store reaches, and in the
;; memory below $BASE, which the guest's stores don't either.
;;
;; A freed block goes on the list of its class, whose head is at 4 * class. All
;; functions take a fixed number of steps: there is no loop in here.
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

  ;; Where blocks begin. Below it are the heads of the free lists: 104 classes.
  (global $BASE i64 (i64.const 1024))
  (global $LIVE i64 (i64.const 0x6576696c2d737461)) ;; "ats-live"
  (global $FREE i64 (i64.const 0x656572662d737461)) ;; "ats-free"

  ;; The end of the last block: nothing at or above it is a guest's.
  (global $end (export "kernel.end") (mut i64) (i64.const 1024))
  (global $input (mut i64) (i64.const 0))
  (global $input_length (mut i64) (i64.const 0))
  (global $output (export "kernel.output") (mut i64) (i64.const 0))
  (global $output_length (export "kernel.output_length") (mut i64) (i64.const 0))
  (global $error (export "kernel.error") (mut i64) (i64.const 0))
  ;; 1 once an alloc had no memory left.
  (global $exhausted (export "kernel.exhausted") (mut i32) (i32.const 0))

  ;; 1 once a block was freed: the heads are 0 before.
  (global $freed (mut i32) (i32.const 0))

  ;; reset forgets every block, and what was said of input, output and error.
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

  ;; class is the class of blocks that hold n bytes, 1 <= n <= 2^31: up to 64 in
  ;; steps of 16, from there on four steps to each doubling.
  (func $class (param $n i32) (result i32)
    (local $e i32)
    (local.set $n (i32.sub (local.get $n) (i32.const 1)))
    (if (i32.lt_u (local.get $n) (i32.const 64))
      (then (return (i32.shr_u (local.get $n) (i32.const 4)))))
    (local.set $e (i32.sub (i32.const 31) (i32.clz (local.get $n)))) ;; 2^e <= n-1
    (i32.add
      (i32.shl (i32.sub (local.get $e) (i32.const 5)) (i32.const 2))
      (i32.and (i32.shr_u (local.get $n) (i32.sub (local.get $e) (i32.const 2))) (i32.const 3))))

  ;; capacity is the size of a class's blocks.
  (func $capacity (param $class i32) (result i32)
    (local $e i32)
    (if (i32.lt_u (local.get $class) (i32.const 4))
      (then (return (i32.shl (i32.add (local.get $class) (i32.const 1)) (i32.const 4)))))
    (local.set $e (i32.add (i32.shr_u (local.get $class) (i32.const 2)) (i32.const 5)))
    (i32.shl
      (i32.add (i32.and (local.get $class) (i32.const 3)) (i32.const 5))
      (i32.sub (local.get $e) (i32.const 2))))

  ;; block says whether a block with that tag may start at p: its header lies in
  ;; what was handed out, and so do as many bytes as it claims.
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

    ;; The first free block of the class, unless the guest has spoilt its header.
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

    ;; Else a new one at the end.
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
    ;; A capacity that is no class's was forged: the block is dropped, not listed.
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
    ;; A length over the capacity was forged.
    (if (i32.gt_u (i32.load offset=4 (local.get $header)) (i32.load (local.get $header)))
      (then (return (i64.const 0))))
    (i64.extend_i32_u (i32.load offset=4 (local.get $header))))

  ;; inside says whether the n bytes at p are a guest's to read and write.
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

  ;; What follows up to input_load_u8 no PDK asks for but input_length; Extism's
  ;; own kernel has it.
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

  ;; do is the host's one way in, since each function that it calls keeps a stack
  ;; of 10 KiB: op is 0 to reset, with a fresh block of x bytes as the input (0 where
  ;; there is no memory, or no byte), 1 to alloc, 2 to free, 3 for a length.
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
