package reductions_test

import (
	"context"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/astrid-actors/astrid-actors/capsulehost/reductions"
)

// startGoGuest instantiates testdata/guest and returns its only function.
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

// A rewritten stock-Go guest answers the same, and each new instance spends the same.
func TestGoGuest(t *testing.T) {
	wasm := goGuest(t)
	ctx := context.Background()
	plain := wazero.NewRuntime(ctx)
	defer plain.Close(ctx)
	want, err := startGoGuest(t, plain, wasm).Call(ctx)
	if err != nil {
		t.Fatal(err)
	}
	counted, _, err := reductions.Rewrite(wasm, reductions.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cache := wazero.NewCompilationCache()
	defer cache.Close(ctx)
	var ticks [2]int
	for i := range ticks {
		r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCompilationCache(cache))
		link(t, r, 100, &ticks[i])
		got, err := startGoGuest(t, r, counted).Call(ctx)
		if err != nil || got[0] != want[0] {
			t.Errorf("got %v and %v, want %v", got, err, want)
		}
		_ = r.Close(ctx)
	}
	if ticks[0] < 1000 || ticks[0] != ticks[1] {
		t.Errorf("%d ticks, then %d", ticks[0], ticks[1])
	}
}
