package manifest

import "time"

// FileName is a manifest's name in its capsule's directory.
const FileName = "Capsule.toml"

// HostVersion is the version of Astrid that a capsule's `astrid-version` is
// held against.
const HostVersion = "0.5.0"

// MaxQueue is the largest `queue` that a manifest may ask for.
const MaxQueue = 65536

// Manifest is what a Capsule.toml says. It is not changed once loaded.
type Manifest struct {
	Dir  string // the capsule's directory
	File string // the manifest's path

	Package      Package
	Components   []Component // the first is the one that runs
	Interceptors []Interceptor
	Capabilities Capabilities
	Env          map[string]EnvVar
	Imports      []Import // by namespace, then name
	Exports      []Export // by namespace, then name
	Supervision  Supervision

	// Warnings are what the manifest says in vain.
	Warnings Problems

	lines map[string]int // of the keys that were read
}

// ID is the capsule's id: its package's name.
func (m *Manifest) ID() string { return m.Package.Name }

// Problem is a fault that shows only later, at a key as problems name it.
func (m *Manifest) Problem(key, message string) Problem {
	return Problem{File: m.File, Line: m.lines[key], Key: key, Message: message}
}

// Package is the table [package].
type Package struct {
	Name          string // one or more of a-z 0-9 -
	Version       string // a full semantic version
	Description   string
	AstridVersion string // a requirement that HostVersion satisfies, or ""
}

// Component is one [[component]].
type Component struct {
	ID   string
	File string // relative to the capsule's directory, and inside it
	Line int    // of File in the manifest
	Hash string // BLAKE3 in hex, or ""
	Type string // executable (also where it says nothing) or library
}

// Interceptor is one [[interceptor]].
type Interceptor struct {
	Event    string // a topic pattern
	Action   string
	Priority uint32 // lower is earlier
}

// MaxInterceptors bounds those of one manifest: each is a leg of every trigger that
// matches it, and so one capsule could otherwise fill the queues of all.
const MaxInterceptors = 1024

// DefaultPriority is that of an interceptor which names none.
const DefaultPriority = 100

// Capabilities is the table [capabilities], and those of the components added to it.
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
	// Default is the value as astrid_get_config hands it out: a string raw,
	// anything else as compact JSON. It is nil where there is none.
	Default     *string
	EnumValues  []string
	Placeholder string
}

// Import is an interface that the capsule wants another one to export.
type Import struct {
	Namespace, Name string
	Requirement     string // of its semantic version, as Cargo writes it: "^1.0"
	Optional        bool
}

// Export is an interface that the capsule offers.
type Export struct {
	Namespace, Name string
	Version         string // a full semantic version
}

// Supervision is the table [supervision]. A nil field, or an empty Restart, was
// not said.
type Supervision struct {
	Restart        string // permanent, transient or temporary
	Budget         *int   // restarts in Window; 0 is none
	Window         *time.Duration
	BackoffInitial *time.Duration
	BackoffMax     *time.Duration
	LoadTimeout    *time.Duration // of one load: reading, compiling and initialising
	CallTimeout    *time.Duration
	StopTimeout    *time.Duration
	Queue          *int // 1 to MaxQueue

	CallReductions      *uint64 // what one call may spend; 0 is no bound
	ReductionsPerSecond *uint64 // what all its calls may; 0 is no bound
}
