package supervisor

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// Config configures a Supervisor. Its zero value is useful: it runs the default
// principal's capsules with the defaults below, and logs nothing. [New] copies it. The
// [supervision] table of a capsule's manifest overrides the settings that it names, and
// CapsuleSettings override both.
type Config struct {
	// Home is Astrid's directory; "" means $ASTRID_HOME, else ~/.astrid.
	Home string
	// Principal is the owner of the capsules; "" means "default".
	Principal string
	// CapsuleDirs are directories of capsules, or directories that contain such
	// directories; they replace discovery. Empty means
	// <home>/home/<principal>/.local/capsules, then ./.astrid/capsules.
	CapsuleDirs []string
	// Capsules run in addition to those in CapsuleDirs. They replace discovery, too. If
	// a capsule in CapsuleDirs has the same name, the one given here runs.
	Capsules []Capsule
	// WrapLoad, if not nil, wraps every capsule's load. It can put itself between a
	// guest, its callers and its host. Tests inject faults with it; see package
	// supervisortest.
	WrapLoad func(capsule string, load LoadFunc) LoadFunc
	// AllowUnverified also loads modules without a recorded hash (see `astrid-actors
	// seal`). A wrong hash is still refused.
	AllowUnverified bool
	// SocketPath is the value that guests read as ASTRID_SOCKET_PATH; "" means
	// <home>/run/actors.sock. The Supervisor opens no socket itself.
	SocketPath string

	// Workspace is the directory that capsules see as cwd://, if their manifests grant
	// it. What they write goes into layers of their own: see package files. "" means
	// that there is none.
	Workspace string
	// WorkspaceQuota limits the layer of each capsule above the workspace; HomeQuota
	// limits home:// and, separately, /tmp, for all capsules of the principal together.
	WorkspaceQuota, HomeQuota FileQuota

	// HTTPNetworks are networks that capsules may reach by HTTP although they are not
	// public, such as 10.0.0.0/8 or 127.0.0.1/32: see package egress. A capsule's manifest
	// must also grant the host.
	HTTPNetworks []netip.Prefix
	// HTTPTransport, if not nil, sends the capsules' HTTP requests, for example through a
	// proxy. Which addresses it connects to is then its own responsibility; the hosts of a
	// manifest are still checked. It must return when a request's context ends.
	HTTPTransport http.RoundTripper

	// AllowHostProcess lets capsules run the programs of this machine that their manifests
	// name in host_process: see package processes.
	AllowHostProcess bool

	// HostFunctions are functions of this program that every capsule may import, besides
	// the system calls.
	HostFunctions []capsulehost.HostFunction

	// CacheDir keeps compiled modules between starts. Several programs of one user may
	// share it; "" means <home>/cache. Entries are authenticated: a damaged one is
	// compiled again, so damage only costs time.
	CacheDir string

	// CompileCommand, if not empty, is a command, a path and its arguments, that compiles
	// large modules in a process of its own, with a low priority, so that the load of one
	// does not slow down the calls of others. A program that names itself must call
	// capsulehost.ServeCompile when it is started with these arguments, and do nothing
	// else; see docs/embedding.md. If the command is of no use, a warning says so, and
	// modules are compiled in this process, as without one.
	CompileCommand []string
	// CompileWorkers is the number of goroutines that compile one module in this process; 0
	// means 1. More are faster, and leave less to the capsules that run.
	CompileWorkers int

	// Store keeps the durable state of the capsules; nil means a file of bbolt,
	// <home>/state/actors.db, which Serve opens, and closes when it returns. Serve fails at
	// once if another process has opened the file, or if the file is damaged. See
	// store.NewMemory for state that ends with the program.
	Store store.Store
	// StateDurability says when a write to the file counts as done; "" means
	// store.DurabilityCommit.
	StateDurability store.Durability
	// StateQuota is how much state a capsule may keep, in bytes of its keys and values; 0
	// means 64 MiB. The [state] table of its manifest overrides it, and CapsuleSettings both.
	StateQuota uint64

	// CallTimeout limits one guest call; 0 means 5 minutes. A call that exceeds it is a
	// crash. Run-loop and uplink capsules have no such limit.
	CallTimeout time.Duration
	// LoadTimeout limits one load: reading, compiling and initialising a module; 0 means
	// 2 minutes. A load that exceeds it is a crash.
	LoadTimeout time.Duration
	// TriggerTimeout is the deadline of a trigger whose context has none, and of
	// triggers that capsules send; 0 means 30 seconds.
	TriggerTimeout time.Duration
	// ReadyTimeout limits how long the start of the next capsules waits for a load, or
	// for a run-loop capsule to signal that it is ready; 0 means 500 milliseconds.
	ReadyTimeout time.Duration
	// StopTimeout limits how long a running call may continue after its capsule or the
	// whole system is told to stop; 0 means 10 seconds.
	StopTimeout time.Duration
	// CallReductions limits the reductions of one guest call. A reduction is a function
	// entry or a loop iteration; the count is the same on every machine. A call that
	// exceeds the limit is a crash. 0 means no limit.
	CallReductions uint64
	// ReductionsPerSecond limits the reductions of a capsule per second, over all its
	// calls. A call that is ahead of the limit waits. 0 means no limit.
	ReductionsPerSecond uint64
	// TriggerReductions limits the reductions of each leg of a trigger, including
	// everything that the leg triggers in turn. A call that exceeds it is ended, which
	// does not count against the capsule's restart budget. 0 means no limit.
	TriggerReductions uint64
	// Queue limits the calls that wait at one capsule; 0 means 256.
	Queue int
	// OpenTriggers limits the triggers that are open at once; 0 means 10,000.
	OpenTriggers int
	// MemoryLimitPages limits one guest's memory, in pages of 64 KiB; 0 means
	// 1,024 (64 MiB).
	MemoryLimitPages uint32
	// Restart decides whether and when a capsule that died is restarted.
	Restart RestartPolicy
	// CapsuleSettings are the operator's settings of single capsules, by their id.
	CapsuleSettings map[string]CapsuleSettings
	// ReadConfig, if not nil, reads the program's own configuration again, for ReloadConfig.
	// It is called by one goroutine at a time.
	ReadConfig func() (Configuration, error)
	// Topics are durable topics: their messages are kept for durable interceptors. Those of
	// a capsule's manifest have the same form, and the ones given here override them: one
	// that is not Durable keeps nothing, whatever a manifest says. A topic keeps messages of
	// seven days, and at most 1 GiB of them, if it sets neither Age nor Bytes.
	Topics []Topic
	// Supervisors are groups of capsules, each with a strategy of its own. A capsule in no
	// group is restarted alone.
	Supervisors []Group
	// OnFailure decides what follows when a capsule or group that is in no other group
	// fails for good; "" means KeepServing.
	OnFailure OnFailure
	// EventsKept is the number of past events that [Supervisor.Events] can return; 0
	// means 4,096.
	EventsKept int
	// EventsFile, if not empty, is the path of a file that receives every event, one
	// JSON object a line, as `astrid-actors events --json` prints them. The file is
	// appended to. Before it would exceed EventsFileSize it is renamed to EventsFile.1
	// (then .2, .3). Nothing waits for the disk: events that are not written in time are
	// lost, and the file then records how many.
	EventsFile string
	// EventsFileSize is in bytes; 0 means 16 MiB.
	EventsFileSize int64

	// Registerer, if not nil, receives the metrics of package metrics while Serve runs.
	// For several supervisors, wrap it with a label for each:
	// prometheus.WrapRegistererWith.
	Registerer prometheus.Registerer
	// TracerProvider, if not nil, receives a span for each trigger. Below it is a span
	// for each leg, below that one for the guest's call, and below that the triggers
	// that the guest sends. A trigger's parent is the span of the context that Trigger
	// receives.
	TracerProvider trace.TracerProvider
	// Log receives events and problems; nil logs nothing. For a zerolog.Logger l it is
	// slog.New(zerolog.NewSlogHandler(l)).
	Log *slog.Logger

	overrides *overrides // CapsuleSettings; nil until New
}

