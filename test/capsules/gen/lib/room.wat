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
