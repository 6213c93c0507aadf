// Package abi is the interface between a Go capsule and its host. It converts Go strings to
// and from the kernel blocks that the system calls use. In builds for other platforms than
// WebAssembly, it calls Current instead, which a test sets.
//
// It does not check or decode anything; package guest does.
package abi
