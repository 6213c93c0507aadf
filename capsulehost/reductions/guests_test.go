package reductions_test

import (
	"context"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// startGoGuest instantiates testdata/guest and returns its one function.
func startGoGuest(t testing.TB, r wazero.Runtime, wasm []byte) api.Function {
	t.Helper()
	ctx := context.Background()
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		t.Fatal(err)
	}
	m, err := r.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithStartFunctions("_initialize"))
	if err != nil {
		t.Fatal(err)
	}
	return m.ExportedFunction("work")
}
