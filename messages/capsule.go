package messages

import (
	"maps"
	"slices"
	"time"
)

// Interceptor is one [[interceptor]] of a capsule's manifest: the topics that it
// listens to, and the action that answers them.
type Interceptor struct {
	// Event is a topic pattern: dot-separated segments, `*` matches any one.
	Event  string
	Action string
	// Priority orders legs; lower is earlier.
	Priority uint32
	// Durable: it receives every message of the durable topics that match, at least
	// once, each up to Attempts times; 0 means actors.DefaultAttempts.
	Durable  bool
	Attempts uint32
	// OrderedBy has the calls of a pool that agree in something go to the same instance,
	// in order: OrderedByPrincipal, or a JSON pointer into the payload; "" for none.
	OrderedBy string
}

// OrderedByPrincipal is an Interceptor's OrderedBy: calls for one principal are ordered.
const OrderedByPrincipal = "principal"

// Failure is why an instance died, or could not be started.
type Failure struct {
	// Kind is a capsulehost.Kind: trap, exit, timeout ...; or "panic" for a bug in
	// the host, "bad_manifest" for a manifest that was rejected.
	Kind string `json:"kind"`
	// Message is one line for a person.
	Message string `json:"message"`
	// WasmStack holds the frames of the guest's stack, innermost first; nil if
	// there are none.
	WasmStack []string `json:"wasm_stack"`
	// At is the time of the failure.
	At time.Time `json:"at"`
	// Stderr is the part of the guest's standard error that explains the failure,
	// at most 4 KiB.
	Stderr string `json:"stderr"`
}

func (f *Failure) clone() *Failure {
	if f == nil {
		return nil
	}
	c := *f
	c.WasmStack = slices.Clone(f.WasmStack)
	return &c
}

// Capsule is one capsule as a snapshot shows it.
type Capsule struct {
	// Path is the capsule's place in the tree: "capsules/<id>".
	Path    string
	ID      string
	Version string
	State   CapsuleState
	// Generation counts the loads of this capsule, from 1.
	Generation uint64
	// Session is the session UUID; empty while nothing is loaded.
	Session string
	// Restarts counts those by the supervisor since the daemon started. An
	// operator's restart is not one.
	Restarts uint64
	// LastFailure is nil if there was none.
	LastFailure *Failure
	// Queue is the number of calls that wait.
	Queue uint32
	// Calls counts the guest calls since the daemon started, of all generations.
	Calls uint64
	// Since is when the capsule entered its state.
	Since time.Time
	// Uptime is how long the current instance has been Ready; 0 if it is not.
	Uptime       time.Duration
	Interceptors []Interceptor
	RunLoop      bool
	// Restart is the restart mode: permanent, transient or temporary.
	Restart string
	// Budget is how many restarts are allowed in Window; BudgetSpent counts those
	// of the last Window of uptime, as of the snapshot.
	Budget      uint32
	BudgetSpent uint32
	Window      time.Duration
	// RestartAt is when the next restart is due; zero if none is.
	RestartAt time.Time
	// Decided reports whether the first start has been decided: the capsule is
	// Ready or Failed, or its readiness timed out.
	Decided bool
	// Reason explains the state to a person: "stopped by an operator".
	Reason string
	// Busy is how long the current guest call has been running; 0 if there is
	// none. A run loop is no call.
	Busy time.Duration
	// MemoryBytes is the memory of the current instance; 0 without one.
	MemoryBytes uint64
	// MemoryPeakBytes is the most that any of its instances had.
	MemoryPeakBytes uint64
	// MemoryLimitBytes bounds the guest's memory. The memory that it shares with
	// its host has the same limit once more.
	MemoryLimitBytes uint64
	// Reductions counts those of its guests since the daemon started.
	Reductions uint64
	// KernelBytes counts the bytes that the host has copied to and from the
	// guests' shared memory.
	KernelBytes uint64
	// CallDuration counts how long guest calls took. A run loop is not timed.
	CallDuration Histogram
	// QueueWait counts how long calls waited between their trigger and their
	// start, including those that were given up by then.
	QueueWait Histogram
	// Crashes counts them by the kind of their failure.
	Crashes map[string]uint64
	// RestartsByKind counts restarts by the kind of the failure before them; an
	// operator's under "operator".
	RestartsByKind map[string]uint64
	// LogSuppressed counts the log lines that the rate limit kept out.
	LogSuppressed uint64
	// ModuleHash is the BLAKE3 hash of its module in hex; empty until that has
	// been read.
	ModuleHash string
	// StateBytes is how much durable state it keeps, in bytes of its keys and values;
	// StateQuota is the limit.
	StateBytes uint64
	StateQuota uint64
	// Because says who took it down, if the last restart was for another capsule of its
	// group: "ledger crashed, rest_for_one of payments". Empty if not.
	Because string
	// Directory it was loaded from; empty for one that the program brought along.
	Directory string
	// InstancesMin and InstancesMax are how many instances a pool has; both are 0 for a
	// capsule without a pool. Of a pool, the fields above sum up all instances: the state
	// is Ready while one of them serves, Session and Uptime are of the first that does.
	InstancesMin, InstancesMax uint32
	// Instances are those of a pool, by number; nil without one.
	Instances []Instance
}

