package catalog

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// Modules compiles each distinct module once, for all capsules that run it, and
// frees it when the last of them releases it. It may be used from any goroutine.
type Modules struct {
	host *capsulehost.Host

	mu     sync.Mutex
	shared map[[sha256.Size]byte]*sharedModule
}

// sharedModule is one module, and how many capsules hold it.
type sharedModule struct {
	*capsulehost.Module
	key   [sha256.Size]byte
	users int // guarded by Modules.mu

	compile sync.Once // whoever comes first compiles, the others wait
	err     error
}

// NewModules returns an empty set, whose modules host compiles.
func NewModules(host *capsulehost.Host) *Modules {
	return &Modules{host: host, shared: map[[sha256.Size]byte]*sharedModule{}}
}

// acquire compiles a module, or finds it compiled. Release what it returns. One
// that does not compile is tried again when it is next asked for.
func (m *Modules) acquire(ctx context.Context, wasm []byte) (*sharedModule, error) {
	key := sha256.Sum256(wasm)
	m.mu.Lock()
	s := m.shared[key]
	if s == nil {
		s = &sharedModule{key: key}
		m.shared[key] = s
	}
	s.users++
	m.mu.Unlock()

	// Its work is for all who wait for it: one who has no time left does not end it.
	s.compile.Do(func() { s.Module, s.err = m.host.Compile(context.WithoutCancel(ctx), wasm) })
	if s.err != nil {
		return nil, errors.Join(s.err, m.release(ctx, s))
	}
	return s, nil
}

// release lets go of a module, once every instance that its holder made of it
// is closed.
func (m *Modules) release(ctx context.Context, s *sharedModule) error {
	m.mu.Lock()
	s.users--
	last := s.users == 0
	if last && m.shared[s.key] == s {
		delete(m.shared, s.key)
	}
	m.mu.Unlock()
	if last && s.Module != nil {
		return s.Module.Close(ctx)
	}
	return nil
}
