package supervisor

import (
	"fmt"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/catalog"
)

// Capsule is a capsule that the program brings along, instead of a directory.
type Capsule struct {
	// Manifest is the text of its Capsule.toml. What it says of the module's
	// file and hash does not count.
	Manifest string
	// Module is its WebAssembly module. It is not verified: it came with the program.
	Module []byte
	// Load, in the place of a Module, makes its instances: guests written in Go.
	Load LoadFunc
}

// LoadFunc makes a fresh instance of a capsule, which asks its host through api. An
// error counts as a crash; a *capsulehost.Failure says of which kind. It runs on
// the capsule's goroutine and must end when ctx does.
type LoadFunc = catalog.LoadFunc

// Guest is an instance as the system calls it: one goroutine at a time, and Close
// at its end. Ending a call's context interrupts it. A *capsulehost.Failure means
// that the instance is lost, any other error that the guest reported one itself.
// One that wraps another may have an Unwrap() Guest, so that its reductions and its
// memory are still counted.
type Guest = actors.Guest

// embedded reads the manifests of Config.Capsules. Problems are the program's
// mistakes.
func embedded(capsules []Capsule) (all []*catalog.Embedded, problems []error) {
	names := map[string]bool{}
	for i, c := range capsules {
		name := fmt.Sprintf("Capsules[%d]", i)
		m, err := manifest.Parse(name, []byte(c.Manifest))
		if m != nil {
			name += fmt.Sprintf(" (%s)", m.ID())
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("config: %w", err))
		}
		if (c.Module == nil) == (c.Load == nil) {
			problems = append(problems, fmt.Errorf("config: %s needs either a Module or a Load", name))
		}
		if err != nil {
			continue
		}
		if names[m.ID()] {
			problems = append(problems, fmt.Errorf("config: %s: another one has the same name", name))
			continue
		}
		names[m.ID()] = true
		all = append(all, &catalog.Embedded{Manifest: m, Module: c.Module, Load: c.Load})
	}
	return all, problems
}
