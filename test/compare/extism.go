package main

import (
	"context"
	"errors"
	"fmt"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero/api"
)

const sdk = "Extism Go SDK"

// plugins creates plugins with the Extism Go SDK. They can be stopped: the time limit is
// longer than any call here.
type plugins struct{ *extism.CompiledPlugin }

func newPlugins(ctx context.Context, wasm []byte) (*plugins, error) {
	c, err := extism.NewCompiledPlugin(ctx,
		extism.Manifest{Wasm: []extism.Wasm{extism.WasmData{Data: wasm}}, Timeout: 60_000},
		extism.PluginConfig{EnableWasi: true}, refusals())
	if err != nil {
		return nil, fmt.Errorf("compile plugin: %w", err)
	}
	return &plugins{c}, nil
}

func (p *plugins) instantiate(ctx context.Context) (*plugin, error) {
	i, err := p.Instance(ctx, extism.PluginInstanceConfig{})
	if err != nil {
		return nil, fmt.Errorf("instantiate plugin: %w", err)
	}
	return &plugin{i}, nil
}

type plugin struct{ *extism.Plugin }

// call calls an export with some input.
func (p *plugin) call(ctx context.Context, export string, input []byte) ([]byte, error) {
	code, output, err := p.CallWithContext(ctx, export, input)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s returned %d", export, code)
	}
	return output, err
}

// refusals are implementations of the system calls that always fail, so that every guest
// links; no guest here calls them.
func refusals() []extism.HostFunction {
	var out []extism.HostFunction
	for name, f := range systemCalls {
		refuse := func(context.Context, *extism.CurrentPlugin, []uint64) {
			panic(errors.New(name + " is not here"))
		}
		out = append(out, extism.NewHostFunctionWithStack(name, refuse, f.params, f.results))
	}
	return out
}

var systemCalls = map[string]struct{ params, results []api.ValueType }{
	"astrid_log":                      {i64s(2), nil},
	"astrid_get_config":               {i64s(1), i64s(1)},
	"astrid_get_caller":               {nil, i64s(1)},
	"astrid_signal_ready":             {nil, nil},
	"astrid_clock_ms":                 {nil, i64s(1)},
	"astrid_trigger_hook":             {i64s(1), i64s(1)},
	"astrid_check_capsule_capability": {i64s(1), i64s(1)},
}

func i64s(n int) []api.ValueType {
	return []api.ValueType{api.ValueTypeI64, api.ValueTypeI64}[:n]
}
