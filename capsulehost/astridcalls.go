package capsulehost

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"
)

// userFunctions returns all functions of `extism:host/user`: the 49 of astrid-capsule 0.5.0.
func userFunctions() []hostFunction {
	return slices.Concat(systemCalls, fileCalls, stateCalls, busCalls, httpCalls, identityCalls,
		approvalCalls, promptCalls, uplinkCalls, netCalls, processCalls)
}

// hostModule instantiates a module of functions that guests import by its name.
func (h *Host) hostModule(ctx context.Context, name string, functions []hostFunction) (api.Module, error) {
	b := h.runtime.NewHostModuleBuilder(name)
	for _, f := range functions {
		f.export(b)
	}
	m, err := b.Instantiate(ctx)
	if err != nil {
		return nil, fmt.Errorf("make %q: %w", name, err)
	}
	return m, nil
}

// missing collects the imports that the host does not have, by module, in the order
// of their first import.
type missing struct {
	modules []string
	names   map[string][]string
}

func (m *missing) add(module, name string) {
	if m.names == nil {
		m.names = map[string][]string{}
	}
	if m.names[module] == nil {
		m.modules = append(m.modules, module)
	}
	if !slices.Contains(m.names[module], name) {
		m.names[module] = append(m.names[module], name)
	}
}

// failure describes all missing imports in one sentence. It returns nil if there are none.
func (m *missing) failure() *Failure {
	if len(m.modules) == 0 {
		return nil
	}
	parts := make([]string, len(m.modules))
	for i, module := range m.modules {
		names := m.names[module]
		for n := range names {
			names[n] = fmt.Sprintf("%q", names[n])
		}
		parts[i] = enumerate(names) + fmt.Sprintf(" from %q", module)
	}
	return linkFailure("it imports %s, which this host does not have", enumerate(parts))
}

// enumerate joins a list as text: "a, b and c".
func enumerate(items []string) string {
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	return strings.Join(items[:len(items)-1], ", ") + " and " + items[len(items)-1]
}
