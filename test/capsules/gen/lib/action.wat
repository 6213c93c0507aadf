;; action reports whether the requested action is the $n bytes at $p. It is the only
;; value in the input that is a string, so it follows the first ':' that is followed by a
;; '"'. Escapes are not decoded.
(func $action (param $p i32) (param $n i32) (result i32)
  (local $i i64)    ;; position in the input
  (local $c i32)    ;; the character at $i
  (local $colon i32);; 1 after a ':'
  (block $found
    (loop $seek
      (if (i64.ge_u (local.get $i) (call $input_length))
        (then (return (i32.const 0))))
      (local.set $c (call $input_load_u8 (local.get $i)))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $found
        (i32.and (local.get $colon) (i32.eq (local.get $c) (i32.const 0x22)))) ;; '"'
      (if (i32.ne (local.get $c) (i32.const 0x20)) ;; a space changes nothing
        (then (local.set $colon (i32.eq (local.get $c) (i32.const 0x3a))))) ;; ':'
      (br $seek)))
  (loop $compare
    (local.set $c (call $input_load_u8 (local.get $i)))
    (local.set $i (i64.add (local.get $i) (i64.const 1)))
    (if (i32.eqz (local.get $n))
      (then (return (i32.eq (local.get $c) (i32.const 0x22)))))
    (if (i32.ne (local.get $c) (i32.load8_u (local.get $p)))
      (then (return (i32.const 0))))
    (local.set $p (i32.add (local.get $p) (i32.const 1)))
    (local.set $n (i32.sub (local.get $n) (i32.const 1)))
    (br $compare))
  (unreachable))
