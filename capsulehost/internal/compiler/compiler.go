package compiler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"unsafe"

	"github.com/tetratelabs/wazero"
)

// Code is a compiled module.
type Code struct {
	// Key is wazero's name for the machine code. It depends on the shell and on
	// what the processor can do.
	Key Key
	// Shell is the module with empty functions: its types, imports, exports, data
	// and names. Where wazero interprets, it is the whole module.
	Shell []byte
	// Machine is the machine code of the functions, as wazero serialises it. wazero
	// trusts it: it must never come from anybody else. It is nil where wazero
	// interprets.
	Machine []byte
}

// Key is what wazero names machine code by: a hash.
type Key = [32]byte

// Compiler compiles modules, and loads them into its Runtime. It may be used from
// any goroutine.
type Compiler struct {
	// Runtime runs what Load returned.
	Runtime wazero.Runtime

	config wazero.RuntimeConfig
	cache  wazero.CompilationCache
	loads  *loads
}

// New returns a compiler for guests that the configuration allows. Close it.
func New(ctx context.Context, config wazero.RuntimeConfig) *Compiler {
	c := &Compiler{config: config, loads: &loads{machine: map[Key][]byte{}}}
	c.Runtime, c.cache = newRuntime(ctx, config, c.loads)
	return c
}

// Compile compiles a module. Nothing ends it before it is done: wazero looks at no
// context while one goroutine compiles. The id goes into the shell; modules that
// differ must have different ones.
func (c *Compiler) Compile(ctx context.Context, wasm []byte, id [32]byte) (_ Code, err error) {
	r := &recorder{}
	runtime, cache := newRuntime(ctx, c.config, r)
	defer func() { err = errors.Join(err, runtime.Close(ctx), cache.Close(ctx)) }()
	if _, err := runtime.CompileModule(ctx, wasm); err != nil {
		return Code{}, err
	}
	if r.machine == nil { // wazero interprets, or does not keep code as it did
		return Code{Shell: wasm}, nil
	}
	code := Code{Shell: shell(wasm, id), Machine: r.machine}
	// What will wazero ask for, when it is given the shell?
	r.onlyKey = true
	if _, err := runtime.CompileModule(ctx, code.Shell); !errors.Is(err, errOnlyKey) {
		return Code{}, fmt.Errorf("name the machine code: %w", err)
	}
	code.Key = r.key
	return code, nil
}

// Load makes a compiled module of code. Its error is ErrForeign where the code is
// for another processor.
func (c *Compiler) Load(ctx context.Context, code Code) (wazero.CompiledModule, error) {
	if code.Machine != nil {
		c.loads.put(code.Key, code.Machine)
		defer c.loads.forget(code.Key)
	}
	return c.Runtime.CompileModule(ctx, code.Shell)
}

// Close frees the runtime and all that was loaded into it.
func (c *Compiler) Close(ctx context.Context) error {
	return errors.Join(c.Runtime.Close(ctx), c.cache.Close(ctx))
}

// newRuntime returns a runtime that keeps its machine code in files.
func newRuntime(ctx context.Context, config wazero.RuntimeConfig, f files) (wazero.Runtime, wazero.CompilationCache) {
	cache := wazero.NewCompilationCache()
	replaceFiles(cache, f)
	return wazero.NewRuntimeWithConfig(ctx, config.WithCompilationCache(cache)), cache
}

// files is wazero's internal filecache.Cache.
type files interface {
	Get(key Key) (content io.ReadCloser, ok bool, err error)
	Add(key Key, content io.Reader) error
	Delete(key Key) error
}

// replaceFiles makes wazero keep its machine code with f. wazero can be given a
// directory only, so this sets a private field of its cache. If a later wazero has
// no such field, or one of another type, it does nothing: all still runs, but every
// start compiles anew. TestMachineCodeIsKept notices.
func replaceFiles(cache wazero.CompilationCache, f files) {
	v := reflect.ValueOf(cache)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return
	}
	field := v.Elem().FieldByName("fileCache")
	if !field.IsValid() || !reflect.TypeOf(f).AssignableTo(field.Type()) {
		return
	}
	pointer := unsafe.Pointer(field.UnsafeAddr()) //nolint:gosec // reflect sets no private field otherwise
	reflect.NewAt(field.Type(), pointer).Elem().Set(reflect.ValueOf(f))
}

// recorder keeps the machine code of one compilation.
type recorder struct {
	onlyKey bool // note the key, and compile nothing
	key     Key
	machine []byte
}

var errOnlyKey = errors.New("only the key is wanted")

// Get says that there is no machine code yet.
func (r *recorder) Get(key Key) (io.ReadCloser, bool, error) {
	if r.key = key; r.onlyKey {
		return nil, false, errOnlyKey
	}
	return nil, false, nil
}

// Add takes the machine code.
func (r *recorder) Add(_ Key, content io.Reader) (err error) {
	if sized, ok := content.(interface{ Len() int }); ok {
		r.machine = make([]byte, sized.Len())
		_, err = io.ReadFull(content, r.machine)
		return err
	}
	r.machine, err = io.ReadAll(content)
	return err
}

// Delete has nothing to delete.
func (r *recorder) Delete(Key) error { return nil }

// ErrForeign: the machine code is for another processor, or another wazero.
var ErrForeign = errors.New("machine code of another processor")

// loads holds the machine code of modules while they are being loaded. The runtime
// that loads never compiles a guest's module: a shell is not what it stands for.
type loads struct {
	mu      sync.Mutex
	machine map[Key][]byte
}

func (l *loads) put(key Key, machine []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.machine[key] = machine
}

func (l *loads) forget(key Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.machine, key)
}

// Get returns the machine code that Load was given.
func (l *loads) Get(key Key) (io.ReadCloser, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	machine, ok := l.machine[key]
	if !ok {
		return nil, false, ErrForeign
	}
	return io.NopCloser(bytes.NewReader(machine)), true, nil
}

// Add is never called: the machine code is there already.
func (l *loads) Add(Key, io.Reader) error { return ErrForeign }

// Delete is called where the machine code is another wazero's. An error keeps
// wazero from compiling the shell.
func (l *loads) Delete(Key) error { return ErrForeign }