// withDefaults replaces every zero value by its default.
func (c Config) withDefaults() Config {
	orDefault := func(d *time.Duration, otherwise time.Duration) {
		if *d == 0 {
			*d = otherwise
		}
	}
	if c.Principal == "" {
		c.Principal = home.DefaultPrincipal
	}
	orDefault(&c.CallTimeout, 5*time.Minute)
	orDefault(&c.LoadTimeout, 2*time.Minute)
	orDefault(&c.TriggerTimeout, 30*time.Second)
	orDefault(&c.ReadyTimeout, 500*time.Millisecond)
	orDefault(&c.StopTimeout, 10*time.Second)
	c.Queue = cmp.Or(c.Queue, 256)
	c.OpenTriggers = cmp.Or(c.OpenTriggers, 10_000)
	c.MemoryLimitPages = cmp.Or(c.MemoryLimitPages, capsulehost.DefaultMemoryLimitPages)
	c.StateQuota = cmp.Or(c.StateQuota, 64<<20)
	c.EventsKept = cmp.Or(c.EventsKept, 4096)
	c.EventsFileSize = cmp.Or(c.EventsFileSize, 16<<20)
	c.Restart = c.Restart.WithDefaults()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Topics, c.CompileCommand = slices.Clone(c.Topics), slices.Clone(c.CompileCommand)
	c.overrides = newOverrides(c.CapsuleSettings, c.Topics)
	return c
}

