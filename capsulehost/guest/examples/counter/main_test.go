package main

import (
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
	"github.com/astrid-actors/astrid-actors/capsulehost/guest/guesttest"
)

func TestCount(t *testing.T) {
	host := guesttest.New(t)
	host.State["count"] = "41"
	r, err := guest.Invoke("count", nil)
	if err != nil || string(r.Data) != "42" || host.State["count"] != "42" {
		t.Errorf("got %s, %v; the state is %q", r.Data, err, host.State)
	}
	host.State["count"] = "many"
	if _, err := guest.Invoke("count", nil); err == nil {
		t.Error("a count that is no number was no error")
	}
	host.StateError = "the store is closed"
	if _, err := guest.Invoke("count", nil); err == nil || err.Error() != host.StateError {
		t.Errorf("an error of the state: %v", err)
	}
}
