(module (import "extism:host/env" "kernel.reset" (func)))
