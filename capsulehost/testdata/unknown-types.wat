;; Imports a call that this host does not have as two types, which none has.
(module
  (import "extism:host/user" "astrid_teleport" (func (param i64) (result i64)))
  (import "extism:host/user" "astrid_teleport" (func (param i64))))
