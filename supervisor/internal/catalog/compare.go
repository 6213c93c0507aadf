package catalog

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

// Reread reads the manifest of a capsule again. Its error says why it can't be used.
func (e *Entry) Reread() (*Entry, error) {
	if e.Embedded != nil {
		return e, nil
	}
	m, err := manifest.Load(e.Manifest.Dir)
	if err != nil {
		return nil, err
	}
	if m.ID() != e.Manifest.ID() {
		return nil, fmt.Errorf("%s is the manifest of %q now, not of %q", m.File, m.ID(), e.Manifest.ID())
	}
	return &Entry{Manifest: m, Interceptors: interceptorsOf(m), WaitsFor: e.WaitsFor}, nil
}

// Changed reports whether a capsule that was discovered again differs from what this
// source runs: in its manifest, its module or its configuration. What can't be read has
// changed, so that the upgrade says why.
func (s *Source) Changed(e *Entry) bool {
	if e.Embedded != nil || s.entry.Embedded != nil {
		return e.Embedded != s.entry.Embedded
	}
	if e.Manifest.Digest != s.entry.Manifest.Digest || e.Manifest.Dir != s.entry.Manifest.Dir {
		return true
	}
	values, _ := Configuration(context.Background(), s.cfg, e)
	if !maps.Equal(values, s.Values()) || !slices.Equal(e.WaitsFor, s.entry.WaitsFor) {
		return true
	}
	_, hash, err := e.Manifest.ReadModule(s.cfg.Home, s.cfg.AllowUnverified)
	return err != nil || hash != s.Hash()
}
