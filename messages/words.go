package messages

import "fmt"

// Outcome is the result of one leg of a trigger.
type Outcome uint8

// The outcomes. The zero value belongs to a leg that has none yet; no reply
// contains it.
const (
	OutcomePending     Outcome = iota
	OutcomeContinue            // Continue with JSON: the value is one of the responses
	OutcomeFinal               // Final with JSON: the value is one of the responses
	OutcomeEmpty               // Continue with nothing
	OutcomeInvalid             // bytes that are not JSON, or too many
	OutcomeDenied              // Deny
	OutcomeFailed              // the guest reported an error; its instance goes on
	OutcomeCrashed             // the guest's instance died in this call
	OutcomeTimeout             // the trigger's deadline passed first
	OutcomeOverloaded          // the capsule's queue, or its answer quota, was full
	OutcomeDeadlock            // the capsule waits, directly or through others, for the caller
	OutcomeUnavailable         // the capsule does not serve: crashed, failed, stopped, or a run loop

	// OutcomeCount is the number of outcomes, OutcomePending included.
	OutcomeCount = int(OutcomeUnavailable) + 1
)

var outcomeNames = [OutcomeCount]string{
	"pending", "continue", "final", "empty", "invalid", "denied", "failed", "crashed", "timeout", "overloaded",
	"deadlock", "unavailable",
}

// String returns the outcome in lower case: "continue".
func (o Outcome) String() string { return name(outcomeNames[:], o) }

// MarshalText returns String as bytes, so that JSON has the word.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (o *Outcome) UnmarshalText(text []byte) error { return parse("outcome", outcomeNames[:], text, o) }

// Answered reports whether the guest itself gave this outcome, as opposed to
// what came in place of its answer.
func (o Outcome) Answered() bool {
	switch o {
	case OutcomeContinue, OutcomeFinal, OutcomeEmpty, OutcomeDenied:
		return true
	default:
		return false
	}
}

// CapsuleState is the state of a capsule:
//
//	loading -> starting (run-loop capsules, until they signal) -> ready
//	then -> crashed (waiting for its restart) -> loading ...
//	crashed -> failed (no restart left), any -> stopping -> stopped
type CapsuleState uint8

// The states. The zero value belongs to no capsule.
const (
	StateUnknown CapsuleState = iota
	StateLoading
	StateStarting
	StateReady
	StateCrashed
	StateFailed
	StateStopping
	StateStopped

	// StateCount is the number of states, StateUnknown included.
	StateCount = int(StateStopped) + 1
)

var stateNames = [StateCount]string{"unknown", "loading", "starting", "ready", "crashed", "failed", "stopping", "stopped"}

// String returns the state in lower case: "ready".
func (s CapsuleState) String() string { return name(stateNames[:], s) }

// MarshalText returns String as bytes, so that JSON has the word.
func (s CapsuleState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *CapsuleState) UnmarshalText(text []byte) error {
	return parse("state", stateNames[:], text, s)
}

func name[T ~uint8](names []string, n T) string {
	if int(n) < len(names) {
		return names[n]
	}
	return fmt.Sprintf("unknown (%d)", uint8(n))
}

func parse[T ~uint8](what string, names []string, text []byte, into *T) error {
	for n, name := range names {
		if name == string(text) {
			*into = T(n)
			return nil
		}
	}
	return fmt.Errorf("unknown %s %q: it is one of %v", what, text, names)
}
