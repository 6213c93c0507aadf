;; Makes the call of the host that its action names: for files, HTTP or identities. The
;; payload is the argument; of a JSON string what is between its quotes. It answers Continue with
;; the result. The status byte of a result is the tag of the answer, so an error that the
;; host reports is answered with Final. "write" writes {"written":true}; "extism" makes
;; a request with Extism's own function, and answers with its status, headers and body.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "length" (func $block_length (param i64) (result i64)))
  (import "extism:host/env" "load_u8" (func $load_u8 (param i64) (result i32)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/env" "http_request" (func $http_request (param i64 i64) (result i64)))
  (import "extism:host/env" "http_status_code" (func $http_status_code (result i32)))
  (import "extism:host/env" "http_headers" (func $http_headers (result i64)))
  (import "extism:host/user" "astrid_read_file" (func $read (param i64) (result i64)))
  (import "extism:host/user" "astrid_fs_exists" (func $exists (param i64) (result i64)))
  (import "extism:host/user" "astrid_fs_stat" (func $stat (param i64) (result i64)))
  (import "extism:host/user" "astrid_fs_readdir" (func $list (param i64) (result i64)))
  (import "extism:host/user" "astrid_fs_mkdir" (func $mkdir (param i64)))
  (import "extism:host/user" "astrid_fs_unlink" (func $remove (param i64)))
  (import "extism:host/user" "astrid_write_file" (func $write (param i64 i64)))
  (import "extism:host/user" "astrid_http_request" (func $fetch (param i64) (result i64)))
  (import "extism:host/user" "astrid_http_stream_start" (func $open (param i64) (result i64)))
  (import "extism:host/user" "astrid_http_stream_read" (func $next (param i64) (result i64)))
  (import "extism:host/user" "astrid_http_stream_close" (func $close (param i64)))
  (import "extism:host/user" "astrid_identity_resolve" (func $resolve (param i64) (result i64)))
  (import "extism:host/user" "astrid_identity_link" (func $link (param i64) (result i64)))
  (import "extism:host/user" "astrid_identity_unlink" (func $unlink (param i64) (result i64)))
  (import "extism:host/user" "astrid_identity_create_user" (func $create (param i64) (result i64)))
  (import "extism:host/user" "astrid_identity_list_links" (func $links (param i64) (result i64)))
  (memory (export "memory") 2)
  (data (i32.const 0) "read")
  (data (i32.const 16) "exists")
  (data (i32.const 32) "stat")
  (data (i32.const 48) "list")
  (data (i32.const 64) "mkdir")
  (data (i32.const 80) "remove")
  (data (i32.const 96) "write")
  (data (i32.const 112) "fetch")
  (data (i32.const 128) "open")
  (data (i32.const 144) "next")
  (data (i32.const 160) "close")
  (data (i32.const 176) "resolve")
  (data (i32.const 192) "link")
  (data (i32.const 208) "unlink")
  (data (i32.const 224) "create")
  (data (i32.const 240) "links")
  (data (i32.const 256) "extism")
  (data (i32.const 272) "{\"written\":true}") ;; content
  (data (i32.const 304) "\00{\"status\":") ;; k_status
  (data (i32.const 320) ",\"headers\":") ;; k_headers
  (data (i32.const 336) ",\"body\":") ;; k_body
  (data (i32.const 352) "}")
  (global $number i32 (i32.const 368)) ;; room for three digits

  (func (export "astrid_hook_trigger") (result i32)
    (local $n i32)
    (local.set $n (call $payload (i32.const 65536)))
    (if (call $action (i32.const 0) (i32.const 4)) ;; read
      (then (return (call $whole (call $read (call $argument (local.get $n)))))))
    (if (call $action (i32.const 16) (i32.const 6)) ;; exists
      (then (return (call $whole (call $exists (call $argument (local.get $n)))))))
    (if (call $action (i32.const 32) (i32.const 4)) ;; stat
      (then (return (call $whole (call $stat (call $argument (local.get $n)))))))
    (if (call $action (i32.const 48) (i32.const 4)) ;; list
      (then (return (call $whole (call $list (call $argument (local.get $n)))))))
    (if (call $action (i32.const 64) (i32.const 5)) ;; mkdir
      (then (call $mkdir (call $argument (local.get $n))) (return (i32.const 0))))
    (if (call $action (i32.const 80) (i32.const 6)) ;; remove
      (then (call $remove (call $argument (local.get $n))) (return (i32.const 0))))
    (if (call $action (i32.const 96) (i32.const 5)) ;; write
      (then (call $write (call $argument (local.get $n)) (call $put (i32.const 272) (i32.const 16))) (return (i32.const 0))))
    (if (call $action (i32.const 112) (i32.const 5)) ;; fetch
      (then (return (call $tagged (call $fetch (call $argument (local.get $n)))))))
    (if (call $action (i32.const 128) (i32.const 4)) ;; open
      (then (return (call $tagged (call $open (call $argument (local.get $n)))))))
    (if (call $action (i32.const 144) (i32.const 4)) ;; next
      (then (return (call $tagged (call $next (call $argument (local.get $n)))))))
    (if (call $action (i32.const 160) (i32.const 5)) ;; close
      (then (call $close (call $argument (local.get $n))) (return (i32.const 0))))
    (if (call $action (i32.const 176) (i32.const 7)) ;; resolve
      (then (return (call $tagged (call $resolve (call $argument (local.get $n)))))))
    (if (call $action (i32.const 192) (i32.const 4)) ;; link
      (then (return (call $tagged (call $link (call $argument (local.get $n)))))))
    (if (call $action (i32.const 208) (i32.const 6)) ;; unlink
      (then (return (call $tagged (call $unlink (call $argument (local.get $n)))))))
    (if (call $action (i32.const 224) (i32.const 6)) ;; create
      (then (return (call $tagged (call $create (call $argument (local.get $n)))))))
    (if (call $action (i32.const 240) (i32.const 5)) ;; links
      (then (return (call $tagged (call $links (call $argument (local.get $n)))))))
    (if (call $action (i32.const 256) (i32.const 6)) ;; extism
      (then (return (call $ask_extism (call $argument (local.get $n))))))
    (unreachable))

  ;; argument returns the payload of $n bytes as a block, without the quotes of a string.
  (func $argument (param $n i32) (result i64)
    (if (i32.eq (i32.load8_u (i32.const 65536)) (i32.const 0x22)) ;; '"'
      (then (return (call $put (i32.const 65537) (i32.sub (local.get $n) (i32.const 2))))))
    (call $put (i32.const 65536) (local.get $n)))

  ;; whole answers with a block, whose first byte is the tag.
  (func $whole (param $block i64) (result i32)
    (call $output_set (local.get $block) (call $block_length (local.get $block)))
    (i32.const 0))

  ;; tagged answers Continue with a block.
  (func $tagged (param $block i64) (result i32)
    (call $begin (i32.const 65536))
    (call $add (i32.const 304) (i32.const 1)) ;; the zero byte of k_status
    (call $add_block (local.get $block))
    (call $answer (global.get $text) (call $length)))

  (func $ask_extism (param $request i64) (result i32)
    (local $body i64)
    (local.set $body (call $http_request (local.get $request) (i64.const 0)))
    (call $begin (i32.const 65536))
    (call $add (i32.const 304) (i32.const 11)) ;; k_status
    (call $digits (call $http_status_code))
    (call $add (global.get $number) (i32.const 3))
    (call $add (i32.const 320) (i32.const 11)) ;; k_headers
    (call $add_block (call $http_headers))
    (call $add (i32.const 336) (i32.const 8)) ;; k_body
    (call $add_block (local.get $body))
    (call $add (i32.const 352) (i32.const 1))
    (call $answer (global.get $text) (call $length)))

  ;; digits writes a number of three digits.
  (func $digits (param $n i32)
    (i32.store8 (i32.add (global.get $number) (i32.const 2)) (i32.add (i32.const 0x30) (i32.rem_u (local.get $n) (i32.const 10))))
    (i32.store8 (i32.add (global.get $number) (i32.const 1)) (i32.add (i32.const 0x30) (i32.rem_u (i32.div_u (local.get $n) (i32.const 10)) (i32.const 10))))
    (i32.store8 (global.get $number) (i32.add (i32.const 0x30) (i32.div_u (local.get $n) (i32.const 100)))))

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
