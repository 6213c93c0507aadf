package supervisor

import (
	"time"

	"github.com/rs/zerolog"
)

// Config says what a Supervisor runs and how. Its zero value is useful: it
// runs the default principal's capsules with the defaults below, and is silent.
// It is copied at [New]. A capsule's manifest ([supervision]) overrides what it
// names.
type Config struct {
	// Home is Astrid's directory; "" means $ASTRID_HOME, else ~/.astrid.
	Home string
	// Principal is whose capsules these are; "" means "default".
	Principal string
	// CapsuleDirs are capsules' directories, or directories of them; they
	// replace discovery. Empty means <home>/home/<principal>/.local/capsules,
	// then ./.astrid/capsules.
	CapsuleDirs []string
	// AllowUnverified loads modules that nobody sealed. A wrong hash is refused
	// all the same.
	AllowUnverified bool
	// SocketPath is what guests read as ASTRID_SOCKET_PATH; "" means
	// <home>/run/actors.sock. The Supervisor opens no socket itself.
	SocketPath string

	// CallTimeout is how long one guest call may take; 0 means 5 minutes. A call
	// that runs into it is a crash. Run-loop and uplink capsules have none.
	CallTimeout time.Duration
	// TriggerTimeout is the deadline of a trigger whose context has none, and of
	// the triggers that capsules make; 0 means 30 seconds.
	TriggerTimeout time.Duration
	// ReadyTimeout is how long the start of others waits for a run-loop capsule
	// to signal; 0 means 500 milliseconds.
	ReadyTimeout time.Duration
	// StopTimeout is how long a running call is given when its capsule, or the
	// whole system, stops; 0 means 10 seconds.
	StopTimeout time.Duration
	// Queue is how many calls may wait at one capsule; 0 means 256.
	Queue int
	// OpenTriggers is how many triggers may be open at once; 0 means 10,000.
	OpenTriggers int
	// MemoryLimitPages bounds one guest's memory, in pages of 64 KiB; 0 means
	// 1,024 (64 MiB).
	MemoryLimitPages uint32
	// Restart is what happens to a capsule that dies.
	Restart RestartPolicy
	// EventsKept is how many events [Supervisor.Events] can go back; 0 means 4,096.
	EventsKept int

	// Log receives what the supervisor has to say; the zero Logger is silent.
	Log zerolog.Logger
}
