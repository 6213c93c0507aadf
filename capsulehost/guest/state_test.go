//go:build !wasip1

package guest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
	"github.com/astrid-actors/astrid-actors/capsulehost/guest/guesttest"
)

func TestState(t *testing.T) {
	host := guesttest.New(t)
	for key, value := range map[string]string{"a": "1", "b/1": "", "b/2": "\x00\xff"} {
		if err := guest.StateSet(key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	if value, err := guest.StateGet("b/2"); string(value) != "\x00\xff" || err != nil {
		t.Errorf("get: %q, %v", value, err)
	}
	if value, err := guest.StateGet("none"); len(value) != 0 || err != nil {
		t.Errorf("get of a missing key: %q, %v", value, err)
	}
	if keys, err := guest.StateKeys("b/"); !slices.Equal(keys, []string{"b/1", "b/2"}) || err != nil {
		t.Errorf("keys: %q, %v", keys, err)
	}
	if err := guest.StateDelete("a"); err != nil {
		t.Error(err)
	}
	if n, err := guest.StateClear(""); n != 2 || err != nil {
		t.Errorf("clear: %d, %v", n, err)
	}
	// What would kill the capsule is an error instead.
	long := strings.Repeat("k", 4097)
	_, get := guest.StateGet(long)
	for _, err := range []error{get, guest.StateSet("", nil), guest.StateSet("k", make([]byte, 10<<20+1)), guest.StateDelete(long)} {
		if err == nil {
			t.Error("a key or a value that the host refuses was no error")
		}
	}
	host.StateError = "no disk"
	if _, err := guest.StateKeys(""); err == nil || err.Error() != "no disk" {
		t.Errorf("keys: %v", err)
	}
	if _, err := guest.StateClear(""); err == nil {
		t.Error("clear: no error")
	}
}
