;; Makes the call of the host that its action names: for approvals, uplinks, sockets or
;; processes. The payload is the argument; of a JSON string what is between its quotes. A
;; call with more arguments takes the words of the payload, the last one to its end. It
;; answers Continue with the result.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "length" (func $block_length (param i64) (result i64)))
  (import "extism:host/env" "load_u8" (func $load_u8 (param i64) (result i32)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/user" "astrid_request_approval" (func $approve (param i64) (result i64)))
  (import "extism:host/user" "astrid_elicit" (func $elicit (param i64) (result i64)))
  (import "extism:host/user" "astrid_has_secret" (func $has-secret (param i64) (result i64)))
  (import "extism:host/user" "astrid_uplink_register" (func $register (param i64 i64 i64) (result i64)))
  (import "extism:host/user" "astrid_uplink_send" (func $send (param i64 i64 i64) (result i64)))
  (import "extism:host/user" "astrid_net_bind_unix" (func $bind (param i64) (result i64)))
  (import "extism:host/user" "astrid_net_accept" (func $accept (param i64) (result i64)))
  (import "extism:host/user" "astrid_net_poll_accept" (func $poll-accept (param i64) (result i64)))
  (import "extism:host/user" "astrid_net_read" (func $receive (param i64) (result i64)))
  (import "extism:host/user" "astrid_net_write" (func $transmit (param i64 i64)))
  (import "extism:host/user" "astrid_net_close_stream" (func $hang-up (param i64)))
  (import "extism:host/user" "astrid_spawn_host" (func $spawn (param i64) (result i64)))
  (import "extism:host/user" "astrid_spawn_background_host" (func $background (param i64) (result i64)))
  (import "extism:host/user" "astrid_read_process_logs_host" (func $logs (param i64) (result i64)))
  (import "extism:host/user" "astrid_kill_process_host" (func $kill-process (param i64) (result i64)))
  (memory (export "memory") 2)
  (data (i32.const 0) "approve")
  (data (i32.const 16) "elicit")
  (data (i32.const 32) "has-secret")
  (data (i32.const 48) "register")
  (data (i32.const 64) "send")
  (data (i32.const 80) "bind")
  (data (i32.const 96) "accept")
  (data (i32.const 112) "poll-accept")
  (data (i32.const 128) "receive")
  (data (i32.const 144) "transmit")
  (data (i32.const 160) "hang-up")
  (data (i32.const 176) "spawn")
  (data (i32.const 192) "background")
  (data (i32.const 208) "logs")
  (data (i32.const 224) "kill-process")
  ;; the zero byte at 1024 is the tag Continue
  (global $at (mut i32) (i32.const 0))  ;; the rest of the payload
  (global $to (mut i32) (i32.const 0))  ;; and its end

  (func (export "astrid_hook_trigger") (result i32)
    (local $n i32)
    (local.set $n (call $payload (i32.const 65536)))
    (global.set $at (i32.const 65536))
    (global.set $to (i32.add (i32.const 65536) (local.get $n)))
    (if (i32.eq (i32.load8_u (i32.const 65536)) (i32.const 0x22)) ;; '"'
      (then
        (global.set $at (i32.const 65537))
        (global.set $to (i32.sub (global.get $to) (i32.const 1)))))
    (if (call $action (i32.const 0) (i32.const 7)) ;; approve
      (then (return (call $tagged (call $approve (call $rest))))))
    (if (call $action (i32.const 16) (i32.const 6)) ;; elicit
      (then (return (call $tagged (call $elicit (call $rest))))))
    (if (call $action (i32.const 32) (i32.const 10)) ;; has-secret
      (then (return (call $tagged (call $has-secret (call $rest))))))
    (if (call $action (i32.const 48) (i32.const 8)) ;; register
      (then (return (call $tagged (call $register (call $word) (call $word) (call $rest))))))
    (if (call $action (i32.const 64) (i32.const 4)) ;; send
      (then (return (call $tagged (call $send (call $word) (call $word) (call $rest))))))
    (if (call $action (i32.const 80) (i32.const 4)) ;; bind
      (then (return (call $tagged (call $bind (call $rest))))))
    (if (call $action (i32.const 96) (i32.const 6)) ;; accept
      (then (return (call $tagged (call $accept (call $rest))))))
    (if (call $action (i32.const 112) (i32.const 11)) ;; poll-accept
      (then (return (call $tagged (call $poll-accept (call $rest))))))
    (if (call $action (i32.const 128) (i32.const 7)) ;; receive
      (then (return (call $tagged (call $receive (call $rest))))))
    (if (call $action (i32.const 144) (i32.const 8)) ;; transmit
      (then (call $transmit (call $word) (call $rest)) (return (i32.const 0))))
    (if (call $action (i32.const 160) (i32.const 7)) ;; hang-up
      (then (call $hang-up (call $rest)) (return (i32.const 0))))
    (if (call $action (i32.const 176) (i32.const 5)) ;; spawn
      (then (return (call $tagged (call $spawn (call $rest))))))
    (if (call $action (i32.const 192) (i32.const 10)) ;; background
      (then (return (call $tagged (call $background (call $rest))))))
    (if (call $action (i32.const 208) (i32.const 4)) ;; logs
      (then (return (call $tagged (call $logs (call $rest))))))
    (if (call $action (i32.const 224) (i32.const 12)) ;; kill-process
      (then (return (call $tagged (call $kill-process (call $rest))))))
    (unreachable))

  ;; word returns the payload up to the next space, without it, as a block.
  (func $word (result i64)
    (local $from i32)
    (local.set $from (global.get $at))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (global.get $at) (global.get $to)))
        (br_if $done (i32.eq (i32.load8_u (global.get $at)) (i32.const 0x20)))
        (global.set $at (i32.add (global.get $at) (i32.const 1)))
        (br $next)))
    (call $put (local.get $from) (i32.sub (global.get $at) (local.get $from)))
    (global.set $at (i32.add (global.get $at) (i32.const 1))))

  ;; rest returns what is left of the payload as a block.
  (func $rest (result i64)
    (if (i32.ge_u (global.get $at) (global.get $to))
      (then (return (call $put (global.get $to) (i32.const 0)))))
    (call $put (global.get $at) (i32.sub (global.get $to) (global.get $at))))

  ;; tagged answers Continue with a block.
  (func $tagged (param $block i64) (result i32)
    (call $begin (i32.const 65536))
    (call $add (i32.const 1024) (i32.const 1))
    (call $add_block (local.get $block))
    (call $answer (global.get $text) (call $length)))

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

  ;; --- answer.wat ---
  ;; answer sets the output to the $n bytes at $p, and returns 0: success. The first byte
  ;; is the tag: 0 Continue, 1 Final, 2 Deny.
  (func $answer (param $p i32) (param $n i32) (result i32)
    (call $output_set
      (call $put (local.get $p) (local.get $n))
      (i64.extend_i32_u (local.get $n)))
    (i32.const 0))
  ;; --- end of answer.wat ---

)
