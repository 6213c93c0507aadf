package main

import (
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest/guesttest"
	"github.com/astrid-actors/astrid-actors/capsulehost/guest/runloop"
)

func TestBadInterval(t *testing.T) {
	for _, interval := range []string{"", "often", "-1s"} {
		host := guesttest.New(t)
		host.Config["interval"] = interval
		if err := runloop.Invoke(); err == nil {
			t.Errorf("interval %q was no error", interval)
		}
		if host.Ready {
			t.Errorf("with interval %q it signalled ready", interval)
		}
	}
}
