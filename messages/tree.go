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
	// StoreBytes is the size of the file with all durable state; 0 without one.
	StoreBytes uint64
	// StoreCommits counts how long its commits took; each makes any number of
	// StoreTransactions durable.
	StoreCommits      Histogram
	StoreTransactions uint64
	// Supervisors are the groups of capsules, each before those in it.
	Supervisors []*Supervisor
	Bus         Bus
}

// Bus is the event bus in a snapshot.
type Bus struct {
	// Delivered counts the messages that subscriptions have received; Lagged those that
	// they have lost because they were read too slowly.
	Delivered, Lagged uint64
	// Steps counts the calls of interceptors, by outcome.
	Steps map[Outcome]uint64
	// DeadLetters counts them by reason; see DeadLetter.
	DeadLetters map[string]uint64
	// Topics are sorted by name: the first 100 that were published to, and "(other)".
	Topics []BusTopic
	// Subscriptions are at most 1,000 of SubscriptionCount: first those with the most
	// messages that wait.
	Subscriptions     []BusSubscription
	SubscriptionCount uint64
	// Durable are the durable topics, by name, with those of their dead letters.
	Durable []DurableTopic
}

// DurableTopic is a topic whose messages are kept until its durable subscriptions have
// answered them, as long as it keeps them.
type DurableTopic struct {
	Name string
	// Declared: new messages are kept. If not, there are only those from before.
	Declared bool
	// KeepAge is how long messages are kept, 0 for ever; KeepBytes how many.
	KeepAge   time.Duration
	KeepBytes uint64
	// Messages and Bytes are what is kept now; Last counts the messages so far.
	Messages, Bytes, Last uint64
	Subscriptions         []DurableSubscription
}

// DurableSubscription is an interceptor that receives every message of a durable topic.
type DurableSubscription struct {
	Capsule, Action string
	// Position of the message that was answered last; Lag is how many come after it.
	Position, Lag uint64
	// Attempts is how often the next one has failed.
	Attempts uint32
}

// BusTopic counts the messages of one topic.
type BusTopic struct {
	Name     string
	Messages uint64
	Bytes    uint64 // of payloads
	// Receivers counts deliveries to subscriptions and starts of interceptors.
	Receivers uint64
	// Last is when the last message was published, and Publisher the capsule that did;
	// empty for one from outside. Publishers are the first 16 that did, in order.
	Last       time.Time
	Publisher  string
	Publishers []string
}

// BusSubscription is one subscription.
type BusSubscription struct {
	Pattern string
	Capsule string // empty for a reader that is no capsule
	Waiting uint32
	Lost    uint64
}

// Supervisor is a group of capsules, as a snapshot shows it.
type Supervisor struct {
	// Path is its place in the tree: "capsules/payments".
	Path string
	Name string
	// Strategy is "one_for_one", "one_for_all" or "rest_for_one".
	Strategy string
	// Children are ids of capsules and names of groups, in start order.
	Children    []string
	Significant []string
	// AutoShutdown is "never", "any" or "all".
	AutoShutdown string
	// Budget is how many deaths of children are allowed in Window; BudgetSpent counts
	// those of the last Window, as of the snapshot.
	Budget, BudgetSpent uint32
	Window              time.Duration
	// State is one of the states below; Since is when the group entered it, Reason
	// explains it.
	State  string
	Since  time.Time
	Reason string
	// Restarts counts how often it has failed and was restarted.
	Restarts uint64
}

// The states of a group.
const (
	SupervisorStarting   = "starting" // its first capsules are on their way
	SupervisorRunning    = "running"
	SupervisorRestarting = "restarting" // it has failed, and is restarted
	SupervisorHasFailed  = "failed"     // for good
	SupervisorHasStopped = "stopped"
)

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
