package messages

import (
	"encoding/json"
	"time"
)

// Caller is the party on whose behalf a trigger is made. Guests read it with
// astrid_get_caller.
type Caller struct {
	// Principal is 1 to 64 of a-z A-Z 0-9 _ -, or "" for none.
	Principal string
	// SourceID is a UUID; in a request, "" means a fresh one.
	SourceID string
	// Timestamp is the time of the request; in a request, zero means now.
	Timestamp time.Time
}

// Reply is the one answer to a trigger.
type Reply struct {
	Topic string `json:"topic"`
	// Responses is a JSON array: the values of the legs that gave one, in the
	// order of the legs.
	Responses json.RawMessage `json:"responses"`
	// Legs are ordered by priority (lower first), then capsule id, then place in
	// the manifest.
	Legs []Leg `json:"legs"`
	// Trace is the id of its Trace, while that is kept.
	Trace uint64 `json:"trace"`
}

// Leg is one interceptor's part in a trigger's answer.
type Leg struct {
	Capsule  string
	Action   string
	Priority uint32
	Outcome  Outcome
	// Value is compact JSON; nil unless Outcome is OutcomeContinue or OutcomeFinal.
	Value json.RawMessage
	// Reason explains to a person every outcome that is no answer.
	Reason string
	// Generation of the instance that answered; 0 if none was asked.
	Generation uint64
	// Duration of the guest call, without the time in the queue.
	Duration time.Duration
	// Reductions that the guest spent: the same for the same module and input on
	// every machine.
	Reductions uint64
}
