package supervisor

import (
	"fmt"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/catalog"
)

// Capsule is a capsule that is embedded in the program, instead of read from a
// directory.
type Capsule struct {
	// Manifest is the text of its Capsule.toml. The module's file and hash in it are
	// ignored.
	Manifest string
	// Module is its WebAssembly module. Its hash is not checked: it is part of the
	// program.
	Module []byte
	// Load creates its instances, instead of Module: guests written in Go.
	Load LoadFunc
}

// LoadFunc creates a new instance of a capsule, which calls its host through api. An
// error counts as a crash; a *capsulehost.Failure names the kind of crash. It runs on
// the capsule's goroutine and must return when ctx ends.
type LoadFunc = catalog.LoadFunc

// Guest is an instance as the system calls it. One goroutine at a time calls it, and
// calls Close last. Ending a call's context interrupts the call. An error that is a
// *capsulehost.Failure means that the instance is lost; any other error was reported by
// the guest, and the instance stays. A Guest that wraps another may have an Unwrap()
// Guest method, so that the reductions and the memory of the inner one are still
// counted.
type Guest = actors.Guest

// embedded reads the manifests of Config.Capsules. Problems in them are mistakes of the
// program.
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
