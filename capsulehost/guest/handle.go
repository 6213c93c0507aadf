package guest

import (
	"encoding/json"
	"fmt"
)

// Handler serves one interceptor action. payload is the triggered or published data,
// normally JSON; the handler may keep and modify it. An error is reported to the caller,
// and the capsule keeps running.
type Handler func(payload []byte) (Result, error)

var handlers = map[string]Handler{}

// Handle registers the handler of an action, named as in an [[interceptor]] of Capsule.toml.
// Call it from an init function, since the host may call the action right after. It panics
// if the action already has a handler.
func Handle(action string, h Handler) {
	if handlers[action] != nil {
		panic(fmt.Sprintf("guest: action %q has two handlers", action))
	}
	handlers[action] = h
}

// Invoke runs the handler of an action as the host does. Use it in tests.
func Invoke(action string, payload []byte) (Result, error) {
	h := handlers[action]
	if h == nil {
		return Result{}, fmt.Errorf("no handler for action %q", action)
	}
	return h(payload)
}

// Action tells the host what to do with a handler's answer.
type Action byte

// The actions; each value is the byte before the answer. For a trigger, Continue and Final
// are equal; for an event, Final ends the chain of interceptors.
const (
	ActionContinue Action = iota
	ActionFinal
	ActionDeny
)

// String returns the action's name in lower case.
func (a Action) String() string {
	switch a {
	case ActionContinue:
		return "continue"
	case ActionFinal:
		return "final"
	case ActionDeny:
		return "deny"
	default:
		return fmt.Sprintf("action %d", byte(a))
	}
}

// Result is a handler's answer. The zero value is a Continue without data: handled, with no
// answer.
type Result struct {
	Action Action
	// Data is the answer, or the reason of a denial. The answer to a trigger must be JSON;
	// otherwise it is dropped.
	Data []byte
}

// Continue returns data as the answer, and lets the other interceptors run.
func Continue(data []byte) Result { return Result{ActionContinue, data} }

// ContinueJSON returns v as JSON as the answer. The error is the encoder's.
func ContinueJSON(v any) (Result, error) {
	data, err := json.Marshal(v)
	return Continue(data), err
}

// Final returns data as the answer, and ends the chain of interceptors.
func Final(data []byte) Result { return Result{ActionFinal, data} }

// FinalJSON is Final with v as JSON. The error is the encoder's.
func FinalJSON(v any) (Result, error) {
	data, err := json.Marshal(v)
	return Final(data), err
}

// Deny refuses, with a reason for a person to read.
func Deny(reason string) Result { return Result{ActionDeny, []byte(reason)} }

// encode returns the result in the host's format.
func (r Result) encode() []byte {
	if r.Action == ActionContinue && len(r.Data) == 0 {
		return nil
	}
	return append([]byte{byte(r.Action)}, r.Data...)
}

// serve handles one call of astrid_hook_trigger, and returns its output.
func serve(input []byte) ([]byte, error) {
	action, payload, err := decode(input)
	if err != nil {
		return nil, err
	}
	r, err := Invoke(action, payload)
	if err != nil {
		return nil, err
	}
	return r.encode(), nil
}
