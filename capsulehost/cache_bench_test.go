package capsulehost

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// BenchmarkCachedStart compares the start of a cached stock-Go module of megabytes with
// wazero's own start from its own cache: a new host or runtime with WASI, until the module can
// be instantiated. The two alternate, so that other load on the machine affects both.
//
//	go test -run '^$' -bench CachedStart ./capsulehost
func BenchmarkCachedStart(b *testing.B) {
	wasm := goModule(b)
	dir, wazeroDir := b.TempDir(), b.TempDir()
	ctx := context.Background()
	ours := func() {
		h, err := New(ctx, Config{CacheDir: dir})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := h.Compile(ctx, wasm); err != nil {
			b.Fatal(err)
		}
		if err := h.Close(ctx); err != nil {
			b.Fatal(err)
		}
	}
	wazeros := func() {
		cache, err := wazero.NewCompilationCacheWithDir(wazeroDir)
		if err != nil {
			b.Fatal(err)
		}
		r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(features).WithCompilationCache(cache))
		if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
			b.Fatal(err)
		}
		if _, err := r.CompileModule(ctx, wasm); err != nil {
			b.Fatal(err)
		}
		if err := r.Close(ctx); err != nil {
			b.Fatal(err)
		}
		if err := cache.Close(ctx); err != nil {
			b.Fatal(err)
		}
	}
	ours()
	wazeros()
	mine, theirs := time.Hour, time.Hour
	for b.Loop() {
		began := time.Now()
		ours()
		between := time.Now()
		wazeros()
		mine, theirs = min(mine, between.Sub(began)), min(theirs, time.Since(between))
	}
	b.ReportMetric(float64(mine.Microseconds())/1000, "ours-least-ms")
	b.ReportMetric(float64(theirs.Microseconds())/1000, "wazero-least-ms")
	b.ReportMetric(float64(mine)/float64(theirs), "ours/wazero")
	b.ReportMetric(float64(len(wasm))/1e6, "MB")
}

// goModule builds a module of megabytes.
func goModule(t testing.TB) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "guest.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-o", file, "./reductions/testdata/guest")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the guest: %v\n%s", err, out)
	}
	return read(t, file)
}
