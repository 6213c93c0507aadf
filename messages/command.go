package messages

// The commands that an operator gives the capsules supervisor, by message. Each
// is answered by one CommandDone.
type (
	// StartCapsule starts the capsules of a group that do not run.
	StartCapsule struct{ ID string }
	// RestartCapsule restarts the capsules of a group, in order.
	RestartCapsule struct{ ID string }
	// StopCapsule stops a capsule in order: the running call gets the capsule's
	// stop time-out, queued ones are answered OutcomeUnavailable.
	StopCapsule struct {
		ID string
		// Cause, if not empty, is why a group stops, in place of an operator.
		Cause string
	}
	// KillCapsule injects a crash, which goes through supervision like any other.
	KillCapsule struct{ ID string }
	// RemoveCapsule stops a capsule as StopCapsule does, and forgets it.
	RemoveCapsule struct{ ID string }
)

// CommandResult is the end of a command.
type CommandResult uint8

// The results of commands.
const (
	CommandSucceeded CommandResult = iota
	CommandNotFound                // no capsule has that id
	CommandRefused                 // the capsule's state does not allow it
	CommandFailed                  // it was carried out, and the capsule did not come up
	CommandKept                    // the new version or instance failed, and the capsule goes on as it was
)

// CommandDone answers a command.
type CommandDone struct {
	Result CommandResult
	// Reason explains a refusal or a failure.
	Reason string
}

// CheckCapability asks the registry whether the capsule that currently holds a
// session may do something.
type CheckCapability struct {
	SourceUUID string
	Capability string
}

// CapabilityChecked answers CheckCapability.
type CapabilityChecked struct {
	Allowed bool
	// Reason explains a denial, for the log.
	Reason string
}

// FindCapsule asks the registry for a capsule: for the one that currently holds a
// session if Session is set, else for the one with an id.
type FindCapsule struct {
	ID      string
	Session string
}

// CapsuleFound answers FindCapsule. Session is empty if the capsule does not serve.
type CapsuleFound struct {
	Found      bool
	ID         string
	Generation uint64
	Session    string
	Version    string
	State      CapsuleState
}
