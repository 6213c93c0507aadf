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
	Publish(topic, payload string)
	Subscribe(pattern string) string
	Unsubscribe(handle string)
	Receive(handle, milliseconds string) string
	InterceptorHandles() string
	StateGet(key string) string
	StateSet(key, value string)
	StateDelete(key string)
	StateKeys(prefix string) string
	StateClear(prefix string) string
}

// Current is the host for this process, as a capsule has one host.
var Current Host = Alone{}

// Alone is a minimal host: it logs to standard error and returns the time, and has no
// configuration, caller, state or other capsules.
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

// Publish does nothing.
func (Alone) Publish(_, _ string) {}

// Subscribe returns a handle that nothing arrives at.
func (Alone) Subscribe(string) string { return "1" }

// Unsubscribe does nothing.
func (Alone) Unsubscribe(string) {}

// Receive returns no messages, at once.
func (Alone) Receive(_, _ string) string { return `{"dropped":0,"lagged":0,"messages":[]}` }

// InterceptorHandles returns none.
func (Alone) InterceptorHandles() string { return "[]" }

// StateGet returns no value.
func (Alone) StateGet(string) string { return "\x00" }

// StateSet forgets the value.
func (Alone) StateSet(string, string) {}

// StateDelete does nothing.
func (Alone) StateDelete(string) {}

// StateKeys returns no keys.
func (Alone) StateKeys(string) string { return "\x00[]" }

// StateClear deletes none.
func (Alone) StateClear(string) string { return "\x000" }

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

// Publish calls Current.
func Publish(topic, payload string) { Current.Publish(topic, payload) }

// Subscribe calls Current.
func Subscribe(pattern string) string { return Current.Subscribe(pattern) }

// Unsubscribe calls Current.
func Unsubscribe(handle string) { Current.Unsubscribe(handle) }

// Poll calls Current: it is Receive without a wait.
func Poll(handle string) string { return Current.Receive(handle, "0") }

// Receive calls Current.
func Receive(handle, milliseconds string) string { return Current.Receive(handle, milliseconds) }

// InterceptorHandles calls Current.
func InterceptorHandles() string { return Current.InterceptorHandles() }

// StateGet calls Current.
func StateGet(key string) string { return Current.StateGet(key) }

// StateSet calls Current.
func StateSet(key, value string) { Current.StateSet(key, value) }

// StateDelete calls Current.
func StateDelete(key string) { Current.StateDelete(key) }

// StateKeys calls Current.
func StateKeys(prefix string) string { return Current.StateKeys(prefix) }

// StateClear calls Current.
func StateClear(prefix string) string { return Current.StateClear(prefix) }
