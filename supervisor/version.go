package supervisor

import (
	"sync/atomic"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/catalog"
)

// version is one version of a capsule: what was discovered, and what makes its
// instances.
type version struct {
	entry    *catalog.Entry
	settings settings
	source   *catalog.Source
	actor    *actors.Version
	spec     actors.ChildSpec // without a Ref
}

// newVersion makes a version from what was discovered. It becomes the capsule's current
// one in the journal when the capsule has adopted it; the first one is that already.
func (t *tree) newVersion(s *Supervisor, e *catalog.Entry, first bool) *version {
	id, settings := e.Manifest.ID(), s.cfg.forCapsule(e.Manifest)
	var current atomic.Bool
	current.Store(first)
	v := &version{entry: e, settings: settings}
	v.source = catalog.NewSource(t.sourceConfig, e, func(hash string) {
		if current.Load() {
			t.journal.Hashed(id, hash)
		}
	})
	load := v.source.Load
	if s.cfg.WrapLoad != nil {
		load = s.cfg.WrapLoad(id, load)
	}
	v.actor = &actors.Version{
		Number: e.Manifest.Package.Version, Interceptors: e.Interceptors,
		AllowPromptInjection: e.Manifest.Capabilities.AllowPromptInjection,
		Prepare:              v.source.Prepare, Load: load, Services: s.services(t, e.Manifest), Config: v.source.Value, Hash: v.source.Hash,
		LoadTimeout: settings.loadTimeout, CallTimeout: settings.callTimeout, CallReductions: settings.call,
		Rate: rate(settings.perSecond), Queue: settings.queue,
		Publish: e.Manifest.Capabilities.IPCPublish, Subscribe: e.Manifest.Capabilities.IPCSubscribe,
		Adopted: func() {
			current.Store(true)
			t.state.SetQuota(id, settings.state)
			s.adopted(t, v)
		},
		Release: v.source.Release,
	}
	if first {
		t.state.SetQuota(id, settings.state)
	}
	v.spec = actors.ChildSpec{
		ReadyTimeout: s.cfg.ReadyTimeout, StopTimeout: settings.stopTimeout, Restart: settings.restart,
		Rollback: settings.rollback, WaitsFor: e.WaitsFor, Size: settings.instances,
	}
	return v
}

// adopted records that a capsule has another version.
func (s *Supervisor) adopted(t *tree, v *version) {
	id := v.entry.Manifest.ID()
	t.setVersion(id, v)
	s.setEntry(v.entry)
	t.declareTopics()
	s.journal.Redescribe(s.describeEntry(v.entry), v.source.Hash())
}

// describeEntry returns what a snapshot shows of a capsule that has not started.
func (s *Supervisor) describeEntry(e *catalog.Entry) *messages.Capsule {
	m := e.Manifest
	settings := s.cfg.forCapsule(m)
	policy, size := settings.restart, settings.instances
	return &messages.Capsule{
		InstancesMin: uint32(size.Min), InstancesMax: uint32(size.Max), //nolint:gosec // at most manifest.MaxInstances
		Path: s.groups.path(m.ID()), ID: m.ID(), Version: m.Package.Version, Directory: m.Dir,
		MemoryLimitBytes: uint64(s.cfg.MemoryLimitPages) << 16,
		State:            messages.StateLoading, Interceptors: e.Interceptors,
		Restart: string(policy.Mode), Budget: uint32(policy.Budget), Window: policy.Window, //nolint:gosec // not negative
	}
}

// rate limits a capsule's reductions per second; it returns nil for no limit.
func rate(perSecond uint64) *capsulehost.Rate {
	if perSecond == 0 {
		return nil
	}
	return capsulehost.NewRate(perSecond)
}
