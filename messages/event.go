package messages

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Event is something that happened, with the decision that followed.
type Event struct {
	// Sequence counts up from 1 without gaps.
	Sequence uint64
	At       time.Time
	// Path of the actor that it is about: "capsules/<id>", "capsules/<group>/<id>" for a
	// capsule in a group, "capsules/<id>#2" for an instance of a pool, "capsules/<group>"
	// for the group, "registry"; "" for the system.
	Path string
	// Generation of the capsule; 0 if it has none.
	Generation uint64
	// Detail is one of the types below.
	Detail Detail
}

// Detail is the part of an event that its kind has alone: one of the types in
// this file whose comment begins with "detail of".
type Detail interface {
	// Name is the event's name in JSON and on the command line: "capsule_ready".
	Name() string
}

// Name is that of its detail; "" without one.
func (e *Event) Name() string {
	if e.Detail == nil {
		return ""
	}
	return e.Detail.Name()
}

// Child returns the name of the capsule or supervisor that the event is about; "" if it
// is about none.
func (e *Event) Child() string {
	if !strings.HasPrefix(e.Path, "capsules/") {
		return ""
	}
	name, _, _ := strings.Cut(lastName(e.Path), "#")
	return name
}

// Instance returns the number of the instance of a pool that the event is about; 0 if it
// is about the whole capsule.
func (e *Event) Instance() int {
	_, number, _ := strings.Cut(lastName(e.Path), "#")
	n, _ := strconv.Atoi(number)
	return n
}

// Clone returns a deep copy.
func (e Event) Clone() Event {
	switch d := e.Detail.(type) {
	case SystemStopped:
		d.LeftRunning = slices.Clone(d.LeftRunning)
		e.Detail = d
	case CapsuleCrashed:
		d.Failure.WasmStack = slices.Clone(d.Failure.WasmStack)
		e.Detail = d
	case CapsuleFailed:
		d.Failure.WasmStack = slices.Clone(d.Failure.WasmStack)
		e.Detail = d
	case UpgradeFailed:
		d.Failure.WasmStack = slices.Clone(d.Failure.WasmStack)
		e.Detail = d
	case CapsuleRolledBack:
		d.Failure.WasmStack = slices.Clone(d.Failure.WasmStack)
		e.Detail = d
	case TriggerAnswered:
		d.Legs = maps.Clone(d.Legs)
		e.Detail = d
	}
	return e
}

// SystemStarted is the detail of: every capsule's first start has been decided.
type SystemStarted struct {
	Capsules uint32 `json:"capsules"`
}

// SystemStopping is the detail of: Serve was told to end.
type SystemStopping struct {
	Cause string `json:"cause"`
}

// SystemStopped is the detail of: Serve is about to return.
type SystemStopped struct {
	// LeftRunning holds the paths of actors that would not stop in time.
	LeftRunning []string `json:"left_running"`
}

// ActorRestarted is the detail of: one of our own actors failed.
type ActorRestarted struct {
	Cause string `json:"cause"`
	// Decision is "restarted", or "resumed with its state".
	Decision string `json:"decision"`
}

// CapsuleRejected is the detail of: a directory cannot become a capsule.
type CapsuleRejected struct {
	// ID is empty if it could not be read.
	ID        string `json:"id"`
	Directory string `json:"directory"`
	Problem   string `json:"problem"`
}

// CapsuleAdded is the detail of: a capsule was added while the system runs. Its
// first start follows.
type CapsuleAdded struct {
	Version string `json:"version"`
}

// CapsuleRemoved is the detail of: a capsule has stopped, and is not in the tree any
// longer. It is the last event about it.
type CapsuleRemoved struct {
	Version string `json:"version"`
}

// CapsuleUpgraded is the detail of: a new instance, prepared beside the running one,
// has taken its place. Calls that came before were served by the old one, later ones
// are served by the new one.
type CapsuleUpgraded struct {
	// From and To are the versions; they are equal if only an instance was replaced.
	From string `json:"from"`
	To   string `json:"to"`
	// Session of the new instance.
	Session string `json:"session"`
	// Took is the time from the beginning of the preparation.
	Took time.Duration `json:"took"`
	// ModuleHash is the BLAKE3 hash of To's module in hex.
	ModuleHash string `json:"module_hash"`
}

// UpgradeFailed is the detail of: a new instance could not take the place of the
// running one, which goes on.
type UpgradeFailed struct {
	From    string  `json:"from"`
	To      string  `json:"to"` // empty if the manifest could not be read
	Failure Failure `json:"failure"`
	// ModuleHash is the BLAKE3 hash of To's module in hex; empty if it was not read.
	ModuleHash string `json:"module_hash"`
}

// CapsuleRolledBack is the detail of: a new version has crashed soon after it had taken
// over, and the version before it is started again.
type CapsuleRolledBack struct {
	From    string  `json:"from"`
	To      string  `json:"to"`
	Failure Failure `json:"failure"`
	// ModuleHash is the BLAKE3 hash of To's module in hex.
	ModuleHash string `json:"module_hash"`
}

