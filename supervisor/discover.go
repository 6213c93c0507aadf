package supervisor

import (
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/messages"
)

// found is one capsule that may be started.
type found struct {
	manifest     *manifest.Manifest
	brought      *Capsule // nil where it comes from a directory
	interceptors []*messages.Interceptor
	waitsFor     []int // places in Supervisor.found
}

// discover finds the capsules in directories and adds them to those that were
// brought along, enters all into the record in start order, and reports those
// that can't be started.
func (s *Supervisor) discover(capsules map[string]*Capsule, manifests []*manifest.Manifest) {
	dirs := s.cfg.CapsuleDirs
	if len(dirs)+len(manifests) == 0 {
		dirs = []string{s.home.CapsulesDir(s.principal), filepath.Join(".astrid", "capsules")}
	}
	discovery := manifest.Discover(dirs, len(s.cfg.CapsuleDirs) > 0)
	warnings := discovery.Warnings
	for _, m := range discovery.Manifests {
		if capsules[m.ID()] != nil {
			warnings = append(warnings, manifest.Problem{File: m.File, Key: "package.name", Message: "is the name of a capsule that the program brings along: that one runs"})
			continue
		}
		manifests = append(manifests, m)
	}
	start := manifest.Order(manifests)
	warnings = append(warnings, start.Warnings...)
	for _, m := range start.Manifests {
		warnings = append(warnings, m.Warnings...)
	}
	for _, w := range warnings {
		s.cfg.Log.Warn().Msg(w.String())
	}
	if start.Cycle != nil {
		s.cfg.Log.Error().Err(start.Cycle).Msg("capsules import from each other: they start in the order of their discovery")
	}
	if len(manifests)+len(discovery.Rejected) == 0 {
		s.cfg.Log.Warn().Strs("looked_in", dirs).Msg("no capsules found")
	}
	var uplinks []int
	for i, m := range start.Manifests {
		f := &found{manifest: m, brought: capsules[m.ID()], interceptors: interceptorsOf(m), waitsFor: start.WaitsFor[i]}
		if m.Capabilities.Uplink {
			uplinks = append(uplinks, i) // they come first, and import nothing
		} else {
			f.waitsFor = append(slices.Clone(uplinks), f.waitsFor...)
			slices.Sort(f.waitsFor)
			f.waitsFor = slices.Compact(f.waitsFor)
		}
		s.found = append(s.found, f)
		policy := s.cfg.forCapsule(m).restart
		s.record.enter(&messages.Capsule{
			Path: actors.CapsulePath(m.ID()), Id: m.ID(), Version: m.Package.Version, Directory: m.Dir,
			MemoryLimitBytes: uint64(s.cfg.MemoryLimitPages) << 16,
			State:            messages.CapsuleState_CAPSULE_STATE_LOADING, Interceptors: f.interceptors,
			Restart: string(policy.Mode), Budget: uint32(policy.Budget), Window: durationpb.New(policy.Window), //nolint:gosec // not negative
		})
	}
	for _, r := range discovery.Rejected {
		path := ""
		if r.ID != "" && capsules[r.ID] == nil {
			path = actors.CapsulePath(r.ID)
			s.record.enter(&messages.Capsule{Path: path, Id: r.ID, Directory: r.Dir})
		}
		s.record.observe(&messages.Event{Path: path, What: &messages.Event_CapsuleRejected{
			CapsuleRejected: &messages.CapsuleRejected{Id: r.ID, Directory: r.Dir, Problem: r.Err.Error()},
		}})
	}
}

func interceptorsOf(m *manifest.Manifest) []*messages.Interceptor {
	out := make([]*messages.Interceptor, len(m.Interceptors))
	for i, in := range m.Interceptors {
		out[i] = &messages.Interceptor{Event: in.Event, Action: in.Action, Priority: in.Priority}
	}
	return out
}
