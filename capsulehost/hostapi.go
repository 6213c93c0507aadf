package capsulehost

import (
	"context"
	"encoding/json"
	"time"
)

// HostAPI is what one guest may ask of the world around it; the system
// calls are decoded and checked by this package, and end here.
//
// Its methods are called on the goroutine that runs the guest, one at a time.
// A method that blocks must return when its context ends: guest code can't be
// interrupted inside one. A panic in a method kills the guest and nothing else.
type HostAPI interface {
	// Name is the capsule's id. A guest reads it as argv[0], its one argument; ""
	// becomes "capsule".
	Name() string

	// Log takes one astrid_log line. It never fails a guest.
	Log(level LogLevel, message string)

	// Config returns a configuration value as astrid_get_config hands it out:
	// strings raw, anything else as JSON text; "" where the key is missing.
	Config(key string) string

	// Caller returns on whose behalf the guest runs now, or nil.
	Caller() *Caller

	// SignalReady notes that a run-loop capsule's subscriptions are active.
	SignalReady()

	// Now is the clock behind astrid_clock_ms and behind WASI's wall clock, which
	// guests see in whole milliseconds. It may be set back: sleeps and WASI's
	// monotonic clock follow the process's own.
	Now() time.Time

	// Peers returns the way to other capsules, or nil where there is no
	// registry: every trigger is then answered `[]` unread and every capability
	// denied.
	Peers() Peers
}

// Peers is how a guest reaches other capsules.
type Peers interface {
	// TriggerHook asks all other capsules whose interceptors match topic and
	// returns their values, in order. Payload is compact JSON. An error traps the guest.
	TriggerHook(ctx context.Context, topic string, payload json.RawMessage) ([]json.RawMessage, error)

	// CheckCapability says whether the capsule that now holds the session
	// sourceUUID was granted a capability. Doubt is false.
	CheckCapability(ctx context.Context, sourceUUID, capability string) bool
}

// Caller is the caller context of astrid_get_caller.
type Caller struct {
	// Principal is nil where the message carried none.
	Principal *string
	SourceID  string // a UUID
	Timestamp time.Time
}

// LogLevel is the level of an astrid_log line. Its numbers are those that
// Extism guests see through get_log_level.
type LogLevel int

// The levels, least severe first.
const (
	LevelTrace LogLevel = iota
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
)

// String returns the level's name in capitals, as log lines carry it.
func (l LogLevel) String() string {
	switch l {
	case LevelTrace:
		return "TRACE"
	case LevelDebug:
		return "DEBUG"
	case LevelWarn:
		return "WARN"
	case LevelError:
		return "ERROR"
	default:
		return "INFO"
	}
}
