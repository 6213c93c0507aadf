//go:build !linux

package processes

import "testing"

// skipWithout skips the test: this system has no means of confinement.
func skipWithout(t *testing.T, means string) {
	t.Helper()
	t.Skip("this system does not have it: " + means)
}
