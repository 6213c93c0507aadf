;; Returns its input, byte for byte, as a PDK does: eight bytes a call into the guest's
;; own memory, and eight bytes a call out of it.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "input_load_u64" (func $input_load_u64 (param i64) (result i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (memory (export "memory") 1)

  (func (export "mirror") (result i32)
    (local $n i32)
    (local.set $n (i32.wrap_i64 (call $input_length)))
    (call $room (i32.add (i32.const 65536) (local.get $n)))
    (call $input (i32.const 65536) (local.get $n))
    (call $answer (i32.const 65536) (local.get $n)))

  ;; input copies the input's $n bytes to $to.
  (func $input (param $to i32) (param $n i32)
    (local $i i64)
    (block $done
      (loop $eight
        (br_if $done (i32.lt_u (local.get $n) (i32.const 8)))
        (i64.store align=1 (local.get $to) (call $input_load_u64 (local.get $i)))
        (local.set $to (i32.add (local.get $to) (i32.const 8)))
        (local.set $i (i64.add (local.get $i) (i64.const 8)))
        (local.set $n (i32.sub (local.get $n) (i32.const 8)))
        (br $eight)))
    (block $done
      (loop $one
        (br_if $done (i32.eqz (local.get $n)))
        (i32.store8 (local.get $to) (call $input_load_u8 (local.get $i)))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $one))))

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
