package capsulehost

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzLoad loads and calls arbitrary modules: real capsules with some bytes changed, parts of
// them, and mutations by the fuzzer. The result is an instance that answers, or one *Failure;
// it never panics and never hangs.
func FuzzLoad(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*.wasm")
	more, _ := filepath.Glob("../test/capsules/*/*.wasm")
	random := rand.New(rand.NewPCG(7, 8))
	for _, path := range append(paths, more...) {
		wasm, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wasm, uint32(0), byte(0), uint32(len(wasm)))
		for range 4 {
			f.Add(wasm, random.Uint32(), byte(random.Uint32()), uint32(len(wasm)))
		}
		f.Add(wasm, uint32(0), byte(0), random.Uint32())
	}
	h := newHost(f, Config{MemoryLimitPages: 16, Tick: 100})
	f.Fuzz(func(t *testing.T, wasm []byte, at uint32, b byte, n uint32) {
		if len(wasm) > 0 {
			wasm = bytes.Clone(wasm[:1+int(n)%len(wasm)])
			wasm[int(at)%len(wasm)] ^= b
		}
		began := time.Now()
		err := loadAndCall(t, h, wasm)
		var failure *Failure
		var own *GuestError
		if err != nil && !errors.As(err, &failure) && !errors.As(err, &own) {
			t.Errorf("%T is neither a Failure nor the guest's own: %v", err, err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func loadAndCall(t *testing.T, h *Host, wasm []byte) error {
	t.Helper()
	m, err := h.Compile(t.Context(), wasm)
	if err != nil {
		return err
	}
	defer m.Close(context.Background())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	i, err := m.Instantiate(ctx, &world{peers: &asked{}})
	if err != nil {
		return err
	}
	defer i.Close(context.Background())
	i.SetBudget(Budget{Reductions: 100_000})
	if m.RunLoop() {
		return i.Run(ctx)
	}
	_, err = i.Invoke(ctx, "act", []byte(`{"a":1}`))
	return err
}
