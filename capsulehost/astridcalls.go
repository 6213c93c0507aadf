package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"
)

// notServed lists the calls of astrid-capsule 0.5.0 that this host does not
// implement yet: the number of blocks each receives, and whether it returns one. A
// capsule that imports one loads, and traps when it calls it.
var notServed = map[string]struct {
	arguments int
	answers   bool
}{
	"astrid_elicit":                 {1, true},
	"astrid_has_secret":             {1, true},
	"astrid_kill_process_host":      {1, true},
	"astrid_net_accept":             {1, true},
	"astrid_net_bind_unix":          {1, true},
	"astrid_net_close_stream":       {1, false},
	"astrid_net_poll_accept":        {1, true},
	"astrid_net_read":               {1, true},
	"astrid_net_write":              {2, false},
	"astrid_read_process_logs_host": {1, true},
	"astrid_request_approval":       {1, true},
	"astrid_spawn_background_host":  {1, true},
	"astrid_spawn_host":             {1, true},
	"astrid_uplink_register":        {3, true},
	"astrid_uplink_send":            {3, true},
}

// shimFunctions are the functions of the module "shim", through which QuickJS
// capsules call host functions. None is implemented yet.
var shimFunctions = []hostFunction{
	{"__get_function_arg_type", []api.ValueType{i32, i32}, []api.ValueType{i32}, trapNotServed},
	{"__get_function_return_type", []api.ValueType{i32}, []api.ValueType{i32}, trapNotServed},
	{"__invokeHostFunc", []api.ValueType{i32, i64, i64, i64, i64, i64}, []api.ValueType{i64}, trapNotServed},
}

func trapNotServed(context.Context, *Instance, []uint64) error {
	return errors.New("this host does not have this system call yet")
}

// userFunctions returns all functions of `extism:host/user`.
func userFunctions() []hostFunction {
	all := slices.Concat(systemCalls, fileCalls, stateCalls, busCalls, httpCalls, identityCalls)
	for name, f := range notServed {
		var results []api.ValueType
		if f.answers {
			results = []api.ValueType{i64}
		}
		all = append(all, hostFunction{name, slices.Repeat([]api.ValueType{i64}, f.arguments), results, trapNotServed})
	}
	return all
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

// NotServed returns the sorted names of the system calls that the module imports and
// that this host does not implement yet. The module traps when it calls one.
func (m *Module) NotServed() []string {
	var names []string
	for _, d := range m.compiled.ImportedFunctions() {
		module, name, _ := d.Import()
		if _, ok := notServed[name]; ok && module == userModuleName || module == shimModuleName {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
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
