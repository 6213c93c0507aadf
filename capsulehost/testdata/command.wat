;; A command: its _start ends the program with the status that stands in the
;; configuration, as some languages' main does. Its exports can be called after it.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "extism:host/env" "load_u8" (func $load_u8 (param i64) (result i32)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "config_get" (func $config_get (param i64) (result i64)))
  (memory 1)
  (global $started (mut i32) (i32.const 0))
  (func (export "_start")
    (local $key i64)
    (local.set $key (call $alloc (i64.const 1)))
    (call $store_u8 (local.get $key) (i32.const 0x73)) ;; 's'
    (global.set $started (i32.const 1))
    (call $proc_exit (i32.sub (call $load_u8 (call $config_get (local.get $key))) (i32.const 0x30))) ;; '0'
    (unreachable))
  (func (export "astrid_hook_trigger") (result i32)
    (if (i32.eqz (global.get $started)) (then (unreachable)))
    (call $proc_exit (i32.const 0)) ;; here it is an exit
    (unreachable))
  (func (export "run") (result i32) (i32.eqz (global.get $started))))
