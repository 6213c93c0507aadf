// Package faults is the fault matrix: every way in which a guest can misbehave, at
// every moment at which it can, under every restart setting. Each row runs a whole
// system with real WebAssembly guests, in a synctest bubble, and says what becomes
// of it: testdata has a file for each way. Beyond what the files show, each row
// checks that every trigger was answered once, that other capsules were not harmed,
// and that nothing is left behind.
//
//	go test ./test/faults -update
//
// writes the files anew, and with -v the tests say at the end how many rows and attacks
// held, and how late the slowest guest stopped. Its tables are in ways_test.go, moments_test.go and
// settings_test.go, with the reason for each row that can't be.
package faults
