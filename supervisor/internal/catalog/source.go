package catalog

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"sync/atomic"

	"lukechampine.com/blake3"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

// LoadFunc makes a fresh instance that asks its host through api.
type LoadFunc = func(ctx context.Context, api capsulehost.HostAPI) (actors.Guest, error)

// Config is what all sources of a system share.
type Config struct {
	Home      home.Home
	Principal home.Principal
	// SocketPath is what guests read as ASTRID_SOCKET_PATH.
	SocketPath string
	// AllowUnverified loads modules that nobody sealed.
	AllowUnverified bool
	// Host compiles the modules; capsules with the same bytes share the code.
	Host *capsulehost.Host
	Log  *slog.Logger
}

// Source makes the instances of one capsule, from its files or from what the
// program brought along, and keeps what they share. A crash costs no reading and
// no compiling; an operator's start or restart reads the files again.
type Source struct {
	cfg    Config
	entry  *Entry
	log    *slog.Logger
	hashed func(hash string)

	// module belongs to Load, which the capsule's actor calls once at a time.
	module *capsulehost.Module
	stale  atomic.Bool
	values atomic.Pointer[map[string]string]
}

// NewSource returns the source of a capsule. Hashed is told the module's hash each
// time that it is read.
func NewSource(cfg Config, entry *Entry, hashed func(hash string)) *Source {
	return &Source{cfg: cfg, entry: entry, log: cfg.Log.With("capsule", entry.Manifest.ID()), hashed: hashed}
}

// guest is an instance as its actor calls it.
type guest struct {
	*capsulehost.Instance
	runLoop bool
}

// RunLoop reports whether it is a run-loop capsule's.
func (g *guest) RunLoop() bool { return g.runLoop }

// Inline implements actors.Inline: WebAssembly can't end a goroutine.
func (g *guest) Inline() {}

// goGuest is a guest written in Go. It shares no memory with others: its payload
// is its own to change, and so is the data that it has answered with.
type goGuest struct{ actors.Guest }

func (g goGuest) Invoke(ctx context.Context, action string, payload []byte) (capsulehost.Result, error) {
	result, err := g.Guest.Invoke(ctx, action, bytes.Clone(payload))
	result.Data = bytes.Clone(result.Data)
	return result, err
}

// Unwrap returns the guest itself, for its other abilities.
func (g goGuest) Unwrap() actors.Guest { return g.Guest }

// goHostAPI is the host as a guest written in Go sees it.
type goHostAPI struct{ capsulehost.HostAPI }

// Peers returns the other capsules.
func (a goHostAPI) Peers() capsulehost.Peers { return goPeers{a.HostAPI.Peers()} }

// goPeers copies the payloads that its guest asks with: a call of another capsule
// can go on when the guest has given up, and changes its own.
type goPeers struct{ capsulehost.Peers }

func (p goPeers) TriggerHook(ctx context.Context, topic string, payload json.RawMessage) ([]json.RawMessage, error) {
	return p.Peers.TriggerHook(ctx, topic, bytes.Clone(payload))
}

// Load makes a fresh instance. Every instance that it made before is closed by then.
func (s *Source) Load(ctx context.Context, api capsulehost.HostAPI) (actors.Guest, error) {
	if s.stale.Swap(false) {
		s.release(ctx)
		s.values.Store(nil)
	}
	if s.values.Load() == nil {
		s.configure()
	}
	if s.entry.Embedded != nil && s.entry.Embedded.Load != nil {
		made, err := s.entry.Embedded.Load(ctx, goHostAPI{api})
		if err != nil || made == nil {
			return nil, err
		}
		return goGuest{made}, nil
	}
	if s.module == nil {
		if err := s.read(ctx); err != nil {
			return nil, err
		}
	}
	instance, err := s.module.Instantiate(ctx, api)
	if err != nil {
		return nil, err
	}
	return &guest{Instance: instance, runLoop: s.module.RunLoop()}, nil
}

// configure reads the configuration.
func (s *Source) configure() {
	values, warnings := Configuration(s.cfg, s.entry)
	for _, w := range warnings {
		s.log.Warn(w.String())
	}
	s.values.Store(&values)
}

// Configuration reads a capsule's configuration.
func Configuration(cfg Config, entry *Entry) (map[string]string, []manifest.Problem) {
	return entry.Manifest.Configuration(cfg.Home, cfg.Principal, cfg.SocketPath)
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
	s.hashed(hash)
	module, err := s.cfg.Host.Compile(ctx, wasm)
	if err != nil {
		return err
	}
	s.module = module
	if err := module.Serves(len(m.Interceptors)); err != nil {
		s.release(ctx)
		return err
	}
	return nil
}

// mayHeal reports whether a file could not be read for a reason that can pass by
// itself, such as too many open files: then the load is worth a restart.
func mayHeal(err error) bool {
	_, isFile := errors.AsType[*fs.PathError](err)
	return isFile && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission)
}

func (s *Source) release(ctx context.Context) {
	if s.module == nil {
		return
	}
	if err := s.module.Close(ctx); err != nil {
		s.log.Warn("freeing the compiled module failed", "err", err)
	}
	s.module = nil
}

// Reload makes the next load read the capsule's module and configuration again. It
// may be called from any goroutine.
func (s *Source) Reload() { s.stale.Store(true) }

// Value returns what astrid_get_config answers. It may be called from any goroutine.
func (s *Source) Value(key string) string { return s.Values()[key] }

// Values returns the configuration as of the last load, nil before the first. It
// must not be changed, and may be called from any goroutine.
func (s *Source) Values() map[string]string {
	if values := s.values.Load(); values != nil {
		return *values
	}
	return nil
}
