package supervisor

import (
	"context"
	"encoding/hex"
	"sync/atomic"

	"github.com/rs/zerolog"
	"lukechampine.com/blake3"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/capsulelog"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

// source is where the instances of one capsule come from: its files, or what the
// program brought along, and what is kept of them from one load to the next. A
// crash costs no reading and no compiling; an operator's start or restart reads
// the files again.
type source struct {
	manifest        *manifest.Manifest
	brought         *Capsule // nil where it comes from a directory
	home            home.Home
	principal       home.Principal
	socketPath      string
	allowUnverified bool
	modules         *modules
	log             zerolog.Logger
	lines           *capsulelog.Writer
	hashed          func(hash string) // told the module's hash when it was read

	// module belongs to load, which the capsule's actor calls once at a time.
	module *sharedModule
	stale  atomic.Bool
	values atomic.Pointer[map[string]string]
}

func newSource(s *Supervisor, modules *modules, f *found) *source {
	m := f.manifest
	log := s.cfg.Log.With().Str("capsule", m.ID()).Logger()
	return &source{
		manifest: m, brought: f.brought, home: s.home, principal: s.principal, socketPath: s.cfg.SocketPath,
		allowUnverified: s.cfg.AllowUnverified, modules: modules, log: log,
		lines: capsulelog.New(capsulelog.Config{
			Home: s.home, Principal: s.principal, Capsule: m.ID(), Files: s.logFiles, Log: s.cfg.Log,
			Written:    s.record.logTail(m.ID()).add,
			Suppressed: func(lines uint64) { s.record.suppressed(m.ID(), lines) },
		}),
		hashed: func(hash string) { s.record.hashed(m.ID(), hash) },
	}
}

// guest is an instance as its actor calls it.
type guest struct {
	*capsulehost.Instance
	runLoop bool
}

// RunLoop says whether it is a run-loop capsule's.
func (g *guest) RunLoop() bool { return g.runLoop }

// load makes a fresh instance. Every instance that it made before is closed by then.
func (s *source) load(ctx context.Context, surroundings capsulehost.HostAPI) (actors.Guest, error) {
	if s.stale.Swap(false) {
		s.letGo(ctx)
		s.values.Store(nil)
	}
	if s.values.Load() == nil {
		s.configure()
	}
	if s.brought != nil && s.brought.Load != nil {
		return s.brought.Load(ctx, surroundings)
	}
	if s.module == nil {
		if err := s.read(ctx); err != nil {
			return nil, err
		}
	}
	instance, err := s.module.Instantiate(ctx, surroundings)
	if err != nil {
		return nil, err
	}
	return &guest{Instance: instance, runLoop: s.module.RunLoop()}, nil
}

// configure reads the configuration.
func (s *source) configure() {
	values, warnings := s.manifest.Configuration(s.home, s.principal, s.socketPath)
	for _, w := range warnings {
		s.log.Warn().Msg(w.String())
	}
	s.values.Store(&values)
}

// read reads and compiles the module. Where it fails, the next load tries again.
func (s *source) read(ctx context.Context) error {
	var wasm []byte
	var hash string
	if s.brought != nil {
		wasm = s.brought.Module
		sum := blake3.Sum256(wasm)
		hash = hex.EncodeToString(sum[:])
	} else {
		var err error
		if wasm, hash, err = s.manifest.ReadModule(s.home, s.allowUnverified); err != nil {
			return &capsulehost.Failure{Kind: capsulehost.KindBadModule, Message: err.Error()}
		}
	}
	s.hashed(hash)
	module, err := s.modules.acquire(ctx, wasm)
	if err != nil {
		return err
	}
	s.module = module
	if err := module.Serves(len(s.manifest.Interceptors)); err != nil {
		s.letGo(ctx)
		return err
	}
	return nil
}

func (s *source) letGo(ctx context.Context) {
	if s.module == nil {
		return
	}
	if err := s.modules.release(ctx, s.module); err != nil {
		s.log.Warn().Err(err).Msg("freeing the compiled module failed")
	}
	s.module = nil
}

// readAgain makes the next load read the capsule's module and configuration
// again. Its manifest is read once, by New. It may be called from any goroutine.
func (s *source) readAgain() { s.stale.Store(true) }

// configuration returns what astrid_get_config answers.
func (s *source) configuration(key string) string {
	if values := s.values.Load(); values != nil {
		return (*values)[key]
	}
	return ""
}

// close is for when the capsule's actor has ended.
func (s *source) close() {
	if err := s.lines.Close(); err != nil {
		s.log.Warn().Err(err).Msg("closing the capsule's log failed")
	}
}
