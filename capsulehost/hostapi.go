package capsulehost

import (
	"context"
	"encoding/json"
	"time"
)

// HostAPI is everything that one guest can request from its host. This package decodes
// and checks the system calls, and then calls these methods.
//
// The methods are called on the goroutine that runs the guest, one at a time. A method
// that blocks must return when its context ends, because guest code can't be
// interrupted inside one. A panic in a method kills only the guest.
type HostAPI interface {
	// Name returns the capsule's id. A guest reads it as argv[0], its only argument;
	// "" becomes "capsule".
	Name() string

	// Log writes one astrid_log line. It cannot fail.
	Log(level LogLevel, message string)

	// Config returns a configuration value in the form of astrid_get_config: a string
	// as it is, anything else as JSON text, "" if the key is missing.
	Config(key string) string

	// Caller returns the caller on whose behalf the guest runs now, or nil.
	Caller() *Caller

	// SignalReady records that a run-loop capsule's subscriptions are active.
	SignalReady()

	// Now returns the time for astrid_clock_ms and WASI's realtime clock, which guests
	// see in whole milliseconds. It may jump backwards: sleeps and WASI's monotonic
	// clock use the process's own clock instead.
	Now() time.Time

	// Services returns the services that the guest may use. It must not change between
	// two calls; nil means none.
	Services() *Services
}

// Services are what a guest may use besides its own log and configuration: one field
// for each family of system calls. A guest without a service is denied its calls, or
// gets an empty answer, as the field says.
type Services struct {
	// Peers gives access to other capsules. If it is nil, every trigger returns `[]`
	// without being decoded, and every capability is denied.
	Peers Peers
	// Files are what the guest may read and write. If it is nil, every call is denied.
	Files Files
	// State is the capsule's durable state. If it is nil, a call that answers with a
	// status answers with an error, and any other call traps.
	State State
	// Bus gives access to the event bus. If it is nil, nothing may be published or
	// subscribed to.
	Bus Bus
	// HTTP sends the guest's requests. If it is nil, every call is denied.
	HTTP HTTP
	// Identities are users and their accounts. If it is nil, every call answers with an
	// error.
	Identities Identities
	// Approvals asks people. If it is nil, every request is denied.
	Approvals Approvals
	// Prompts asks the person who installs the capsule. If it is nil, every call traps.
	Prompts Prompts
	// Sockets serve clients at a unix socket. If it is nil, every call traps.
	Sockets Sockets
	// Uplinks connect platforms on which people write. If it is nil, every call traps.
	Uplinks Uplinks
	// Processes runs programs of the host. If it is nil, every call traps.
	Processes Processes
	// Output receives what the guest writes to its standard output and error. If it is nil,
	// only a Failure shows the end of it.
	Output Output
}

// Output receives a guest's output by lines, without their ends: empty ones are left out,
// and a line of more than 4 KiB comes in parts. Stream is "stdout" or "stderr". What a call
// has begun without a line end comes when the call ends. It is called on the goroutine that
// runs the guest, and must not block.
type Output interface {
	WriteLine(stream, line string)
}

// noServices is for a guest that has none.
var noServices Services //nolint:gochecknoglobals // never changed

// services returns the guest's services, never nil.
func (i *Instance) services() *Services {
	if s := i.hostAPI.Services(); s != nil {
		return s
	}
	return &noServices
}

// Peers gives a guest access to other capsules.
type Peers interface {
	// TriggerHook invokes the matching interceptors of all other capsules, and returns
	// their values in order. payload is compact JSON. An error traps the guest.
	TriggerHook(ctx context.Context, topic string, payload json.RawMessage) ([]json.RawMessage, error)

	// CheckCapability reports whether the capsule with the session sourceUUID was granted
	// the capability. It returns false if in doubt.
	CheckCapability(ctx context.Context, sourceUUID, capability string) bool
}

// Caller is the caller context of astrid_get_caller.
type Caller struct {
	// Principal is nil if the message carried none.
	Principal *string
	SourceID  string // a UUID
	Timestamp time.Time
}

// LogLevel is the level of an astrid_log line. Extism guests see the same numbers
// through get_log_level.
type LogLevel int

// The levels, in increasing order of severity.
const (
	LevelTrace LogLevel = iota
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
)

// String returns the level's name in capitals, as in log lines.
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
