;; Takes part in its own installation: logs the input of astrid_install and
;; astrid_upgrade, spins if there is a configuration value `hang`, and refuses with the
;; value of `refuse`, if there is one.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "length" (func $block_length (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "load_u8" (func $load_u8 (param i64) (result i32)))
  (import "extism:host/env" "input_offset" (func $input_offset (result i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/env" "error_set" (func $error_set (param i64)))
  (import "extism:host/user" "astrid_get_config" (func $get_config (param i64) (result i64)))
  (import "extism:host/user" "astrid_log" (func $log (param i64 i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "warn")              ;; level
  (data (i32.const 8) "refuse")            ;; key
  (data (i32.const 16) "hang")             ;; key
  (data (i32.const 24) "install ")         ;; text
  (data (i32.const 32) "upgrade ")         ;; text
  (data (i32.const 40) "\00\22alive\22")   ;; answer

  (func (export "astrid_install") (result i32)
    (call $life (i32.const 24)))  ;; text

  (func (export "astrid_upgrade") (result i32)
    (call $life (i32.const 32)))  ;; text

  (func (export "astrid_hook_trigger") (result i32)
    (call $answer (i32.const 40) (i32.const 8)))

  (func $life (param $text i32) (result i32)
    (local $why i64)
    (call $begin (i32.const 1024))
    (call $add (local.get $text) (i32.const 8))
    (call $add_block (call $input_offset))
    (call $log
      (call $put (i32.const 0) (i32.const 4))
      (call $put (global.get $text) (call $length)))
    (if (i64.ne (call $block_length (call $get_config (call $put (i32.const 16) (i32.const 4)))) (i64.const 0))
      (then (loop $spin (br $spin))))
    (local.set $why (call $get_config (call $put (i32.const 8) (i32.const 6))))
    (if (i64.eqz (call $block_length (local.get $why)))
      (then (return (i32.const 0))))
    (call $error_set (local.get $why))
    (i32.const 1))

  ;; --- text.wat ---
  ;; A text is built in memory from $text up to $end: begin empties it and sets its
  ;; address, add appends the $n bytes at $p, add_block a block of the kernel.
  (global $text (mut i32) (i32.const 0))
  (global $end (mut i32) (i32.const 0))
  (func $begin (param $at i32)
    (global.set $text (local.get $at))
    (global.set $end (local.get $at)))
  (func $length (result i32)
    (i32.sub (global.get $end) (global.get $text)))
  (func $add (param $p i32) (param $n i32)
    (call $room (i32.add (global.get $end) (local.get $n)))
    (memory.copy (global.get $end) (local.get $p) (local.get $n))
    (global.set $end (i32.add (global.get $end) (local.get $n))))
  (func $add_block (param $block i64)
    (local $n i64)
    (local $i i64)
    (local.set $n (call $block_length (local.get $block)))
    (call $room (i32.add (global.get $end) (i32.wrap_i64 (local.get $n))))
    (block $done
      (loop $one
        (br_if $done (i64.ge_u (local.get $i) (local.get $n)))
        (i32.store8 (global.get $end)
          (call $load_u8 (i64.add (local.get $block) (local.get $i))))
        (global.set $end (i32.add (global.get $end) (i32.const 1)))
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (br $one))))
  ;; --- end of text.wat ---

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