// Instance is one instance of a pool.
type Instance struct {
	// Number counts the instances of a pool from 1; Path is "capsules/<id>#<number>".
	Number      uint32
	Path        string
	State       CapsuleState
	Generation  uint64
	Session     string
	Since       time.Time
	Reason      string
	Queue       uint32
	Calls       uint64
	Busy        time.Duration
	MemoryBytes uint64
	RestartAt   time.Time
}

// Clone returns a deep copy.
func (c *Capsule) Clone() *Capsule {
	out := *c
	out.LastFailure = c.LastFailure.clone()
	out.Instances = slices.Clone(c.Instances)
	out.Interceptors = slices.Clone(c.Interceptors)
	out.CallDuration, out.QueueWait = c.CallDuration.clone(), c.QueueWait.clone()
	out.Crashes, out.RestartsByKind = maps.Clone(c.Crashes), maps.Clone(c.RestartsByKind)
	return &out
}

// CapsuleDetail is one capsule as its own page shows it.
type CapsuleDetail struct {
	Capsule     *Capsule
	Description string
	// Capabilities are those that the manifest asks for: "uplink", "fs_read: /var/data".
	Capabilities []string
	Imports      []Interface
	Exports      []Interface
	Env          []EnvVariable
	CallTimeout  time.Duration
	StopTimeout  time.Duration
	// QueueLimit is how many calls may wait.
	QueueLimit     uint32
	BackoffInitial time.Duration
	BackoffMax     time.Duration
	// Failures are the last ones, oldest first, each with the decision on it.
	Failures []FailureRecord
	// RecentCalls are the last ones, oldest first.
	RecentCalls []RecentCall
	// Log holds the last lines, oldest first.
	Log []LogLine
	// Module is the file of its module; empty for one that the program brought along.
	Module string
	// Manifest is the file of its manifest; empty for one that the program brought along.
	Manifest    string
	LoadTimeout time.Duration
	// The limits of reductions for one call, and per second; 0 means none.
	CallReductions, ReductionsPerSecond uint64
	// HTTP holds the limits of its HTTP requests; nil if its manifest grants no host.
	HTTP *HTTPLimits
	// Versions are the last changes of its version, oldest first.
	Versions []VersionRecord
}

// HTTPLimits are the limits of one instance's HTTP requests.
type HTTPLimits struct {
	// Requests, and streams among them, may be open at once; each follows at most
	// Redirects.
	Requests, Streams, Redirects uint32
	// RequestBytes limits a request, ResponseBytes a response that is not streamed.
	RequestBytes, ResponseBytes uint64
}

// VersionRecord is one change of a capsule's version, or an attempt.
type VersionRecord struct {
	At time.Time
	// Change is the name of the event: "capsule_added" also for a capsule that was there
	// from the start, "capsule_upgraded", "upgrade_failed", "capsule_rolled_back" or
	// "capsule_removed".
	Change string
	// Version is the one that the change is to; of a failed upgrade the one that stays
	// out. Previous is the one before it; empty for none.
	Version, Previous string
	// ModuleHash is the BLAKE3 hash of Version's module in hex; empty if it was not read.
	ModuleHash string
	// Reason explains a failure or a roll back.
	Reason string
}

// Interface is one that a capsule imports or exports.
type Interface struct {
	Namespace string
	Name      string
	// Version is a requirement for an import, as "^1.0"; a version for an export.
	Version  string
	Optional bool
}

// EnvVariable is a configuration value of a capsule.
type EnvVariable struct {
	Name        string
	Type        string
	Description string
	// Set reports whether it has a value.
	Set bool
	// Value is "***" if it may be a secret: its type says so, its name does, or the
	// manifest does not declare it.
	Value string
}

// FailureRecord is one death of a capsule.
type FailureRecord struct {
	Generation uint64
	Failure    Failure
	// During is the phase in which it died: "load", "call", "run", "killed".
	During string
	// Decision of the supervisor, for a person; empty until there is one.
	Decision string
}

// RecentCall is a guest call that has ended.
type RecentCall struct {
	// At is when it ended.
	At        time.Time
	Topic     string
	Action    string
	Outcome   Outcome
	Duration  time.Duration
	QueueWait time.Duration
	// Generation of the instance that was called.
	Generation uint64
	// Reason explains every outcome that is no answer.
	Reason string
	// FromCapsule is the capsule that asked; empty for a trigger from outside.
	FromCapsule string
}

// LogLine is a line of a capsule's log.
type LogLine struct {
	// Sequence counts the capsule's lines from 1, without suppressed ones.
	Sequence uint64
	At       time.Time
	// Level is TRACE, DEBUG, INFO, WARN or ERROR.
	Level string
	// Principal on whose behalf the capsule ran; empty for none.
	Principal string
	// Message as the guest wrote it: escape it before showing it.
	Message string
	// Lost counts the lines before this one that the reader has missed.
	Lost uint64
}
