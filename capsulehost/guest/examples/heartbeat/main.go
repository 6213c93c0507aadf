// Command heartbeat is a run-loop capsule: it signals that it is ready, and logs a line
// after each interval until it is stopped.
package main

import (
	"fmt"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
	"github.com/astrid-actors/astrid-actors/capsulehost/guest/runloop"
)

func init() { runloop.Handle(beat) }

func main() {}

func beat() error {
	interval, err := time.ParseDuration(guest.Config("interval"))
	if err != nil {
		return fmt.Errorf("read interval: %w", err)
	}
	if interval <= 0 {
		return fmt.Errorf("read interval: %v is not longer than nothing", interval)
	}
	guest.SignalReady()
	since := guest.Clock()
	for {
		time.Sleep(interval)
		guest.Infof("up for %v", guest.Clock().Sub(since).Round(time.Millisecond))
	}
}
