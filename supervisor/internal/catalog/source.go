package catalog

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"unicode/utf8"

	"lukechampine.com/blake3"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

// LoadFunc creates a new instance, which calls its host through api.
type LoadFunc = func(ctx context.Context, api capsulehost.HostAPI) (actors.Guest, error)

// Config is shared by all sources of a system.
type Config struct {
	Home      home.Home
	Principal home.Principal
	// SocketPath is the value that guests read as ASTRID_SOCKET_PATH.
	SocketPath string
	// AllowUnverified also loads modules without a recorded hash.
	AllowUnverified bool
	// Stored returns what a capsule keeps under the name of a setting, nil if nothing; it
	// overrides the setting's other values. Stored may be nil.
	Stored func(ctx context.Context, capsule, name string) ([]byte, error)
	// Env returns the operator's configuration values for a capsule, which override all
	// others; nil means none.
	Env func(id string) map[string]string
	// Host compiles the modules; capsules with the same bytes share the code.
	Host *capsulehost.Host
	Log  *slog.Logger
}

// Source creates the instances of one version of a capsule, from its files or from the
// embedded capsule, and keeps the parts that they share. It reads and compiles once: a
// version whose files have changed has another Source. Prepare and Load may be called from
// any goroutine: the instances of a pool start beside each other.
type Source struct {
	cfg    Config
	entry  *Entry
	log    *slog.Logger
	hashed func(hash string)

	module atomic.Pointer[capsulehost.Module] // nil before it was read
	hash   atomic.Pointer[string]
	values atomic.Pointer[map[string]string]
}

// NewSource returns the source of a capsule. It calls hashed with the module's hash each
// time that it has read the module.
func NewSource(cfg Config, entry *Entry, hashed func(hash string)) *Source {
	return &Source{cfg: cfg, entry: entry, log: cfg.Log.With("capsule", entry.Manifest.ID()), hashed: hashed}
}

// guest is an instance as its actor calls it.
type guest struct {
	*capsulehost.Instance
	runLoop bool
}

// RunLoop reports whether the capsule is a run-loop capsule.
func (g *guest) RunLoop() bool { return g.runLoop }

// Inline implements actors.Inline: WebAssembly can't end a goroutine.
func (g *guest) Inline() {}

// goGuest is a guest written in Go. It shares no memory with others: it may change its
// payload, and the data that it has returned.
type goGuest struct{ actors.Guest }

func (g goGuest) Invoke(ctx context.Context, action string, payload []byte) (capsulehost.Result, error) {
	result, err := g.Guest.Invoke(ctx, action, bytes.Clone(payload))
	result.Data = bytes.Clone(result.Data)
	return result, err
}

// Unwrap returns the guest itself, for its optional methods.
func (g goGuest) Unwrap() actors.Guest { return g.Guest }

// goHostAPI is the host API of a guest written in Go.
type goHostAPI struct {
	capsulehost.HostAPI
	services capsulehost.Services
}

func newGoHostAPI(api capsulehost.HostAPI) *goHostAPI {
	a := &goHostAPI{HostAPI: api}
	if services := api.Services(); services != nil { // an embedder's may have none
		a.services = *services
	}
	if a.services.Peers != nil {
		a.services.Peers = goPeers{a.services.Peers}
	}
	if a.services.Bus != nil {
		a.services.Bus = goBus{a.services.Bus}
	}
	return a
}

// Services returns the guest's services.
func (a *goHostAPI) Services() *capsulehost.Services { return &a.services }

// goPeers copies the payloads that its guest sends: a call of another capsule can still
// run after the guest has given up and changed its own.
type goPeers struct{ capsulehost.Peers }

func (p goPeers) TriggerHook(ctx context.Context, topic string, payload json.RawMessage) ([]json.RawMessage, error) {
	return p.Peers.TriggerHook(ctx, topic, bytes.Clone(payload))
}

// goBus checks what its guest asks for, as the system calls do for one in WebAssembly.
type goBus struct{ capsulehost.Bus }

func (b goBus) Publish(ctx context.Context, topic string, payload capsulehost.Payload) error {
	if err := capsulehost.CheckPublish(b.Bus, topic); err != nil {
		return err
	}
	return b.Bus.Publish(ctx, topic, payload)
}

func (b goBus) Subscribe(pattern string) (uint64, error) {
	if err := capsulehost.CheckSubscribe(b.Bus, pattern); err != nil {
		return 0, err
	}
	return b.Bus.Subscribe(pattern)
}

// Prepare does what all loads have in common: it reads the configuration, and reads,
// verifies and compiles the module.
func (s *Source) Prepare(ctx context.Context) error {
	if s.values.Load() == nil {
		s.configure(ctx)
	}
	if s.module.Load() != nil || s.entry.Embedded != nil && s.entry.Embedded.Load != nil {
		return nil
	}
	return s.read(ctx)
}

