//go:build !wasip1

package abi

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// Host replaces the host in tests, with the same strings as the system calls.
type Host interface {
	Log(level, message string)
	Config(key string) string
	Caller() string
	SignalReady()
	ClockMillis() string
	Trigger(request string) string
	CheckCapability(request string) string
}

// Current is the host for this process, as a capsule has one host.
var Current Host = Alone{}

// Alone is a minimal host: it logs to standard error and returns the time, and has no
// configuration, caller or other capsules.
type Alone struct{}

// Log writes to standard error.
func (Alone) Log(level, message string) { fmt.Fprintf(os.Stderr, "%s: %s\n", level, message) }

// Config returns "".
func (Alone) Config(string) string { return "" }

// Caller returns no caller.
func (Alone) Caller() string { return "{}" }

// SignalReady does nothing.
func (Alone) SignalReady() {}

// ClockMillis returns the machine's time.
func (Alone) ClockMillis() string { return strconv.FormatInt(time.Now().UnixMilli(), 10) }

// Trigger returns no answers.
func (Alone) Trigger(string) string { return "[]" }

// CheckCapability always denies.
func (Alone) CheckCapability(string) string { return `{"allowed":false}` }

// The same functions as in the WebAssembly build.

// Log calls Current.
func Log(level, message string) { Current.Log(level, message) }

// Config calls Current.
func Config(key string) string { return Current.Config(key) }

// Caller calls Current.
func Caller() string { return Current.Caller() }

// SignalReady calls Current.
func SignalReady() { Current.SignalReady() }

// ClockMillis calls Current.
func ClockMillis() string { return Current.ClockMillis() }

// Trigger calls Current.
func Trigger(request string) string { return Current.Trigger(request) }

// CheckCapability calls Current.
func CheckCapability(request string) string { return Current.CheckCapability(request) }
