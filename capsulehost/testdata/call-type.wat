;; Imports a call of Astrid's as another type than it has.
(module
  (import "extism:host/user" "astrid_kv_set" (func (param i64) (result i64)))
  (func (export "astrid_hook_trigger") (result i32) (i32.const 0)))
