//go:build !linux

package main

// openForWriting can't be found out here: a file is complete if nothing has been written
// for a while.
func openForWriting(string) bool { return false }
