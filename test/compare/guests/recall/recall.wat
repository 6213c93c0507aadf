;; Gets the value of one key, one time after another, and answers Continue(true). Its
;; payload, a decimal number, is how often. It traps if there is no value.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "free" (func $free (param i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/user" "astrid_kv_get" (func $get (param i64) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\00true") ;; out
  (data (i32.const 16) "memory") ;; key

  (func (export "astrid_hook_trigger") (result i32)
    (call $recall (call $decimal (i32.const 65536) (call $payload (i32.const 65536))))
    (call $answer (i32.const 0) (i32.const 5)))  ;; out

  (func $recall (param $times i32)
    (local $key i64)
    (local $got i64)
    (local.set $key (call $put (i32.const 16) (i32.const 6)))  ;; key
    (block $done
      (loop $one
        (br_if $done (i32.eqz (local.get $times)))
        (local.set $got (call $get (local.get $key)))
        (if (i64.le_u (call $length (local.get $got)) (i64.const 1)) ;; the status byte alone
          (then (unreachable)))
        (call $free (local.get $got))
        (local.set $times (i32.sub (local.get $times) (i32.const 1)))
        (br $one))))

  ;; decimal returns the number that the $n digits at $p represent.
  (func $decimal (param $p i32) (param $n i32) (result i32)
    (local $number i32)
    (block $done
      (loop $digit
        (br_if $done (i32.eqz (local.get $n)))
        (local.set $number
          (i32.add
            (i32.mul (local.get $number) (i32.const 10))
            (i32.sub (i32.load8_u (local.get $p)) (i32.const 0x30))))
        (local.set $p (i32.add (local.get $p) (i32.const 1)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $digit)))
    (local.get $number))

  ;; --- payload.wat ---
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
  ;; --- end of payload.wat ---

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

  ;; --- room.wat ---
  ;; room grows memory up to, but not including, the address $to; it traps if memory is at
  ;; its limit.
  (func $room (param $to i32)
    (local $pages i32)
    (local.set $pages
      (i32.sub
        (i32.shr_u (i32.add (local.get $to) (i32.const 65535)) (i32.const 16))
        (memory.size)))
    (if (i32.gt_s (local.get $pages) (i32.const 0))
      (then
        (if (i32.eq (memory.grow (local.get $pages)) (i32.const -1))
          (then (unreachable))))))
  ;; --- end of room.wat ---
)
