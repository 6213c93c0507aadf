//go:build !race

package reductions_test

const raced = false
