;; Asks for things while it is installed or upgraded: astrid_elicit with the configuration
;; values `first` and `second`, if they are set, and astrid_has_secret with `check`. The
;; answers go into its state under those names. Afterwards it answers an action with what
;; its state has under the action's name.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "length" (func $block_length (param i64) (result i64)))
  (import "extism:host/env" "load_u8" (func $load_u8 (param i64) (result i32)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/user" "astrid_get_config" (func $get_config (param i64) (result i64)))
  (import "extism:host/user" "astrid_elicit" (func $elicit (param i64) (result i64)))
  (import "extism:host/user" "astrid_has_secret" (func $has_secret (param i64) (result i64)))
  (import "extism:host/user" "astrid_kv_set" (func $set (param i64 i64)))
  (import "extism:host/user" "astrid_kv_get" (func $get (param i64) (result i64)))
  (memory (export "memory") 2)
  (data (i32.const 0) "first")
  (data (i32.const 16) "second")
  (data (i32.const 32) "check")

  (func (export "astrid_install") (result i32) (call $ask))
  (func (export "astrid_upgrade") (result i32) (call $ask))

  (func $ask (result i32)
    (call $one (i32.const 0) (i32.const 5) (i32.const 0))
    (call $one (i32.const 16) (i32.const 6) (i32.const 0))
    (call $one (i32.const 32) (i32.const 5) (i32.const 1))
    (i32.const 0))

  ;; one makes the call with the configuration value of that name, and keeps the answer.
  (func $one (param $name i32) (param $n i32) (param $is_check i32)
    (local $request i64)
    (local.set $request (call $get_config (call $put (local.get $name) (local.get $n))))
    (if (i64.eqz (call $block_length (local.get $request)))
      (then (return)))
    (if (local.get $is_check)
      (then (call $set (call $put (local.get $name) (local.get $n)) (call $has_secret (local.get $request))))
      (else (call $set (call $put (local.get $name) (local.get $n)) (call $elicit (local.get $request))))))

  ;; The status of a value that was found is the tag Continue.
  (func (export "astrid_hook_trigger") (result i32)
    (if (call $action (i32.const 0) (i32.const 5)) ;; first
      (then (return (call $answer_with (i32.const 0) (i32.const 5)))))
    (if (call $action (i32.const 16) (i32.const 6)) ;; second
      (then (return (call $answer_with (i32.const 16) (i32.const 6)))))
    (if (call $action (i32.const 32) (i32.const 5)) ;; check
      (then (return (call $answer_with (i32.const 32) (i32.const 5)))))
    (unreachable))

  (func $answer_with (param $name i32) (param $n i32) (result i32)
    (local $value i64)
    (local.set $value (call $get (call $put (local.get $name) (local.get $n))))
    (call $output_set (local.get $value) (call $block_length (local.get $value)))
    (i32.const 0))

  ;; --- action.wat ---
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
  ;; --- end of action.wat ---

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

)
