;; Fills its memory, which it does not export, where it is upgraded or installed, and
;; traps at a division, or gives up as an allocator does.
(module
  (memory 1)
  (func $fill
    (loop $more
      (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))))
  (func $divide (param $by i32) (drop (i32.div_u (i32.const 1) (local.get $by))))
  (func $stack_overflow (unreachable))
  (func (export "run") (result i32) (call $stack_overflow) (i32.const 0))
  (func (export "astrid_install") (result i32) (call $fill) (call $divide (i32.const 0)) (i32.const 0))
  (func (export "astrid_upgrade") (result i32) (call $fill) (call $stack_overflow) (i32.const 0)))
