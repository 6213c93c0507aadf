;; Functions whose reductions are known; see TestCounts.
(module
  (memory (export "memory") 4 8)
  (table $t 8 funcref)
  (elem (i32.const 0) $leaf $leaf)
  (global $x (mut i64) (i64.const 0))
  (data $d "some bytes")

  (func $leaf (export "leaf"))
  (func (export "two_calls") (call $leaf) (call $leaf))
  (func (export "indirect") (call_indirect (i32.const 1)))

  ;; n iterations, of a loop that calls nothing, of one that does, and of one that
  ;; takes a parameter along.
  (func (export "loop") (param $n i32)
    (loop $l
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $l (i32.gt_s (local.get $n) (i32.const 0)))))
  (func (export "calling_loop") (param $n i32)
    (loop $l
      (call $leaf)
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $l (i32.gt_s (local.get $n) (i32.const 0)))))
  (func (export "carrying_loop") (param $n i32)
    local.get $n
    loop $l (param i32) (result i32)
      i32.const 1
      i32.sub
      local.tee $n
      local.get $n
      i32.const 0
      i32.gt_s
      br_if $l
    end
    drop)
  ;; n times n
  (func (export "nested") (param $n i32) (local $i i32) (local $j i32)
    (loop $outer
      (local.set $j (i32.const 0))
      (loop $inner
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (br_if $inner (i32.lt_s (local.get $j) (local.get $n))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $outer (i32.lt_s (local.get $i) (local.get $n)))))

  ;; 130 additions: two for the entry's one, then one for each 64.
  (func (export "straight") (param $n i32) (result i32) (local.get $n)
    (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1))
    (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1))
    (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1))
    (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1))
    (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1))
    (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1))
    (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1))
    (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1))
    (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1))
    (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1))
    (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1))
    (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1))
    (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)) (i32.add (i32.const 1)))

  (func (export "fill") (param $n i32) (memory.fill (i32.const 0) (i32.const 1) (local.get $n)))
  (func (export "copy") (param $n i32) (memory.copy (i32.const 0) (i32.const 8) (local.get $n)))
  (func (export "init") (param $n i32) (memory.init $d (i32.const 0) (i32.const 0) (local.get $n)))
  (func (export "grow") (param $n i32) (drop (memory.grow (local.get $n))))
  (func (export "table_grow") (param $n i32) (drop (table.grow $t (ref.null func) (local.get $n))))
  (func (export "table_fill") (param $n i32) (table.fill $t (i32.const 0) (ref.null func) (local.get $n)))

  ;; Deep in a named function, for the stack trace.
  (func $broken (param $n i32) (result i32) (i32.div_u (local.get $n) (i32.const 0)))
  (func $caller (export "trap") (param $n i32) (drop (call $broken (local.get $n))))
  (func (export "fill_outside") (param $n i32)
    (memory.fill (i32.sub (i32.const 262144) (local.get $n)) (i32.const 1) (i32.add (local.get $n) (i32.const 1))))
)
