//go:build !wasip1

package abi

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// Host is the other side of the border, in tests: strings as they cross it.
type Host interface {
	Log(level, message string)
	Config(key string) string
	Caller() string
	SignalReady()
	ClockMillis() string
	Trigger(request string) string
	CheckCapability(request string) string
}

// Current is the host that is asked. There is one for the process, as a capsule
// has one.
var Current Host = Alone{}

// Alone is a host with nothing in it: it logs to standard error, knows no
// configuration, caller or other capsule, and tells the time.
type Alone struct{}

// Log writes to standard error.
func (Alone) Log(level, message string) { fmt.Fprintf(os.Stderr, "%s: %s\n", level, message) }

// Config knows no value.
func (Alone) Config(string) string { return "" }

// Caller knows none.
func (Alone) Caller() string { return "{}" }

// SignalReady does nothing.
func (Alone) SignalReady() {}

// ClockMillis tells the machine's time.
func (Alone) ClockMillis() string { return strconv.FormatInt(time.Now().UnixMilli(), 10) }

// Trigger reaches nobody.
func (Alone) Trigger(string) string { return "[]" }

// CheckCapability denies.
func (Alone) CheckCapability(string) string { return `{"allowed":false}` }

// The calls of package guest, as in WebAssembly.

// Log asks Current.
func Log(level, message string) { Current.Log(level, message) }

// Config asks Current.
func Config(key string) string { return Current.Config(key) }

// Caller asks Current.
func Caller() string { return Current.Caller() }

// SignalReady asks Current.
func SignalReady() { Current.SignalReady() }

// ClockMillis asks Current.
func ClockMillis() string { return Current.ClockMillis() }

// Trigger asks Current.
func Trigger(request string) string { return Current.Trigger(request) }

// CheckCapability asks Current.
func CheckCapability(request string) string { return Current.CheckCapability(request) }
