package guest

import (
	"encoding/json"
	"fmt"
)

// Handler serves one interceptor action. Payload is what was triggered or
// published, normally JSON; it is the handler's own to keep. An error is
// reported to whoever asked, and costs the capsule nothing.
type Handler func(payload []byte) (Result, error)

var handlers = map[string]Handler{}

// Handle registers the handler of an action, by the name that an [[interceptor]]
// of Capsule.toml gives it. Call it from an init function: when the host asks,
// every handler must be there. It panics where the action has a handler already.
func Handle(action string, h Handler) {
	if handlers[action] != nil {
		panic(fmt.Sprintf("guest: action %q has two handlers", action))
	}
	handlers[action] = h
}

// Invoke runs the handler of an action as the host would. It is meant for tests.
func Invoke(action string, payload []byte) (Result, error) {
	h := handlers[action]
	if h == nil {
		return Result{}, fmt.Errorf("no handler for action %q", action)
	}
	return h(payload)
}

// Action says what is to become of the value that a handler answers with.
type Action byte

// The actions, by the byte that stands for each before the answer. To a trigger
// Continue and Final are the same; along an event's chain of interceptors Final
// is the last word.
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

// Result is a handler's answer. The zero value is a Continue with nothing: seen,
// and nothing to add.
type Result struct {
	Action Action
	// Data is the answer, or the reason of a denial. The answer to a trigger must
	// be JSON: others don't see it otherwise.
	Data []byte
}

// Continue answers with data, and lets others be asked.
func Continue(data []byte) Result { return Result{ActionContinue, data} }

// ContinueJSON answers with v as JSON. The error is the encoder's.
func ContinueJSON(v any) (Result, error) {
	data, err := json.Marshal(v)
	return Continue(data), err
}

// Final answers with data, as the last word.
func Final(data []byte) Result { return Result{ActionFinal, data} }

// FinalJSON is Final with v as JSON. The error is the encoder's.
func FinalJSON(v any) (Result, error) {
	data, err := json.Marshal(v)
	return Final(data), err
}

// Deny refuses, with a reason for people to read.
func Deny(reason string) Result { return Result{ActionDeny, []byte(reason)} }

// encode returns the result as the host reads it.
func (r Result) encode() []byte {
	if r.Action == ActionContinue && len(r.Data) == 0 {
		return nil
	}
	return append([]byte{byte(r.Action)}, r.Data...)
}

// serve is one call of astrid_hook_trigger: input to output.
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
