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

// heavyTime is the estimated time from which a compilation counts as heavy. Most
// compilations need half of their estimate.
const heavyTime = 100 * time.Millisecond

// unclaimedTime is how long a module is kept, and its compilation goes on, after a caller has
// run out of time: it wants it again, after a backoff. Without that a module that takes
// longer to compile than one load may would never be compiled.
const unclaimedTime = 10 * time.Minute

// sharedModule is the compiled code shared by all modules with the same bytes.
type sharedModule struct {
	host *Host
	name modcache.Name

	// done is closed when the compilation has succeeded or failed. Before that, only
	// the compiling goroutine accesses the next two fields.
	done     chan struct{}
	err      error
	compiled wazero.CompiledModule

	tableBytes uint64 // initial size of each instance's tables

	// Guarded by host.mu.
	holders int                // waiting callers, those that ran out of time, and modules that are not closed
	built   bool               // done is closed, or is about to be
	started bool               // compilation has started in this process: it continues even without holders
	giveUp  context.CancelFunc // ends the wait for a free compilation slot, or the process that compiles
}

// Compile checks and compiles a module. The error is either [ErrClosed] or a *Failure:
// of KindBadModule or KindLink, with a sentence for a person as its message, or of
// KindTimeout or KindCancelled if ctx ended first.
//
// Modules with the same bytes share their code: it is compiled once, and freed when
// the last of them is closed. At most GOMAXPROCS - 1 compilations that are expected to
// take long run at the same time; short ones do not wait for them.
//
// When ctx ends, Compile returns at once. If its deadline has passed, the compilation goes on
// for up to ten minutes, and later callers with the same module find it, or its result. If
// ctx was cancelled, and nobody else wants the module, a compilation in a process of its own
// is killed; see [Config.CompileCommand]. One in this process cannot be stopped: it continues,
// and stores its result in the cache. It still reads wasm, so the caller must never modify
// wasm.
func (h *Host) Compile(ctx context.Context, wasm []byte) (*Module, error) {
	if failure := recognise(wasm); failure != nil {
		return nil, failure
	}
	if ctx.Err() != nil {
		return nil, notCompiled(ctx)
	}
	s, built := h.share(ctx, wasm)
	if !built { // after the build, done may belong to a synctest bubble that has ended
		select {
		case <-s.done:
		case <-ctx.Done():
			failure := notCompiled(ctx)
			if failure.Kind == KindTimeout {
				time.AfterFunc(unclaimedTime, func() { h.release(context.WithoutCancel(ctx), s) })
			} else {
				h.release(ctx, s)
			}
			return nil, failure
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

// notCompiled returns the failure for a context that ended before the module was compiled.
func notCompiled(ctx context.Context) *Failure {
	f := &Failure{}
	interrupted(ctx).fill(f)
	f.Message = "compiling the module: " + f.Message
	return f
}

// share returns the module for these bytes, and whether it is built. If there is
// none, it starts a build. The caller becomes a holder and must call release.
func (h *Host) share(ctx context.Context, wasm []byte) (s *sharedModule, built bool) {
	name := h.nameOf("capsule", wasm)
	h.mu.Lock()
	defer h.mu.Unlock()
	s = h.modules[name]
	if s == nil {
		s = &sharedModule{host: h, name: name, done: make(chan struct{})}
		// The first caller may leave while others still wait.
		ctx, s.giveUp = context.WithCancel(context.WithoutCancel(ctx))
		h.modules[name] = s
		h.builds++
		go h.build(ctx, s, wasm)
	}
	s.holders++
	return s, s.built
}

// release removes a holder. The last one frees the module, ends its wait for a free slot,
// or ends the process that compiles it.
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

// remove makes the next caller rebuild the module. The caller holds h.mu.
func (h *Host) remove(s *sharedModule) {
	if h.modules[s.name] == s {
		delete(h.modules, s.name)
	}
}

// build compiles a module for all waiting callers, and frees it if none is left.
func (h *Host) build(ctx context.Context, s *sharedModule, wasm []byte) {
	s.err = h.tryBuild(ctx, s, wasm)
	h.mu.Lock()
	s.built = true
	free := s.holders == 0
	if free || s.err != nil {
		h.remove(s) // a failed module is compiled again on the next request
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

// tryBuild produces a module that is ready to be instantiated.
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

// obtain loads a module from the cache, or compiles it and stores it there.
func (h *Host) obtain(ctx context.Context, name modcache.Name, compile func() (artifact, error)) (_ wazero.CompiledModule, tableBytes uint64, err error) {
	if a, ok := decodeArtifact(h.store.Get(name)); ok {
		compiled, err := h.load(ctx, a.code)
		if err == nil || errors.Is(err, ErrClosed) {
			return compiled, a.tableBytes, err
		}
		// The entry was compiled for another processor, as after moving the home: compile it again.
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

// whileOpen runs do unless the host is closed. Close waits until do returns.
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
	// Without reduction counting a guest could not be stopped, so every module is rewritten.
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
	heavy := cost.Time >= heavyTime
	if heavy {
		select {
		case h.heavy <- struct{}{}:
			defer func() { <-h.heavy }()
		case <-ctx.Done():
			return a, context.Cause(ctx) // all callers have left
		case <-h.closing:
			return a, ErrClosed
		}
	}
	a.tableBytes = cost.TableElements * 8
	inChild := false
	if heavy && len(h.compileCommand) > 0 {
		a.code, inChild, err = h.compileInChild(ctx, counted, s.name)
	}
	if !inChild {
		if !h.start(s) {
			return a, context.Canceled
		}
		a.code, err = h.compile(ctx, counted, s.name)
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, ErrClosed):
		return a, err // all callers have left
	case err != nil && strings.HasSuffix(err.Error(), "EOF"): // wazero does not always wrap the error
		return a, badModule("the module is truncated or damaged: "+firstLine(err), err)
	case err != nil:
		return a, refusal(err)
	}
	return a, nil
}

// start reports whether a caller still waits for the module. If so, the compilation
// continues from now on, even if all callers leave.
func (h *Host) start(s *sharedModule) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.started = s.holders > 0
	return s.started
}

// free releases the compiled code. Closing a compiled module never fails.
func (s *sharedModule) free(ctx context.Context) {
	if s.compiled != nil {
		_ = s.compiled.Close(ctx)
	}
	s.compiled = nil
}

// Module is a compiled capsule. It is safe for concurrent use.
type Module struct {
	*sharedModule
	closing sync.Once
}

// Close frees the compiled code once all modules with the same bytes are closed. Close
// the module's instances first. Close may be called more than once; the error is
// always nil.
func (m *Module) Close(ctx context.Context) error {
	m.closing.Do(func() { m.host.release(ctx, m.sharedModule) })
	return nil
}
