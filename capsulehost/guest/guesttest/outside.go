//go:build !wasip1

package guesttest

import (
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"
)

// Outside answers a capsule's calls for files, HTTP and identities until the test ends.
// It receives the name of a system call and its arguments, and returns the result in the
// form of docs/capsules.md: for files with the status byte in front.
//
//	guesttest.Outside(t, func(call string, arguments ...string) string {
//		if call == "astrid_read_file" && arguments[0] == "home://notes" {
//			return "\x00remember"
//		}
//		return "\x01no such file"
//	})
func Outside(t testing.TB, answer func(call string, arguments ...string) string) {
	t.Helper()
	before := abi.Outside
	abi.Outside = answer
	t.Cleanup(func() { abi.Outside = before })
}