// problems returns every invalid setting, in a configuration as the caller gave it.
func (c *Config) problems() []error {
	var found []error
	notNegative := func(field string, negative bool, value any) {
		if negative {
			found = append(found, fmt.Errorf("config: %s is %v: it can't be negative", field, value))
		}
	}
	notNegative("CallTimeout", c.CallTimeout < 0, c.CallTimeout)
	notNegative("LoadTimeout", c.LoadTimeout < 0, c.LoadTimeout)
	notNegative("TriggerTimeout", c.TriggerTimeout < 0, c.TriggerTimeout)
	notNegative("ReadyTimeout", c.ReadyTimeout < 0, c.ReadyTimeout)
	notNegative("StopTimeout", c.StopTimeout < 0, c.StopTimeout)
	notNegative("CompileWorkers", c.CompileWorkers < 0, c.CompileWorkers)
	notNegative("Queue", c.Queue < 0, c.Queue)
	notNegative("OpenTriggers", c.OpenTriggers < 0, c.OpenTriggers)
	notNegative("EventsKept", c.EventsKept < 0, c.EventsKept)
	notNegative("EventsFileSize", c.EventsFileSize < 0, c.EventsFileSize)
	for field, q := range map[string]FileQuota{"WorkspaceQuota": c.WorkspaceQuota, "HomeQuota": c.HomeQuota} {
		notNegative(field+".Bytes", q.Bytes < 0, q.Bytes)
		notNegative(field+".Files", q.Files < 0, q.Files)
	}
	if d := c.StateDurability; d != "" && d != store.DurabilityCommit && d != store.DurabilityInterval {
		found = append(found, fmt.Errorf("config: StateDurability is %q: it must be %q or %q", d, store.DurabilityCommit, store.DurabilityInterval))
	}
	if c.MemoryLimitPages > capsulehost.MaxMemoryLimitPages {
		found = append(found, fmt.Errorf("config: MemoryLimitPages is %d: WebAssembly has at most %d",
			c.MemoryLimitPages, capsulehost.MaxMemoryLimitPages))
	}
	found = append(found, c.Restart.Problems()...)
	found = append(found, topicProblems(c.Topics)...)
	if !slices.Contains([]OnFailure{"", KeepServing, Exit}, c.OnFailure) {
		found = append(found, fmt.Errorf("config: OnFailure is %q: it is %s or %s", c.OnFailure, KeepServing, Exit))
	}
	for _, id := range slices.Sorted(maps.Keys(c.CapsuleSettings)) {
		settings := c.CapsuleSettings[id]
		found = append(found, settings.problems(id)...)
	}
	return found
}

