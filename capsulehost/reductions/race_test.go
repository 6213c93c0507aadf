//go:build race

package reductions_test

// raced: the race detector is on, which slows wazero's compiler down tenfold.
const raced = true
