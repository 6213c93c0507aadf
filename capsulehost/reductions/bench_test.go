package reductions_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/astrid-actors/astrid-actors/capsulehost/reductions"
)

// The cost of counting: each function of testdata/bench.wat unmodified, rewritten, and with
// wazero's own deadline.
func BenchmarkCounting(b *testing.B) {
	wasm := read(b, "testdata/bench.wasm")
	counted, _, err := reductions.Rewrite(wasm, reductions.Config{})
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range []struct {
		name string
		n    uint64
	}{{"trivial", 1}, {"squares", 100_000}, {"memory", 100_000}, {"mix", 100_000}, {"sieve", 100_000}, {"fib", 20}, {"copies", 10_000}} {
		for _, how := range []struct {
			name string
			wasm []byte
			cfg  wazero.RuntimeConfig
		}{
			{"plain", wasm, wazero.NewRuntimeConfig()},
			{"counted", counted, wazero.NewRuntimeConfig()},
			{"wazero's deadline", wasm, wazero.NewRuntimeConfig().WithCloseOnContextDone(true)},
		} {
			b.Run(f.name+"/"+how.name, func(b *testing.B) {
				ctx, cancel := context.WithCancel(b.Context())
				defer cancel()
				r := wazero.NewRuntimeWithConfig(ctx, how.cfg)
				defer r.Close(ctx)
				var ticks int
				link(b, r, 4000, &ticks)
				m, err := r.Instantiate(ctx, how.wasm)
				if err != nil {
					b.Fatal(err)
				}
				function := m.ExportedFunction(f.name)
				var stack [1]uint64
				b.ReportAllocs()
				for b.Loop() {
					stack[0] = f.n
					if err := function.CallWithStack(ctx, stack[:]); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// The cost of rewriting a stock-Go guest of megabytes.
func BenchmarkRewrite(b *testing.B) {
	wasm := goGuest(b)
	b.SetBytes(int64(len(wasm)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := reductions.Rewrite(wasm, reductions.Config{}); err != nil {
			b.Fatal(err)
		}
	}
}

// The work of a stock-Go guest: decode and encode JSON.
func BenchmarkGoGuest(b *testing.B) {
	wasm := goGuest(b)
	counted, _, err := reductions.Rewrite(wasm, reductions.Config{})
	if err != nil {
		b.Fatal(err)
	}
	for _, how := range []struct {
		name string
		wasm []byte
		cfg  wazero.RuntimeConfig
	}{
		{"plain", wasm, wazero.NewRuntimeConfig()},
		{"counted", counted, wazero.NewRuntimeConfig()},
		{"wazero's deadline", wasm, wazero.NewRuntimeConfig().WithCloseOnContextDone(true)},
	} {
		b.Run(how.name, func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			r := wazero.NewRuntimeWithConfig(ctx, how.cfg)
			defer r.Close(ctx)
			var ticks int
			link(b, r, 4000, &ticks)
			work := startGoGuest(b, r, how.wasm)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := work.Call(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// goGuest builds testdata/guest, a Go module that uses no host's ABI.
func goGuest(t testing.TB) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "guest.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-o", file, "./testdata/guest")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the guest: %v\n%s", err, out)
	}
	return read(t, file)
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
