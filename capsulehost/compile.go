package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/compiler"
	"github.com/astrid-actors/astrid-actors/capsulehost/internal/modcache"
	"github.com/astrid-actors/astrid-actors/capsulehost/reductions"
)

// heavyTime is the estimate from which on a compilation is heavy. Most take half of
// what is estimated.
const heavyTime = 100 * time.Millisecond

// sharedModule is the compiled code of all capsules that have the same bytes.
type sharedModule struct {
	host *Host
	name modcache.Name

	// done is closed once the module is compiled, or has failed to. Before that,
	// only the goroutine that compiles touches these.
	done     chan struct{}
	err      error
	compiled wazero.CompiledModule

	tableBytes uint64 // that each instance's tables start with

	// Guarded by host.mu.
	holders int                // callers that wait for it, and modules that are not closed
	built   bool               // done is closed, or is about to be
	started bool               // it is being compiled: it goes on though nobody waits
	giveUp  context.CancelFunc // ends the wait for a place
}

// Compile checks and compiles a module. Its error is a *Failure: of KindBadModule
// or KindLink, whose message is a sentence for a person, or of KindTimeout or
// KindCancelled where ctx ended first; or it is [ErrClosed].
//
// Modules of the same bytes share their code: it is compiled once, and freed when
// the last of them is closed. Of compilations that take long, only as many run at a
// time as leave a processor free; others pass them.
//
// When ctx ends, Compile returns at once. A compilation that is running can't be
// ended: it goes on, keeps its result in the cache, and serves whoever asks for the
// same module meanwhile. It reads wasm, which must not be changed any more.
func (h *Host) Compile(ctx context.Context, wasm []byte) (*Module, error) {
	if failure := recognise(wasm); failure != nil {
		return nil, failure
	}
	if ctx.Err() != nil {
		return nil, notCompiled(ctx)
	}
	s, built := h.share(ctx, wasm)
	if !built { // else done may be of a synctest bubble that has ended
		select {
		case <-s.done:
		case <-ctx.Done():
			h.release(ctx, s)
			return nil, notCompiled(ctx)
		case <-h.closing:
			h.release(ctx, s)
			return nil, ErrClosed
		}
	}
	if s.err != nil {
		h.release(ctx, s)
		return nil, s.err
	}
	return &Module{sharedModule: s}, nil
}

// notCompiled says that a context ended before a module was compiled.
func notCompiled(ctx context.Context) *Failure {
	f := &Failure{}
	interrupted(ctx).fill(f)
	f.Message = "compiling the module: " + f.Message
	return f
}

// share returns the module of these bytes, and whether it is built. If there is
// none, it begins to build one. The caller becomes a holder, and has to release it.
func (h *Host) share(ctx context.Context, wasm []byte) (s *sharedModule, built bool) {
	name := h.nameOf("capsule", wasm)
	h.mu.Lock()
	defer h.mu.Unlock()
	s = h.modules[name]
	if s == nil {
		s = &sharedModule{host: h, name: name, done: make(chan struct{})}
		// Who asked first may leave, and others still wait for it.
		ctx, s.giveUp = context.WithCancel(context.WithoutCancel(ctx))
		h.modules[name] = s
		h.builds++
		go h.build(ctx, s, wasm)
	}
	s.holders++
	return s, s.built
}

// release ends a holder's interest. The last one frees the module, or ends its wait
// for a place.
func (h *Host) release(ctx context.Context, s *sharedModule) {
	h.mu.Lock()
	s.holders--
	unused := s.holders == 0 && (s.built || !s.started)
	if unused {
		h.remove(s)
		s.giveUp()
	}
	free := unused && s.built
	h.mu.Unlock()
	if free {
		s.free(ctx)
	}
}

// remove makes the next caller build the module anew. It is called with the lock.
func (h *Host) remove(s *sharedModule) {
	if h.modules[s.name] == s {
		delete(h.modules, s.name)
	}
}

// build compiles a module for all who wait for it, and frees it where nobody does
// any more.
func (h *Host) build(ctx context.Context, s *sharedModule, wasm []byte) {
	s.err = h.tryBuild(ctx, s, wasm)
	h.mu.Lock()
	s.built = true
	free := s.holders == 0
	if free || s.err != nil {
		h.remove(s) // one that failed is tried again when it is next asked for
	}
	h.mu.Unlock()
	close(s.done)
	s.giveUp()
	if free {
		s.free(ctx)
	}
	h.mu.Lock()
	h.builds--
	h.mu.Unlock()
}

