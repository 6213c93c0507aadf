package catalog

import (
	"path/filepath"
	"slices"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/messages"
)

// Entry is one capsule that may be started.
type Entry struct {
	Manifest     *manifest.Manifest
	Embedded     *Embedded // nil for one from a directory
	Interceptors []messages.Interceptor
	WaitsFor     []string // the ids of the capsules that start before it
}

// Embedded is a capsule that is embedded in the program: either a module, or a function
// that creates its instances.
type Embedded struct {
	Manifest *manifest.Manifest
	Module   []byte
	Load     LoadFunc
}

// Catalog is the result of a discovery.
type Catalog struct {
	Entries  []Entry // in start order
	Rejected []manifest.Rejected
	Warnings []manifest.Problem
	// Cycle describes a cycle of imports, whose members start in the order of their
	// discovery; nil if there is none.
	Cycle error
	// LookedIn are the directories that were searched.
	LookedIn []string
}

// Places are where capsules are looked for.
type Places struct {
	Dirs []string // of capsules, or of directories that contain such directories
	// Given: the operator has named them, so they must exist.
	Given bool
}

// PlacesOf returns dirs; or, if there are none and the program brings no capsules along,
// the principal's capsules and ./.astrid/capsules.
func PlacesOf(h home.Home, principal home.Principal, dirs []string, embedded bool) Places {
	if len(dirs) == 0 && !embedded {
		return Places{Dirs: []string{h.CapsulesDir(principal), filepath.Join(".astrid", "capsules")}}
	}
	return Places{Dirs: dirs, Given: true}
}

// Discover finds the capsules in some places, and adds them to the embedded ones.
func Discover(places Places, embedded []*Embedded) *Catalog {
	c := &Catalog{LookedIn: places.Dirs}
	discovery := manifest.Discover(places.Dirs, places.Given)
	c.Rejected, c.Warnings = discovery.Rejected, discovery.Warnings
	var manifests []*manifest.Manifest
	byID := map[string]*Embedded{}
	for _, e := range embedded {
		manifests = append(manifests, e.Manifest)
		byID[e.Manifest.ID()] = e
	}
	for _, m := range discovery.Manifests {
		if byID[m.ID()] != nil {
			c.Warnings = append(c.Warnings, manifest.Problem{
				File: m.File, Key: "package.name", Message: "is the name of a capsule that the program brings along: that one runs",
			})
			continue
		}
		manifests = append(manifests, m)
	}
	start := manifest.Order(manifests)
	c.Cycle = start.Cycle
	c.Warnings = append(c.Warnings, start.Warnings...)
	for _, m := range start.Manifests {
		c.Warnings = append(c.Warnings, m.Warnings...)
	}
	var uplinks []string
	for i, m := range start.Manifests {
		e := Entry{Manifest: m, Embedded: byID[m.ID()], Interceptors: interceptorsOf(m)}
		if m.Capabilities.Uplink {
			uplinks = append(uplinks, m.ID()) // they come first, and import nothing
		} else {
			e.WaitsFor = slices.Clone(uplinks)
		}
		for _, n := range start.WaitsFor[i] {
			if id := start.Manifests[n].ID(); !slices.Contains(e.WaitsFor, id) {
				e.WaitsFor = append(e.WaitsFor, id)
			}
		}
		c.Entries = append(c.Entries, e)
	}
	return c
}

func interceptorsOf(m *manifest.Manifest) []messages.Interceptor {
	out := make([]messages.Interceptor, len(m.Interceptors))
	for i, in := range m.Interceptors {
		out[i] = messages.Interceptor{
			Event: in.Event, Action: in.Action, Priority: in.Priority, Durable: in.Durable, Attempts: in.Attempts, OrderedBy: in.OrderedBy,
		}
	}
	return out
}