// settings returns the system's limits.
func (c *Config) settings() messages.Settings {
	return messages.Settings{
		Strategy:    "one for one",
		CallTimeout: c.CallTimeout, TriggerTimeout: c.TriggerTimeout,
		ReadyTimeout: c.ReadyTimeout, StopTimeout: c.StopTimeout, LoadTimeout: c.LoadTimeout,
		Queue: uint32(c.Queue), OpenTriggers: uint64(c.OpenTriggers), //nolint:gosec // not negative
		MemoryLimitBytes: uint64(c.MemoryLimitPages) << 16, EventsKept: uint32(c.EventsKept), //nolint:gosec // not negative
	}
}

// settings are one capsule's: the system's, with the overrides of its manifest and then
// those of the operator.
type settings struct {
	loadTimeout time.Duration
	callTimeout time.Duration // 0 means none
	stopTimeout time.Duration
	call        uint64 // reductions; 0 means no limit
	perSecond   uint64 // reductions; 0 means no limit
	queue       int
	state       uint64 // bytes
	restart     RestartPolicy
	rollback    bool
	instances   actors.PoolSize // zero means one instance, without a pool
}

func (c *Config) forCapsule(m *manifest.Manifest) settings {
	s := settings{
		loadTimeout: c.LoadTimeout, callTimeout: c.CallTimeout, stopTimeout: c.StopTimeout, queue: c.Queue, restart: c.Restart,
		call: c.CallReductions, perSecond: c.ReductionsPerSecond, state: c.StateQuota,
	}
	override(&s.state, m.State.Quota)
	override(&s.state, c.overrides.of(m.ID()).State.Quota)
	if m.Capabilities.Uplink {
		s.callTimeout = 0 // as in the reference
	}
	s.override(&m.Supervision)
	operator := c.overrides.of(m.ID()).Supervision
	s.override(&operator)
	if s.instances.Max == 1 && s.instances.Min == 1 {
		s.instances = actors.PoolSize{}
	}
	return s
}

// defaultIdle is how long an instance that its pool does not need is kept.
const defaultIdle = time.Minute

// pool replaces how many instances there are by a capsule's own setting.
func (s *settings) pool(own *manifest.Supervision) {
	if n := own.Instances; n != nil {
		s.instances.Min, s.instances.Max = n.Min, n.Max
		if *n == (manifest.Instances{}) {
			s.instances.Min, s.instances.Max = runtime.GOMAXPROCS(0), runtime.GOMAXPROCS(0)
		}
		s.instances.Idle = cmp.Or(s.instances.Idle, defaultIdle)
	}
	if s.instances.Max > 0 {
		override(&s.instances.Idle, own.IdleTimeout)
	}
}

// override replaces the settings that own sets.
func (s *settings) override(own *manifest.Supervision) {
	override(&s.loadTimeout, own.LoadTimeout)
	override(&s.callTimeout, own.CallTimeout)
	override(&s.stopTimeout, own.StopTimeout)
	override(&s.queue, own.Queue)
	s.pool(own)
	override(&s.rollback, own.Rollback)
	override(&s.call, own.CallReductions)
	override(&s.perSecond, own.ReductionsPerSecond)
	override(&s.restart.Budget, own.Budget)
	override(&s.restart.Window, own.Window)
	override(&s.restart.InitialBackoff, own.BackoffInitial)
	override(&s.restart.MaxBackoff, own.BackoffMax)
	if own.Restart != "" {
		s.restart.Mode = RestartMode(own.Restart)
	}
	if own.BackoffInitial == nil { // a maximum alone also limits the first delay
		s.restart.InitialBackoff = min(s.restart.InitialBackoff, s.restart.MaxBackoff)
	}
	s.restart.MaxBackoff = max(s.restart.MaxBackoff, s.restart.InitialBackoff)
}

// override replaces a setting by a capsule's own, if there is one.
func override[T any](setting *T, own *T) {
	if own != nil {
		*setting = *own
	}
}