// Load creates a new instance.
func (s *Source) Load(ctx context.Context, api capsulehost.HostAPI) (actors.Guest, error) {
	if err := s.Prepare(ctx); err != nil {
		return nil, err
	}
	if s.entry.Embedded != nil && s.entry.Embedded.Load != nil {
		made, err := s.entry.Embedded.Load(ctx, newGoHostAPI(api))
		if err != nil || made == nil {
			return nil, err
		}
		return goGuest{made}, nil
	}
	module := s.module.Load()
	instance, err := module.Instantiate(ctx, api)
	if err != nil {
		return nil, err
	}
	return &guest{Instance: instance, runLoop: module.RunLoop()}, nil
}

// configure reads the configuration.
func (s *Source) configure(ctx context.Context) {
	values, warnings := Configuration(ctx, s.cfg, s.entry)
	for _, w := range warnings {
		s.log.Warn(w.String())
	}
	s.values.Store(&values)
}

// Configuration reads a capsule's configuration. As in the reference, a setting that the
// capsule's state has under its name comes from there, and is empty if it is not UTF-8.
func Configuration(ctx context.Context, cfg Config, entry *Entry) (map[string]string, []manifest.Problem) {
	m := entry.Manifest
	values, warnings := m.Configuration(cfg.Home, cfg.Principal, cfg.SocketPath)
	for _, name := range slices.Sorted(maps.Keys(m.Env)) {
		if cfg.Stored == nil || name == manifest.SocketVariable {
			continue
		}
		value, err := cfg.Stored(ctx, m.ID(), name)
		switch {
		case err != nil:
			warnings = append(warnings, m.Problem("env."+name, "can't be read from the capsule's state: "+err.Error()))
		case !utf8.Valid(value):
			values[name] = ""
			warnings = append(warnings, m.Problem("env."+name, "is empty: the value in the capsule's state is not UTF-8"))
		case value != nil:
			values[name] = string(value)
		}
	}
	if cfg.Env != nil {
		maps.Copy(values, cfg.Env(m.ID()))
	}
	return values, warnings
}

// read reads and compiles the module. If it fails, the next load tries again.
func (s *Source) read(ctx context.Context) error {
	m := s.entry.Manifest
	var wasm []byte
	var hash string
	if s.entry.Embedded != nil {
		wasm = s.entry.Embedded.Module
		sum := blake3.Sum256(wasm)
		hash = hex.EncodeToString(sum[:])
	} else {
		var err error
		wasm, hash, err = m.ReadModule(s.cfg.Home, s.cfg.AllowUnverified)
		switch {
		case mayHeal(err):
			return err
		case err != nil:
			return &capsulehost.Failure{Kind: capsulehost.KindBadModule, Message: err.Error()}
		}
	}
	s.hash.Store(&hash)
	s.hashed(hash)
	module, err := s.cfg.Host.Compile(ctx, wasm)
	if err != nil {
		return err
	}
	err = module.Serves(len(m.Interceptors))
	if err != nil || !s.module.CompareAndSwap(nil, module) { // another instance's load was faster
		s.free(ctx, module)
	}
	return err
}

// mayHeal reports whether the reason why a file could not be read is temporary, such as
// too many open files: then a restart may help.
func mayHeal(err error) bool {
	_, isFile := errors.AsType[*fs.PathError](err)
	return isFile && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission)
}

func (s *Source) free(ctx context.Context, module *capsulehost.Module) {
	if err := module.Close(ctx); err != nil {
		s.log.Warn("freeing the compiled module failed", "err", err)
	}
}

// Release frees the compiled module. No instance is left, and none will be made.
func (s *Source) Release() {
	if module := s.module.Swap(nil); module != nil {
		s.free(context.Background(), module)
	}
}

// Hash returns the hash of the module that was read last; "" before that, and for an
// embedded capsule that is no module.
func (s *Source) Hash() string {
	if hash := s.hash.Load(); hash != nil {
		return *hash
	}
	return ""
}

// Commands returns the slash commands that the manifest declares.
func (s *Source) Commands() []manifest.Command { return s.entry.Manifest.Commands }

// Value returns the value that astrid_get_config returns for key. It may be called from
// any goroutine.
func (s *Source) Value(key string) string { return s.Values()[key] }

// Values returns the configuration as of the last load, nil before the first. It
// must not be changed, and may be called from any goroutine.
func (s *Source) Values() map[string]string {
	if values := s.values.Load(); values != nil {
		return *values
	}
	return nil
}