// CapsuleLoading is the detail of: a new instance is about to be made.
type CapsuleLoading struct {
	Version string `json:"version"`
}

// CapsuleStarting is the detail of: a run-loop capsule runs, and has not
// signalled yet.
type CapsuleStarting struct {
	Session string `json:"session"`
}

// CapsuleReady is the detail of: an instance serves.
type CapsuleReady struct {
	Session string `json:"session"`
	// Took is the time from the beginning of the load.
	Took time.Duration `json:"took"`
}

// ReadinessTimedOut is the detail of: a run loop has not signalled in time.
type ReadinessTimedOut struct {
	Waited time.Duration `json:"waited"`
}

// CapsuleCrashed is the detail of: an instance died.
type CapsuleCrashed struct {
	Failure Failure `json:"failure"`
	// During is the phase in which it died: "load", "call", "run", "killed".
	During string `json:"during"`
}

// RestartScheduled is the detail of: a capsule will be restarted.
type RestartScheduled struct {
	// Attempt counts the restarts since the capsule was last stable, from 1.
	Attempt uint32 `json:"attempt"`
	// BudgetSpent is how many restarts count now, including this one if it costs
	// one: each does for a Window of uptime.
	BudgetSpent uint32        `json:"budget_spent"`
	Budget      uint32        `json:"budget"`
	Window      time.Duration `json:"window"`
	Delay       time.Duration `json:"delay"`
	// Cause is "crash", "an operator's command" or "a trigger's deadline".
	Cause string `json:"cause"`
	// Supervisor is the path of the group that decided so, and Strategy is its strategy.
	// CausePath is the path of the capsule whose death is the reason: this one, or
	// another in the group. All are empty if a capsule is restarted alone by no group.
	Supervisor string `json:"supervisor"`
	Strategy   string `json:"strategy"`
	CausePath  string `json:"cause_path"`
}

// Because says who took a capsule down: "ledger crashed, rest_for_one of payments"; the
// cause alone if no other capsule did.
func (d *RestartScheduled) Because() string {
	if d.Cause != CauseStrategy {
		return d.Cause
	}
	return fmt.Sprintf("%s crashed, %s of %s", lastName(d.CausePath), d.Strategy, lastName(d.Supervisor))
}

