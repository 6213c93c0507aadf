package supervisor

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/messages"
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
	// Capsules are run besides those in CapsuleDirs and, as they do, replace
	// discovery. Where both have a capsule of one name, this one runs.
	Capsules []Capsule
	// WrapLoad, unless nil, replaces every capsule's load: it can put itself between
	// a guest, its callers and its host. Tests inject faults with it; see package
	// supervisortest.
	WrapLoad func(capsule string, load LoadFunc) LoadFunc
	// AllowUnverified loads modules that nobody sealed. A wrong hash is refused
	// all the same.
	AllowUnverified bool
	// SocketPath is what guests read as ASTRID_SOCKET_PATH; "" means
	// <home>/run/actors.sock. The Supervisor opens no socket itself.
	SocketPath string

	// CacheDir keeps compiled modules from one start to the next, and may be shared
	// by several programs of one user; "" means <home>/cache. Damage to it costs
	// time only: its entries are authenticated, and compiled anew.
	CacheDir string

	// CallTimeout is how long one guest call may take; 0 means 5 minutes. A call
	// that runs into it is a crash. Run-loop and uplink capsules have none.
	CallTimeout time.Duration
	// LoadTimeout is how long a load may take: reading, compiling and initialising a
	// module; 0 means 2 minutes. A load that runs into it is a crash.
	LoadTimeout time.Duration
	// TriggerTimeout is the deadline of a trigger whose context has none, and of
	// the triggers that capsules make; 0 means 30 seconds.
	TriggerTimeout time.Duration
	// ReadyTimeout is how long the start of others waits for a run-loop capsule
	// to signal, or for a load; 0 means 500 milliseconds.
	ReadyTimeout time.Duration
	// StopTimeout is how long a running call is given when its capsule, or the
	// whole system, stops; 0 means 10 seconds.
	StopTimeout time.Duration
	// CallReductions is how many reductions one guest call may spend: function
	// entries and iterations of loops, the same on every machine. A call that
	// spends more is a crash. 0 is no bound.
	CallReductions uint64
	// ReductionsPerSecond is how many a capsule may spend in a second, over all its
	// calls: one that is ahead of it waits. 0 is no bound.
	ReductionsPerSecond uint64
	// TriggerReductions is how many each leg of a trigger may spend, with all that
	// it triggers in turn. Whatever spends more is ended, which does not count
	// against its restart budget. 0 is no bound.
	TriggerReductions uint64
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
	// EventsFile, where it is set, gets every event, a JSON object a line as
	// `astrid-actors events --json` prints them. It is appended to, and put aside
	// as EventsFile.1 (then .2, .3) before it would be longer than EventsFileSize.
	// Nothing waits for the disk: what it does not take in time is lost, and the
	// file then says how many events there were.
	EventsFile string
	// EventsFileSize is in bytes; 0 means 16 MiB.
	EventsFileSize int64

	// Registerer, where it is set, gets the metrics of package metrics while Serve
	// runs. Where there are two supervisors, wrap it for each with a label of its
	// own: prometheus.WrapRegistererWith.
	Registerer prometheus.Registerer
	// TracerProvider, where it is set, gets a span for each trigger, below it one
	// for each of its legs, below that one for the guest's call, and below that the
	// triggers that the guest makes. A trigger's own is below the span of the
	// context that it is made with.
	TracerProvider trace.TracerProvider
	// Log receives events and problems; nil is silent. For a zerolog.Logger l it is
	// slog.New(zerolog.NewSlogHandler(l)).
	Log *slog.Logger
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
	c.EventsKept = cmp.Or(c.EventsKept, 4096)
	c.EventsFileSize = cmp.Or(c.EventsFileSize, 16<<20)
	c.Restart = c.Restart.WithDefaults()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// problems says what can't be meant, in a configuration as the caller gave it.
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
	notNegative("Queue", c.Queue < 0, c.Queue)
	notNegative("OpenTriggers", c.OpenTriggers < 0, c.OpenTriggers)
	notNegative("EventsKept", c.EventsKept < 0, c.EventsKept)
	notNegative("EventsFileSize", c.EventsFileSize < 0, c.EventsFileSize)
	if c.MemoryLimitPages > capsulehost.MaxMemoryLimitPages {
		found = append(found, fmt.Errorf("config: MemoryLimitPages is %d: WebAssembly has at most %d",
			c.MemoryLimitPages, capsulehost.MaxMemoryLimitPages))
	}
	return append(found, c.Restart.Problems()...)
}

// settings shows the system's limits.
func (c *Config) settings() messages.Settings {
	return messages.Settings{
		Strategy:    "one for one",
		CallTimeout: c.CallTimeout, TriggerTimeout: c.TriggerTimeout,
		ReadyTimeout: c.ReadyTimeout, StopTimeout: c.StopTimeout, LoadTimeout: c.LoadTimeout,
		Queue: uint32(c.Queue), OpenTriggers: uint64(c.OpenTriggers), //nolint:gosec // not negative
		MemoryLimitBytes: uint64(c.MemoryLimitPages) << 16, EventsKept: uint32(c.EventsKept), //nolint:gosec // not negative
	}
}

// settings are one capsule's: the system's, with what its manifest overrides.
type settings struct {
	loadTimeout time.Duration
	callTimeout time.Duration // 0 is none
	stopTimeout time.Duration
	call        uint64 // reductions; 0 is none
	perSecond   uint64 // reductions; 0 is none
	queue       int
	restart     RestartPolicy
}

func (c *Config) forCapsule(m *manifest.Manifest) settings {
	s := settings{
		loadTimeout: c.LoadTimeout, callTimeout: c.CallTimeout, stopTimeout: c.StopTimeout, queue: c.Queue, restart: c.Restart,
		call: c.CallReductions, perSecond: c.ReductionsPerSecond,
	}
	if m.Capabilities.Uplink {
		s.callTimeout = 0 // as the reference has it
	}
	own := m.Supervision
	override(&s.loadTimeout, own.LoadTimeout)
	override(&s.callTimeout, own.CallTimeout)
	override(&s.stopTimeout, own.StopTimeout)
	override(&s.queue, own.Queue)
	override(&s.call, own.CallReductions)
	override(&s.perSecond, own.ReductionsPerSecond)
	override(&s.restart.Budget, own.Budget)
	override(&s.restart.Window, own.Window)
	override(&s.restart.InitialBackoff, own.BackoffInitial)
	override(&s.restart.MaxBackoff, own.BackoffMax)
	if own.Restart != "" {
		s.restart.Mode = RestartMode(own.Restart)
	}
	if own.BackoffInitial == nil { // a maximum alone is meant for the first delay too
		s.restart.InitialBackoff = min(s.restart.InitialBackoff, s.restart.MaxBackoff)
	}
	s.restart.MaxBackoff = max(s.restart.MaxBackoff, s.restart.InitialBackoff)
	return s
}

// override replaces a setting by what a manifest says of it, if anything.
func override[T any](setting *T, own *T) {
	if own != nil {
		*setting = *own
	}
}
