package messages

import "time"

// Tree is a snapshot of the whole system at one moment. It belongs to the
// caller: nothing in it is shared.
type Tree struct {
	At time.Time
	// Started is when Serve was called; zero before.
	Started time.Time
	// Sequence is the number of the last event that this snapshot contains.
	Sequence uint64
	// Epoch identifies the journal that numbers the events: a daemon that starts
	// again counts from 1 under a new one.
	Epoch string
	// Capsules are in start order.
	Capsules []*Capsule
	// Triggers counts those from outside that were accepted.
	Triggers     uint64
	OpenTriggers uint64
	// SystemRestarts counts restarts of our own actors: "registry", "hook-router",
	// "capsules".
	SystemRestarts map[string]uint64
	Stopping       bool
	// NestedTriggers counts those that capsules have made, in their guests.
	NestedTriggers uint64
	// Legs counts the legs of answered triggers, nested ones included, by outcome.
	Legs map[Outcome]uint64
	// TriggerDuration counts the time from a trigger to its answer, of those from
	// outside; NestedTriggerDuration of those that capsules made.
	TriggerDuration       Histogram
	NestedTriggerDuration Histogram
	// EventsLost counts events that were no longer kept when a reader came to them.
	EventsLost uint64
	// LogSuppressed counts the log lines kept out, of all capsules.
	LogSuppressed uint64
	// WaitEdges is how many legs capsules wait for, inside their guests.
	WaitEdges uint64
	// ProcessMemoryBytes is the process's memory, guests included.
	ProcessMemoryBytes uint64
	Goroutines         uint64
	Settings           Settings
	// EventsFileLost counts events that could not be written to the events file.
	EventsFileLost uint64
	// Principal whose capsules these are.
	Principal string
	// Rejected are directories that cannot become a capsule and have no entry in
	// Capsules: the first 100.
	Rejected []CapsuleRejected
}

// Settings are the system's limits; a capsule's manifest may override some for it.
type Settings struct {
	Strategy         string // "one for one"
	CallTimeout      time.Duration
	TriggerTimeout   time.Duration
	ReadyTimeout     time.Duration
	StopTimeout      time.Duration
	LoadTimeout      time.Duration
	Queue            uint32
	OpenTriggers     uint64
	MemoryLimitBytes uint64
	EventsKept       uint32
}
