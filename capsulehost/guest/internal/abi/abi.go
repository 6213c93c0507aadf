// Package abi is the border between a Go capsule and its host: the system calls,
// with Go's strings on one side and, in WebAssembly, offsets of kernel blocks on
// the other. Built for anything but WebAssembly it asks Current instead, which a
// test sets.
//
// It checks nothing and decodes nothing: that is package guest.
package abi
