package capsulehost

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/kernel"
	"github.com/astrid-actors/astrid-actors/capsulehost/reductions"
)

// DefaultMemoryLimitPages is the limit of a guest's memory in pages of 64 KiB: 64 MiB.
const DefaultMemoryLimitPages = 1024

// MaxMemoryLimitPages is what WebAssembly can address: 4 GiB.
const MaxMemoryLimitPages = 65536

// tableLimit is the most elements of all tables of a guest, 8 bytes each: its memory
// limit does not cover them.
const tableLimit = 1 << 20

// features are what a guest may be made of: WebAssembly 2.0, and what compilers
// make of tail calls and of shared libraries. No threads: a guest has one.
const features = api.CoreFeaturesV2 | experimental.CoreFeaturesTailCall | experimental.CoreFeaturesExtendedConst

// Config is what a Host is made of. Its zero value is useful.
type Config struct {
	// MemoryLimitPages bounds the guest's memory, and the memory that it shares
	// with the host, each, in pages of 64 KiB; 0 means DefaultMemoryLimitPages.
	MemoryLimitPages uint32
	// Tick is after how many reductions a guest is looked at: whether its call has
	// time and budget left, and whether others wait for their turn. 0 means
	// DefaultTick. More cost a little less, and are noticed later.
	Tick uint32
	// Processors is how many guests may run at a time for longer than a tick. 0 is
	// one less than Go has (GOMAXPROCS), but one at least: while all are busy, Go
	// looks at the network only every 10 ms. A process that lives for its guests
	// has all cores for them, and a latency of some 3 ms, with a GOMAXPROCS of one
	// more than there are cores.
	Processors int
	// CacheDir keeps compiled modules across processes; "" keeps none. It is
	// made where missing, and may be shared by processes.
	CacheDir string
}

// Host compiles capsules. It may be used from any goroutine.
type Host struct {
	runtime      wazero.Runtime
	cache        wazero.CompilationCache // nil without a CacheDir
	kernel       wazero.CompiledModule
	moduleConfig wazero.ModuleConfig // the kernel's and the guests'
	wasi         api.Module
	user, shim   api.Module
	memoryLimit  uint64 // bytes
	counting     reductions.Config
	tick         int64 // the most reductions between two looks at a guest
	scheduler    scheduler
}

// New returns a Host. Close it when its instances are closed. The context is
// only for making it.
func New(ctx context.Context, cfg Config) (*Host, error) {
	pages := cfg.MemoryLimitPages
	if pages == 0 {
		pages = DefaultMemoryLimitPages
	}
	if pages > MaxMemoryLimitPages {
		return nil, fmt.Errorf("memory limit of %d pages: WebAssembly has at most %d", pages, MaxMemoryLimitPages)
	}
	runtimeConfig := wazero.NewRuntimeConfig().
		WithMemoryLimitPages(pages).
		WithCoreFeatures(features).
		WithDebugInfoEnabled(false) // its offsets are not those of the rewritten module
	h := &Host{
		scheduler:   scheduler{processors: cfg.Processors},
		memoryLimit: uint64(pages) << 16, tick: int64(cmp.Or(cfg.Tick, DefaultTick)),
		counting: reductions.Config{MemoryLimitPages: pages, TableLimit: tableLimit, Budget: reductions.DefaultBudget()},
	}
	if cfg.CacheDir != "" {
		cache, err := wazero.NewCompilationCacheWithDir(cfg.CacheDir)
		if err != nil {
			return nil, fmt.Errorf("open the cache of compiled modules %q: %w", cfg.CacheDir, err)
		}
		h.cache, runtimeConfig = cache, runtimeConfig.WithCompilationCache(cache)
	}
	h.runtime = wazero.NewRuntimeWithConfig(ctx, runtimeConfig)
	if err := h.link(ctx); err != nil {
		return nil, errors.Join(err, h.Close(ctx))
	}
	return h, nil
}

// link makes what every guest is linked to, and compiles the kernel.
func (h *Host) link(ctx context.Context) (err error) {
	// The kernel's import, by the name that kernel.wat gives it.
	env := h.runtime.NewHostModuleBuilder("host")
	for _, f := range envFunctions {
		f.owning().export(env)
	}
	if _, err = env.Instantiate(ctx); err != nil {
		return fmt.Errorf("make the kernel's imports: %w", err)
	}
	// The tick, which only rewritten modules import.
	ticks := h.runtime.NewHostModuleBuilder(reductions.ImportModule)
	ticks.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(tick), nil, nil).Export(reductions.Tick)
	if _, err = ticks.Instantiate(ctx); err != nil {
		return fmt.Errorf("make the tick: %w", err)
	}
	if h.kernel, err = h.runtime.CompileModule(ctx, kernel.Wasm); err != nil {
		return fmt.Errorf("compile the kernel: %w", err)
	}
	// Nothing is to be seen through wazero's own WASI. Without a source of random
	// numbers it would seed one for each module.
	h.moduleConfig = wazero.NewModuleConfig().WithName("").WithStartFunctions().WithRandSource(rand.Reader)
	if h.wasi, err = instantiateWASI(ctx, h.runtime); err != nil {
		return fmt.Errorf("make WASI: %w", err)
	}
	if h.user, err = h.hostModule(ctx, userModuleName, userFunctions()); err != nil {
		return err
	}
	h.shim, err = h.hostModule(ctx, shimModuleName, shimFunctions)
	return err
}

// Close frees the host and everything made with it. It waits for no call: end
// them first.
func (h *Host) Close(ctx context.Context) error {
	err := h.runtime.Close(ctx)
	if h.cache != nil {
		err = errors.Join(err, h.cache.Close(ctx))
	}
	return err
}