// lastName returns the last part of a path.
func lastName(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// PoolScaled is the detail of: a capsule with a variable number of instances has got one
// more, or has stopped one. The path is the capsule's.
type PoolScaled struct {
	// Instance is the number of that instance; 0 for none.
	Instance uint32 `json:"instance"`
	// Instances is how many there are now.
	Instances uint32 `json:"instances"`
	// Cause is "calls wait", "idle" or "more instances were asked for".
	Cause string `json:"cause"`
}

// SupervisorStarted is the detail of: each capsule of a group serves, or has ended.
type SupervisorStarted struct {
	// Children is how many capsules serve.
	Children uint32 `json:"children"`
}

// SupervisorFailed is the detail of: a group has spent its budget, or can't bring a
// child back. Its capsules stop.
type SupervisorFailed struct {
	Cause string `json:"cause"`
	// CausePath is the path of the capsule whose death was the last.
	CausePath string `json:"cause_path"`
	// Decision is what follows: "restarted in 100ms".
	Decision string `json:"decision"`
	// Restarted says that the group is restarted: by its supervisor, or with it.
	Restarted bool `json:"restarted"`
}

// SupervisorStopped is the detail of: a group stops, because of a significant child or
// of an operator.
type SupervisorStopped struct {
	Cause string `json:"cause"`
}

// CapsuleFailed is the detail of: no restart is left, or policy allows none.
type CapsuleFailed struct {
	Failure Failure `json:"failure"`
	// Decision explains it: "restart budget spent: 5 restarts in 1m0s".
	Decision string `json:"decision"`
}

// CapsuleStopping is the detail of: a capsule was told to stop.
type CapsuleStopping struct {
	Cause string `json:"cause"`
}

// CapsuleStopped is the detail of: a capsule has stopped.
type CapsuleStopped struct {
	Cause string `json:"cause"`
}

// TriggerAnswered is the detail of: a trigger had its one answer. The path is
// that of the capsule that asked, or the hook router's for a trigger from
// outside. It is a sample: at most one a second, and a few more of those with a
// leg that was no answer.
type TriggerAnswered struct {
	Topic    string        `json:"topic"`
	Duration time.Duration `json:"duration"`
	// Legs counts this trigger's legs by the name of their outcome.
	Legs map[string]uint64 `json:"legs"`
	// StandsFor is how many triggers it represents: itself, and those since the
	// last event of this kind.
	StandsFor uint64 `json:"stands_for"`
	// Problem describes the first leg that was no answer: "flaky/greet: crashed: ...".
	Problem string `json:"problem"`
}

// LogSuppressed is the detail of: a capsule logs too fast. At most one a minute
// for each capsule.
type LogSuppressed struct {
	// Lines suppressed since the last event of this kind.
	Lines uint64 `json:"lines"`
	// Total suppressed since the daemon started.
	Total uint64 `json:"total"`
}

// DeadLetter is the detail of: a message on the event bus did not reach an interceptor.
// The path is that of the capsule that it was for, or the bus's if that is no single
// one. It is a sample: at most one a second for each path and reason.
type DeadLetter struct {
	Topic string `json:"topic"`
	// Publisher is the capsule that published it; empty for one from outside.
	Publisher string `json:"publisher"`
	// Reason is "depth": it follows from too many others; "backlog": its publisher has
	// too much under way; "full": the capsule's queue is full; "poison": the capsule has
	// failed over it too often.
	Reason string `json:"reason"`
	// Count is how many there were since the last event of this kind, with this one.
	Count uint64 `json:"count"`
}

// Why explains the reason to a person.
func (d DeadLetter) Why() string {
	switch d.Reason {
	case "depth":
		return "it follows from too many other messages: a loop?"
	case "backlog":
		return "its publisher has too much under way"
	case "full":
		return "the capsule's queue is full"
	case "poison":
		return "the capsule has failed over it too often"
	default:
		return d.Reason
	}
}

// ApprovalRequested is the detail of: a capsule waits for a person to approve something.
type ApprovalRequested struct {
	ID        string `json:"id"`
	Principal string `json:"principal"`
	Action    string `json:"action"`
	Resource  string `json:"resource"`
	Risk      string `json:"risk"`
}

// ApprovalDecided is the detail of: a capsule waits no longer for an approval.
type ApprovalDecided struct {
	ID       string `json:"id"`
	Action   string `json:"action"`
	Resource string `json:"resource"`
	// Decision is "approve", "approve_session", "approve_always" or "deny".
	Decision string `json:"decision"`
	// Cause is "a person", also "through capsule ID" or "on the bus"; "nobody answered in time" or "the call has ended".
	Cause string `json:"cause"`
}

// EventsLost is the detail of: the reader was too slow, and this many events
// before the next one are gone.
type EventsLost struct {
	Count uint64 `json:"count"`
}

// EpochChanged is the detail of: the reader asked for events after a number that
// this journal does not have, as after a restart of the daemon. The oldest event
// that is kept follows.
type EpochChanged struct {
	// Epoch of the journal that numbers the events that follow.
	Epoch string `json:"epoch"`
}

// Name returns the name of the event.
func (SystemStarted) Name() string     { return "system_started" }
func (SystemStopping) Name() string    { return "system_stopping" }
func (SystemStopped) Name() string     { return "system_stopped" }
func (ActorRestarted) Name() string    { return "actor_restarted" }
func (CapsuleRejected) Name() string   { return "capsule_rejected" }
func (CapsuleAdded) Name() string      { return "capsule_added" }
func (CapsuleRemoved) Name() string    { return "capsule_removed" }
func (CapsuleUpgraded) Name() string   { return "capsule_upgraded" }
func (UpgradeFailed) Name() string     { return "upgrade_failed" }
func (CapsuleRolledBack) Name() string { return "capsule_rolled_back" }
func (CapsuleLoading) Name() string    { return "capsule_loading" }
func (CapsuleStarting) Name() string   { return "capsule_starting" }
func (CapsuleReady) Name() string      { return "capsule_ready" }
func (ReadinessTimedOut) Name() string { return "readiness_timed_out" }
func (CapsuleCrashed) Name() string    { return "capsule_crashed" }
func (RestartScheduled) Name() string  { return "restart_scheduled" }
func (SupervisorStarted) Name() string { return "supervisor_started" }
func (SupervisorFailed) Name() string  { return "supervisor_failed" }
func (SupervisorStopped) Name() string { return "supervisor_stopped" }
func (PoolScaled) Name() string        { return "pool_scaled" }
func (CapsuleFailed) Name() string     { return "capsule_failed" }
func (CapsuleStopping) Name() string   { return "capsule_stopping" }
func (CapsuleStopped) Name() string    { return "capsule_stopped" }
func (TriggerAnswered) Name() string   { return "trigger_answered" }
func (LogSuppressed) Name() string     { return "log_suppressed" }
func (DeadLetter) Name() string        { return "dead_letter" }
func (ApprovalRequested) Name() string { return "approval_requested" }
func (ApprovalDecided) Name() string   { return "approval_decided" }
func (EventsLost) Name() string        { return "events_lost" }
func (EpochChanged) Name() string      { return "epoch_changed" }

// The causes of restarts, in RestartScheduled.Cause.
const (
	CauseCrash     = "crash"
	CauseDeadline  = "a trigger's deadline"
	CauseBudget    = "a trigger's budget"
	CauseAbandoned = "a caller that gave up"
	CauseOperator  = "an operator's command"
	CauseStrategy  = "another capsule of its group"
	CauseRollback  = "a rollback"
)
