;; What a guest does in benchmarks: little, and a lot in few instructions.
(module
  (memory 16)
  (func (export "trivial") (param $n i64) (result i64) (local.get $n))

  (func (export "squares") (param $n i64) (result i64) (local $i i64) (local $sum i64)
    (loop $next
      (local.set $sum (i64.add (local.get $sum) (i64.mul (local.get $i) (local.get $i))))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $next (i64.lt_s (local.get $i) (local.get $n))))
    (local.get $sum))

  (func (export "memory") (param $n i64) (result i64) (local $p i32) (local $sum i64) (local $end i32)
    (local.set $end (i32.shl (i32.wrap_i64 (local.get $n)) (i32.const 3)))
    (loop $next
      (local.set $sum (i64.add (local.get $sum) (i64.load (local.get $p))))
      (i64.store (local.get $p) (local.get $sum))
      (local.set $p (i32.add (local.get $p) (i32.const 8)))
      (br_if $next (i32.lt_u (local.get $p) (local.get $end))))
    (local.get $sum))

  (func $fib (export "fib") (param $n i64) (result i64)
    (if (result i64) (i64.lt_s (local.get $n) (i64.const 2))
      (then (local.get $n))
      (else (i64.add
        (call $fib (i64.sub (local.get $n) (i64.const 1)))
        (call $fib (i64.sub (local.get $n) (i64.const 2)))))))

  ;; A sieve: loops in loops, bytes in memory.
  (func (export "sieve") (param $n i64) (result i64) (local $i i32) (local $j i32) (local $found i64) (local $end i32)
    (local.set $end (i32.wrap_i64 (local.get $n)))
    (memory.fill (i32.const 0) (i32.const 0) (local.get $end))
    (local.set $i (i32.const 2))
    (loop $next
      (if (i32.eqz (i32.load8_u (local.get $i)))
        (then
          (local.set $found (i64.add (local.get $found) (i64.const 1)))
          (local.set $j (i32.shl (local.get $i) (i32.const 1)))
          (block $done
            (loop $strike
              (br_if $done (i32.ge_u (local.get $j) (local.get $end)))
              (i32.store8 (local.get $j) (i32.const 1))
              (local.set $j (i32.add (local.get $j) (local.get $i)))
              (br $strike)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $end))))
    (local.get $found))

  ;; Eight values alive in one loop, as in a hash.
  (func (export "mix") (param $n i64) (result i64)
    (local $a i64) (local $b i64) (local $c i64) (local $d i64) (local $e i64) (local $f i64) (local $i i64)
    (local.set $a (i64.const 0x6a09e667f3bcc908)) (local.set $b (i64.const 0x3b67ae8584caa73b))
    (local.set $c (i64.const 0x3c6ef372fe94f82b)) (local.set $d (i64.const 0x2b3e6c1fabd9e0a1))
    (local.set $e (i64.const 0x510e527fade682d1)) (local.set $f (i64.const 0x1f83d9abfb41bd6b))
    (loop $next
      (local.set $a (i64.xor (local.get $a) (local.get $b)))
      (local.set $b (i64.add (i64.rotl (local.get $b) (i64.const 13)) (local.get $c)))
      (local.set $c (i64.xor (local.get $c) (local.get $d)))
      (local.set $d (i64.add (i64.rotl (local.get $d) (i64.const 17)) (local.get $e)))
      (local.set $e (i64.xor (local.get $e) (local.get $f)))
      (local.set $f (i64.add (i64.rotl (local.get $f) (i64.const 31)) (local.get $a)))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $next (i64.lt_s (local.get $i) (local.get $n))))
    (i64.xor (i64.xor (local.get $a) (local.get $b)) (i64.xor (local.get $c) (i64.xor (local.get $d) (i64.xor (local.get $e) (local.get $f))))))

  ;; Small copies, of which stock Go's and Rust's guests make many.
  (func (export "copies") (param $n i64) (result i64) (local $i i64)
    (loop $next
      (memory.copy (i32.const 4096) (i32.const 0) (i32.const 24))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $next (i64.lt_s (local.get $i) (local.get $n))))
    (local.get $i))
)
