package capsulehost

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/compiler"
	"github.com/astrid-actors/astrid-actors/capsulehost/internal/kernel"
	"github.com/astrid-actors/astrid-actors/capsulehost/internal/modcache"
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
	// CacheDir keeps compiled modules across processes; "" keeps none. It is made
	// where missing, must belong to the user of the process, and may be shared by
	// processes. Its entries are authenticated, since they are executed. A cache that
	// is damaged, full or can't be used is logged, and does not fail anything.
	CacheDir string
	// Log receives what is wrong with the cache, once for each kind of trouble. nil
	// logs nothing.
	Log *slog.Logger
}

// Host compiles capsules. It may be used from any goroutine.
type Host struct {
	runtime      wazero.Runtime // the compiler's
	kernel       wazero.CompiledModule
	moduleConfig wazero.ModuleConfig // the kernel's and the guests'
	wasi         api.Module
	user, shim   api.Module
	memoryLimit  uint64 // bytes
	counting     reductions.Config
	settings     string // that decide what modules are compiled to
	tick         int64  // the most reductions between two looks at a guest
	scheduler    scheduler

	compiler *compiler.Compiler
	compile  func(ctx context.Context, wasm []byte, id [32]byte) (compiler.Code, error) // the compiler's
	store    *modcache.Store                                                            // nil without a CacheDir
	heavy    chan struct{}                                                              // holds the heavy compilations that run
	closing  chan struct{}                                                              // closed by Close

	mu      sync.Mutex
	modules map[modcache.Name]*sharedModule // those that somebody waits for or holds, or that are being compiled
	builds  int                             // how many goroutines compile

	loading sync.RWMutex // held while a module is loaded into the runtime
	closed  bool         // guarded by loading
}

// ErrClosed: the host is closed.
var ErrClosed = errors.New("the host is closed")

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
		heavy:    make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)),
		closing:  make(chan struct{}),
		modules:  map[modcache.Name]*sharedModule{},
	}
	h.settings = settings(h.counting)
	if cfg.CacheDir != "" {
		log := cfg.Log
		if log == nil {
			log = slog.New(slog.DiscardHandler)
		}
		h.store = modcache.Open(cfg.CacheDir, log)
	}
	h.compiler = compiler.New(ctx, runtimeConfig)
	h.runtime, h.compile = h.compiler.Runtime, h.compiler.Compile
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
	kernelName := h.nameOf("kernel", kernel.Wasm)
	h.kernel, _, err = h.obtain(ctx, kernelName, func() (artifact, error) {
		code, err := h.compile(ctx, kernel.Wasm, kernelName)
		return artifact{code: code}, err
	})
	if err != nil {
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
// them first. Nor does it wait for compilations; Compile returns [ErrClosed].
func (h *Host) Close(ctx context.Context) error {
	h.loading.Lock()
	defer h.loading.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	close(h.closing)
	return h.compiler.Close(ctx)
}
