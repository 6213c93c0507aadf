(module (import "extism:host/env" "alloc" (func (param i32) (result i32))))
