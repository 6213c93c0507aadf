package manifest

import "time"

// FileName is the name of the manifest in a capsule's directory.
const FileName = "Capsule.toml"

// HostVersion is the version of Astrid that must satisfy a capsule's `astrid-version`.
const HostVersion = "0.5.0"

// MaxQueue is the maximum `queue` in a manifest.
const MaxQueue = 65536

// Manifest is the content of a Capsule.toml. It is immutable once loaded.
type Manifest struct {
	Dir  string // the capsule's directory
	File string // the manifest's path

	Package      Package
	Components   []Component // the first one runs
	Interceptors []Interceptor
	Topics       []Topic // the durable ones
	Commands     []Command
	Capabilities Capabilities
	Env          map[string]EnvVar
	Imports      []Import // by namespace, then name
	Exports      []Export // by namespace, then name
	Supervision  Supervision
	State        State
	Build        Build
	Assets       []Asset

	// Digest is the BLAKE3 hash of the text, in hexadecimal digits.
	Digest string

	// Warnings are the parts of the manifest that have no effect.
	Warnings Problems

	lines map[string]int // line of each key that was read
}

// ID returns the capsule's id, which is its package's name.
func (m *Manifest) ID() string { return m.Package.Name }

// Problem returns a problem that is found after loading, at a key such as "package.name".
func (m *Manifest) Problem(key, message string) Problem {
	return Problem{File: m.File, Line: m.lines[key], Key: key, Message: message}
}

// Package is the table [package].
type Package struct {
	Name          string // one or more of a-z 0-9 -
	Version       string // a full semantic version
	Description   string
	AstridVersion string // a requirement that HostVersion satisfies, or ""

	// Include and Exclude are patterns of path.Match for files that belong to the capsule,
	// or that do not, beside those that the manifest names.
	Include, Exclude []string
}

// Component is one [[component]].
type Component struct {
	ID   string
	File string // relative to the capsule's directory, and inside it
	Line int    // of File in the manifest
	Hash string // BLAKE3 in hex, or ""
	Type string // "executable", "library", or "" for executable
}

// Interceptor is one [[interceptor]].
type Interceptor struct {
	Event    string // a topic pattern
	Action   string
	Priority uint32 // lower runs earlier
	// Durable: it receives each message of a durable topic at least once. Attempts is how
	// often a message may fail; 0 is not set.
	Durable  bool
	Attempts uint32
	// OrderedBy has calls go to the same instance of a pool, in order, if they agree in
	// "principal" or in the value that a JSON pointer into the payload points to; "" for
	// none.
	OrderedBy string
}

// Topic is one [[topic]] that sets `durable`: whether its messages are kept for durable
// interceptors.
type Topic struct {
	Name    string // without a `*`
	Durable bool
	// Age is how long messages are kept, and Bytes how many; 0 is not set.
	Age   time.Duration
	Bytes uint64
}

// Limits of durable topics in a manifest.
const (
	MaxTopics     = 16
	MaxTopicBytes = 1 << 30
	MaxAttempts   = 1000
)

// Command is one [[command]]: a slash command that the capsule provides.
type Command struct {
	Name        string
	Description string
}

// MaxInterceptors is the maximum number of interceptors in one manifest. Each one is called
// by every trigger that matches it, so more could let one capsule fill all queues.
const MaxInterceptors = 1024

// DefaultPriority is the priority of an interceptor that sets none.
const DefaultPriority = 100

// Capabilities is the table [capabilities], combined with those of the components.
type Capabilities struct {
	Uplink               bool
	AllowPromptInjection bool

	Net, KV, FSRead, FSWrite, HostProcess, NetBind []string
	IPCPublish, IPCSubscribe, Identity             []string
}

// EnvVar is one [env.NAME].
type EnvVar struct {
	Type        string
	Request     string
	Description string
	// Default is the value in the form of astrid_get_config: a string raw, anything else
	// as compact JSON. It is nil if there is none.
	Default     *string
	EnumValues  []string
	Placeholder string
}

// Import is an interface that another capsule must export.
type Import struct {
	Namespace, Name string
	Requirement     string // a version requirement in Cargo's syntax: "^1.0"
	Optional        bool
}

// Export is an interface that the capsule provides.
type Export struct {
	Namespace, Name string
	Version         string // a full semantic version
}

// State is the table [state].
type State struct {
	Quota *uint64 // the most that the capsule may keep, in bytes; nil is not set
}

// Supervision is the table [supervision]. A nil field, or an empty Restart, is not set.
type Supervision struct {
	Restart        string // permanent, transient or temporary
	Budget         *int   // maximum restarts in Window; 0 means none
	Window         *time.Duration
	BackoffInitial *time.Duration
	BackoffMax     *time.Duration
	LoadTimeout    *time.Duration // limit for one load: reading, compiling and initialising
	CallTimeout    *time.Duration
	StopTimeout    *time.Duration
	Queue          *int // 1 to MaxQueue
	// Rollback: if a version that an upgrade has brought crashes within Window, the one
	// before it is started again. nil means false.
	Rollback *bool
	// Instances is how many instances run; nil means one.
	Instances *Instances
	// IdleTimeout is how long an instance beyond Instances.Min is idle before it is stopped.
	IdleTimeout *time.Duration

	CallReductions      *uint64 // limit for one call; 0 means no limit
	ReductionsPerSecond *uint64 // limit for all calls; 0 means no limit
}

// Instances says how many instances of a capsule run: from Min to Max, as calls need
// them. Both are 0 for one for each processor that the host may use.
type Instances struct{ Min, Max int }

// MaxInstances is the maximum of `instances`.
const MaxInstances = 1024

// Build is the table [build].
type Build struct {
	// Command is a line of shell that builds the module, in the capsule's directory. The
	// host never runs it: only a developer's tools do. "" if there is none.
	Command string
}