// tryBuild makes a module ready to be instantiated.
func (h *Host) tryBuild(ctx context.Context, s *sharedModule, wasm []byte) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = badModule(fmt.Sprintf("compiler panic: %v", cause), nil)
		}
	}()
	s.compiled, s.tableBytes, err = h.obtain(ctx, s.name, func() (artifact, error) { return h.compileCapsule(ctx, s, wasm) })
	if err != nil {
		return err
	}
	return h.whileOpen(func() error {
		failure := s.link()
		if kind, module, name, found := otherImport(wasm); failure == nil && found {
			failure = linkFailure("it imports the %s %q from %q: a capsule can import functions only", kind, name, module)
		}
		if failure == nil {
			if problem := misplacedSegment(wasm); problem != "" {
				failure = badModule(problem+": instantiated, it could only trap", nil)
			}
		}
		if failure == nil {
			return nil
		}
		s.free(ctx)
		return failure
	})
}

// obtain loads a module from the cache, or else compiles it and keeps it there.
func (h *Host) obtain(ctx context.Context, name modcache.Name, compile func() (artifact, error)) (_ wazero.CompiledModule, tableBytes uint64, err error) {
	if a, ok := decodeArtifact(h.store.Get(name)); ok {
		compiled, err := h.load(ctx, a.code)
		if err == nil || errors.Is(err, ErrClosed) {
			return compiled, a.tableBytes, err
		}
		// It is for another processor, on which a home was that moved: compile it anew.
	}
	a, err := compile()
	if err != nil {
		return nil, 0, err
	}
	if a.code.Machine != nil {
		h.store.Put(name, a.encode()...)
	}
	compiled, err := h.load(ctx, a.code)
	return compiled, a.tableBytes, err
}

func (h *Host) load(ctx context.Context, code compiler.Code) (compiled wazero.CompiledModule, err error) {
	err = h.whileOpen(func() error {
		if compiled, err = h.compiler.Load(ctx, code); err != nil {
			return fmt.Errorf("load the compiled module: %w", err)
		}
		return nil
	})
	return compiled, err
}

// whileOpen does what must not be done to a host that is closed: Close waits for it.
func (h *Host) whileOpen(do func() error) error {
	h.loading.RLock()
	defer h.loading.RUnlock()
	if h.closed {
		return ErrClosed
	}
	return do()
}

// compileCapsule rewrites and compiles a capsule's module, which may take seconds.
func (h *Host) compileCapsule(ctx context.Context, s *sharedModule, wasm []byte) (a artifact, err error) {
	// Counting is what makes a guest stoppable: nothing is compiled without.
	counted, cost, err := reductions.Rewrite(wasm, h.counting)
	limit := (*reductions.LimitError)(nil)
	switch {
	case errors.As(err, &limit):
		return a, badModule("the module is over a limit: "+limit.Error(), err)
	case errors.Is(err, reductions.ErrTruncated):
		return a, badModule("the module is truncated or damaged: "+err.Error(), err)
	case err != nil:
		return a, refusal(err)
	}
	if cost.Time >= heavyTime {
		select {
		case h.heavy <- struct{}{}:
			defer func() { <-h.heavy }()
		case <-ctx.Done():
			return a, context.Cause(ctx) // nobody waits for it
		case <-h.closing:
			return a, ErrClosed
		}
	}
	if !h.start(s) {
		return a, context.Canceled
	}
	a.tableBytes = cost.TableElements * 8
	a.code, err = h.compile(ctx, counted, s.name)
	switch {
	case err != nil && strings.HasSuffix(err.Error(), "EOF"): // not always wrapped
		return a, badModule("the module is truncated or damaged: "+firstLine(err), err)
	case err != nil:
		return a, refusal(err)
	}
	return a, nil
}

// start says whether anybody still waits for a module. If so, its compilation goes
// on from now on, even when nobody does any more.
func (h *Host) start(s *sharedModule) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.started = s.holders > 0
	return s.started
}

// free frees what was made of a module. Neither wazero nor a module without memory
// fails to close.
func (s *sharedModule) free(ctx context.Context) {
	if s.compiled != nil {
		_ = s.compiled.Close(ctx)
	}
	s.compiled = nil
}

// Module is a compiled capsule. It may be used from any goroutine.
type Module struct {
	*sharedModule
	closing sync.Once
}

// Close frees the compiled code, once all modules of the same bytes are closed. Close
// its instances first. It may be called more than once.
func (m *Module) Close(ctx context.Context) error {
	m.closing.Do(func() { m.host.release(ctx, m.sharedModule) })
	return nil
}
