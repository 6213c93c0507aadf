;; payload decodes the input's "arguments", a JSON array of byte values, into memory from
;; $at on and returns the number of bytes. It is the input's only array, so it begins at
;; the first '[' outside of a string.
(func $payload (param $at i32) (result i32)
  (local $i i64)      ;; position in the input
  (local $n i64)      ;; length of the input
  (local $c i32)      ;; the character at $i
  (local $quoted i32) ;; 1 inside a string
  (local $number i32) ;; the number that is read
  (local $digits i32) ;; 1 once it has a digit
  (local $to i32)     ;; address of the next byte
  (local.set $n (call $input_length))
  (block $found
    (loop $seek
      (if (i64.ge_u (local.get $i) (local.get $n))
        (then (return (i32.const 0))))
      (local.set $c (call $input_load_u8 (local.get $i)))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (if (local.get $quoted)
        (then
          (if (i32.eq (local.get $c) (i32.const 0x5c)) ;; '\' and the character that it escapes
            (then (local.set $i (i64.add (local.get $i) (i64.const 1)))))
          (if (i32.eq (local.get $c) (i32.const 0x22)) ;; '"'
            (then (local.set $quoted (i32.const 0)))))
        (else
          (br_if $found (i32.eq (local.get $c) (i32.const 0x5b))) ;; '['
          (local.set $quoted (i32.eq (local.get $c) (i32.const 0x22)))))
      (br $seek)))
  ;; A byte takes at least two characters: a digit and a ',' or the ']'.
  (local.set $to (local.get $at))
  (call $room
    (i32.add (local.get $at) (i32.wrap_i64 (i64.shr_u (local.get $n) (i64.const 1)))))
  (loop $read
    (local.set $c (call $input_load_u8 (local.get $i))) ;; 0 past the end
    (local.set $i (i64.add (local.get $i) (i64.const 1)))
    (if (i32.lt_u (i32.sub (local.get $c) (i32.const 0x30)) (i32.const 10)) ;; '0' to '9'
      (then
        (local.set $digits (i32.const 1))
        (local.set $number
          (i32.add
            (i32.mul (local.get $number) (i32.const 10))
            (i32.sub (local.get $c) (i32.const 0x30)))))
      (else
        (if (local.get $digits)
          (then
            (i32.store8 (local.get $to) (local.get $number))
            (local.set $to (i32.add (local.get $to) (i32.const 1)))
            (local.set $number (i32.const 0))
            (local.set $digits (i32.const 0))))
        (if (i32.or
              (i32.eq (local.get $c) (i32.const 0x5d)) ;; ']'
              (i64.ge_u (local.get $i) (local.get $n)))
          (then (return (i32.sub (local.get $to) (local.get $at)))))))
    (br $read))
  (unreachable))
