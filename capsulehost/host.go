package capsulehost

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
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

// MaxMemoryLimitPages is the most that WebAssembly can address: 4 GiB.
const MaxMemoryLimitPages = 65536

// tableLimit is the maximum number of elements in all tables of a guest, at 8 bytes
// each. The memory limit does not include tables.
const tableLimit = 1 << 20

// features are WebAssembly 2.0, and the extensions that compilers use for tail calls
// and shared libraries. Threads are excluded: a guest has one.
const features = api.CoreFeaturesV2 | experimental.CoreFeaturesTailCall | experimental.CoreFeaturesExtendedConst

// Config configures a Host. The zero value is useful.
type Config struct {
	// MemoryLimitPages limits the guest's memory, and separately the memory that it
	// shares with the host, in pages of 64 KiB. 0 means DefaultMemoryLimitPages.
	MemoryLimitPages uint32
	// Tick is the maximum number of reductions between two checks of a guest: of its
	// deadline and budget, and of other guests that wait to run. A larger value costs a
	// little less and delays these checks. 0 means DefaultTick.
	Tick uint32
	// Processors is the maximum number of guests that run at the same time for longer
	// than 2 ms each. 0 means GOMAXPROCS - 1, but at least 1: while all of Go's processors
	// are busy, Go polls the network only every 10 ms. A process that mainly runs guests
	// can set GOMAXPROCS to one more than its cores; guests then use all cores, and the
	// network latency is some 3 ms.
	Processors int
	// CacheDir is the directory that keeps compiled modules across processes; "" disables
	// the cache. It is created if missing, must belong to the user of the process, and may
	// be shared by processes. Entries are authenticated, since they contain code. A cache
	// that is damaged, full or unusable is logged, and never causes an error.
	CacheDir string
	// CompileCommand, if not empty, is a command, a path and its arguments, that calls
	// [ServeCompile] with its standard input and output, and then ends. A module whose
	// compilation is expected to take long is compiled by it, in a process of its own with
	// a low priority: it takes no time and no memory from the calls of this process, and it
	// can be killed. If the command can't be run, or gives no useful answer, that is logged
	// once, and the module is compiled here.
	CompileCommand []string
	// CompileWorkers is the number of goroutines that compile one module in this process. 0
	// means 1, which leaves the other processors to guests. With one for each processor a
	// large module is compiled sooner; the code is the same. Each needs as much memory as
	// the module's largest function.
	CompileWorkers int
	// HostFunctions are offered to guests besides the system calls.
	HostFunctions []HostFunction
	// Log receives problems with the cache and with CompileCommand, once for each kind of
	// problem. nil disables logging.
	Log *slog.Logger
}

// Host compiles capsules. It is safe for concurrent use.
type Host struct {
	runtime      wazero.Runtime // the compiler's
	kernel       wazero.CompiledModule
	moduleConfig wazero.ModuleConfig // for the kernel and the guests
	wasi         api.Module
	user, shim   api.Module
	offered      map[string]api.Module // of HostFunctions, by name space
	memoryLimit  uint64                // bytes
	counting     reductions.Config
	settings     string // all settings that affect compiled code
	tick         int64  // maximum reductions between two checks of a guest
	scheduler    scheduler

	compiler *compiler.Compiler
	compile  func(ctx context.Context, wasm []byte, id [32]byte) (compiler.Code, error) // with the compiler
	store    *modcache.Store                                                            // nil without a CacheDir
	heavy    chan struct{}                                                              // one element per running heavy compilation

	compileCommand []string
	childFailed    sync.Once // logs that compileCommand has failed
	log            *slog.Logger

	closing chan struct{} // closed by Close

	mu      sync.Mutex
	modules map[modcache.Name]*sharedModule // modules with holders, or being compiled
	builds  int                             // number of compiling goroutines

	loading sync.RWMutex // held while a module is loaded into the runtime
	closed  bool         // guarded by loading
}

// ErrClosed reports that the host is closed.
var ErrClosed = errors.New("the host is closed")

// New returns a Host. Close its instances first, then the Host. ctx is used only
// during New.
func New(ctx context.Context, cfg Config) (*Host, error) {
	pages := cfg.MemoryLimitPages
	if pages == 0 {
		pages = DefaultMemoryLimitPages
	}
	if pages > MaxMemoryLimitPages {
		return nil, fmt.Errorf("memory limit of %d pages: WebAssembly has at most %d", pages, MaxMemoryLimitPages)
	}
	h := &Host{
		scheduler:   scheduler{processors: cfg.Processors},
		memoryLimit: uint64(pages) << 16, tick: int64(cmp.Or(cfg.Tick, DefaultTick)),
		counting: countingConfig(pages),
		heavy:    make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)),
		closing:  make(chan struct{}),
		modules:  map[modcache.Name]*sharedModule{},
		log:      cfg.Log, compileCommand: slices.Clone(cfg.CompileCommand),
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.settings = settings(h.counting)
	if cfg.CacheDir != "" {
		h.store = modcache.Open(cfg.CacheDir, h.log)
	}
	h.compiler = compiler.New(ctx, runtimeConfig(pages))
	h.runtime = h.compiler.Runtime
	h.compile = func(ctx context.Context, wasm []byte, id [32]byte) (compiler.Code, error) {
		return h.compiler.Compile(experimental.WithCompilationWorkers(ctx, cfg.CompileWorkers), wasm, id)
	}
	err := h.link(ctx)
	if err == nil {
		err = h.offer(ctx, cfg.HostFunctions)
	}
	if err != nil {
		return nil, errors.Join(err, h.Close(ctx))
	}
	return h, nil
}

// runtimeConfig and countingConfig depend on nothing but the limit of memory, in pages: a
// process that compiles for a host has the same.
func runtimeConfig(pages uint32) wazero.RuntimeConfig {
	return wazero.NewRuntimeConfig().
		WithMemoryLimitPages(pages).
		WithCoreFeatures(features).
		WithDebugInfoEnabled(false) // its offsets do not match the rewritten module
}

func countingConfig(pages uint32) reductions.Config {
	return reductions.Config{MemoryLimitPages: pages, TableLimit: tableLimit, Budget: reductions.DefaultBudget()}
}

// kernelImports is the name of the module that the kernel imports, in kernel.wat.
const kernelImports = "host"

// link instantiates the modules that every guest imports, and compiles the kernel.
func (h *Host) link(ctx context.Context) (err error) {
	env := h.runtime.NewHostModuleBuilder(kernelImports)
	for _, f := range envFunctions {
		f.owning().export(env)
	}
	if _, err = env.Instantiate(ctx); err != nil {
		return fmt.Errorf("make the kernel's imports: %w", err)
	}
	// The module of the tick, which only rewritten modules import.
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
	// A random source is set because wazero would otherwise seed one for each module; the
	// guests cannot access wazero's own WASI.
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

// Close frees the host and everything created with it. It does not wait for calls: end
// them first. It does not wait for compilations either; Compile returns [ErrClosed], and
// processes that compile are killed.
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
