// Package faults is the fault matrix: every way in which a guest can misbehave, at every
// possible moment, under every restart setting. Each row runs a whole system with real
// WebAssembly guests, in a synctest bubble, and records the outcome: testdata has a file
// for each way. In addition, each row checks that every trigger was answered once, that
// other capsules were not harmed, and that nothing is left behind.
//
//	go test ./test/faults -update
//
// writes the files again. With -v the tests print at the end how many rows and attacks
// passed, and how late the slowest guest stopped. The tables are in ways_test.go,
// moments_test.go and settings_test.go, with the reason for each row that is impossible.
package faults
