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
