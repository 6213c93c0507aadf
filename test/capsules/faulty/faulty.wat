;; Misbehaves when the host tells it to: it reads a letter from the configuration value
;; "start" while it starts, and "call" in each call. Without a letter it answers
;; Continue(true). An answer that it has already set stays: "q" sets none.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "free" (func $free (param i64)))
  (import "extism:host/env" "load_u8" (func $load_u8 (param i64) (result i32)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/env" "error_set" (func $error_set (param i64)))
  (import "extism:host/user" "astrid_log" (func $log (param i64 i64)))
  (import "extism:host/user" "astrid_get_config" (func $get_config (param i64) (result i64)))
  (import "extism:host/user" "astrid_clock_ms" (func $clock_ms (result i64)))
  (import "extism:host/user" "astrid_trigger_hook" (func $trigger_hook (param i64) (result i64)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "start") ;; keys
  (data (i32.const 8) "call")
  (data (i32.const 16) "run")
  (data (i32.const 24) "\00true") ;; out
  (data (i32.const 32) "{\"hook\":\"test.deep\",\"payload\":1}") ;; request

  (func (export "_initialize")
    (drop (call $misbehave (call $way (i32.const 0) (i32.const 5)))))

  (func (export "astrid_hook_trigger") (result i32)
    (local $way i32)
    (local $code i32)
    (local.set $way (call $way (i32.const 8) (i32.const 4)))
    (local.set $code (call $misbehave (local.get $way)))
    (if (i32.or (local.get $code) (i32.eq (local.get $way) (i32.const 0x71))) ;; 'q'
      (then (return (local.get $code))))
    (call $answer (i32.const 24) (i32.const 5)))

  ;; --- misbehave.wat ---
  ;; way asks the host how to misbehave now: it returns the first letter of the
  ;; configuration value whose key is the $n bytes at $p, or 0 if it is empty.
  (func $way (param $p i32) (param $n i32) (result i32)
    (local $key i64)
    (local $value i64)
    (local $letter i32)
    (local.set $key (call $put (local.get $p) (local.get $n)))
    (local.set $value (call $get_config (local.get $key)))
    (local.set $letter (call $load_u8 (local.get $value)))
    (call $free (local.get $key))
    (call $free (local.get $value))
    (local.get $letter))
  
  ;; misbehave executes the fault of a letter. If it returns, the export must return its
  ;; result: 0 for success.
  (func $misbehave (param $way i32) (result i32)
    (local $p i64)
    (if (i32.eq (local.get $way) (i32.const 0x61)) ;; 'a': a trap
      (then (unreachable)))
    (if (i32.eq (local.get $way) (i32.const 0x62)) ;; 'b': a read out of bounds
      (then (drop (i32.load (i32.const 0x7fffffff)))))
    (if (i32.eq (local.get $way) (i32.const 0x63)) ;; 'c': a division by zero
      (then (drop (i32.div_u (i32.const 1) (i32.load (i32.const 1024))))))
    (if (i32.eq (local.get $way) (i32.const 0x64)) ;; 'd': recursion without end
      (then (drop (call $deeper (i32.const 0)))))
    (if (i32.eq (local.get $way) (i32.const 0x65)) ;; 'e': exponential recursion without a loop
      (then (drop (call $both (i32.const 62)))))
    (if (i32.eq (local.get $way) (i32.const 0x66)) ;; 'f': all the memory that it can get
      (then
        (loop $more
          (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (unreachable)))
    (if (i32.eq (local.get $way) (i32.const 0x67)) ;; 'g': a loop without end
      (then (loop $again (br $again))))
    (if (i32.eq (local.get $way) (i32.const 0x68)) ;; 'h': host calls without end
      (then
        (loop $again
          (call $free (call $clock_ms))
          (br $again))))
    (if (i32.eq (local.get $way) (i32.const 0x69)) ;; 'i': blocks until there are no more
      (then
        (loop $more
          (br_if $more (i64.ne (call $alloc (i64.const 65536)) (i64.const 0))))
        (unreachable)))
    (if (i32.eq (local.get $way) (i32.const 0x6a)) ;; 'j': a block of 2^63 bytes, which it can't get
      (then
        (if (i64.ne (call $alloc (i64.const 0x8000000000000000)) (i64.const 0))
          (then (unreachable)))))
    (if (i32.eq (local.get $way) (i32.const 0x6b)) ;; 'k': an offset without a block
      (then (call $log (i64.const 12345) (i64.const 12345))))
    (if (i32.eq (local.get $way) (i32.const 0x6c)) ;; 'l': the offset of a block that was freed
      (then
        (local.set $p (call $put (i32.const 0) (i32.const 4)))
        (call $free (local.get $p))
        (call $log (local.get $p) (local.get $p))))
    (if (i32.eq (local.get $way) (i32.const 0x6d)) ;; 'm': exit with 0
      (then (call $proc_exit (i32.const 0))))
    (if (i32.eq (local.get $way) (i32.const 0x6e)) ;; 'n': exit with 3
      (then (call $proc_exit (i32.const 3))))
    (if (i32.eq (local.get $way) (i32.const 0x6f)) ;; 'o': a failure without a text
      (then (return (i32.const 1))))
    (if (i32.eq (local.get $way) (i32.const 0x70)) ;; 'p': a failure with a text
      (then
        (call $error_set (call $put (i32.const 0) (i32.const 4)))
        (return (i32.const 1))))
    (if (i32.eq (local.get $way) (i32.const 0x71)) ;; 'q': an output that ends behind all memory
      (then (call $output_set (call $alloc (i64.const 1)) (i64.const 0x7fffffffffffffff))))
    (if (i32.eq (local.get $way) (i32.const 0x72)) ;; 'r': a host call
      (then (call $free (call $clock_ms))))
    (if (i32.eq (local.get $way) (i32.const 0x73)) ;; 's': a sleep of an hour
      (then (call $sleep (i32.const 3600000))))
    (if (i32.eq (local.get $way) (i32.const 0x74)) ;; 't': a trigger
      (then
        (call $free (call $trigger_hook (call $put (i32.const 32) (i32.const 32))))))
    (if (i32.eq (local.get $way) (i32.const 0x75)) ;; 'u': writes without end, a thousand buffers each
      (then
        (loop $again
          (drop (call $fd_write (i32.const 2) (i32.const 2048) (i32.const 1000) (i32.const 60000)))
          (br $again))))
    (if (i32.eq (local.get $way) (i32.const 0x76)) ;; 'v': polls without end, a thousand clocks each
      (then
        (memory.fill (i32.const 2048) (i32.const 0) (i32.const 48000))
        (drop (memory.grow (i32.const 1)))
        (loop $again
          (drop (call $poll_oneoff (i32.const 2048) (i32.const 65536) (i32.const 1000) (i32.const 60000)))
          (br $again))))
    (i32.const 0))
  
  (func $deeper (param $n i32) (result i32)
    ;; The addition keeps this from being a tail call.
    (i32.add (i32.const 1) (call $deeper (i32.add (local.get $n) (i32.const 1)))))
  
  (func $both (param $levels i32) (result i32)
    (if (i32.eqz (local.get $levels)) (then (return (i32.const 1))))
    (i32.add
      (call $both (i32.sub (local.get $levels) (i32.const 1)))
      (call $both (i32.sub (local.get $levels) (i32.const 1)))))
  ;; --- end of misbehave.wat ---

  ;; --- answer.wat ---
  ;; answer sets the output to the $n bytes at $p, and returns 0: success. The first byte
  ;; is the tag: 0 Continue, 1 Final, 2 Deny.
  (func $answer (param $p i32) (param $n i32) (result i32)
    (call $output_set
      (call $put (local.get $p) (local.get $n))
      (i64.extend_i32_u (local.get $n)))
    (i32.const 0))
  ;; --- end of answer.wat ---

  ;; --- put.wat ---
  ;; put copies the $n bytes at $p into a new kernel block and returns its offset, in the
  ;; form in which the host accepts bytes.
  (func $put (param $p i32) (param $n i32) (result i64)
    (local $block i64)
    (local $to i64)
    (local.set $block (call $alloc (i64.extend_i32_u (local.get $n))))
    (local.set $to (local.get $block))
    (block $done
      (loop $eight
        (br_if $done (i32.lt_u (local.get $n) (i32.const 8)))
        (call $store_u64 (local.get $to) (i64.load align=1 (local.get $p)))
        (local.set $to (i64.add (local.get $to) (i64.const 8)))
        (local.set $p (i32.add (local.get $p) (i32.const 8)))
        (local.set $n (i32.sub (local.get $n) (i32.const 8)))
        (br $eight)))
    (block $done
      (loop $one
        (br_if $done (i32.eqz (local.get $n)))
        (call $store_u8 (local.get $to) (i32.load8_u (local.get $p)))
        (local.set $to (i64.add (local.get $to) (i64.const 1)))
        (local.set $p (i32.add (local.get $p) (i32.const 1)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $one)))
    (local.get $block))
  ;; --- end of put.wat ---

  ;; --- sleep.wat ---
  ;; sleep waits for $ms milliseconds, through a relative subscription to the monotonic
  ;; clock, at address 512 in the layout of WASI preview 1; the event is written to 560.
  (func $sleep (param $ms i32)
    (memory.fill (i32.const 512) (i32.const 0) (i32.const 48))
    (i32.store (i32.const 528) (i32.const 1)) ;; the clock
    (i64.store (i32.const 536)                ;; nanoseconds
      (i64.mul (i64.extend_i32_u (local.get $ms)) (i64.const 1000000)))
    (drop (call $poll_oneoff (i32.const 512) (i32.const 560) (i32.const 1) (i32.const 592))))
  ;; --- end of sleep.wat ---
)
