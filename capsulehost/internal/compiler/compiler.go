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
	// Key is wazero's name for the machine code. It depends on the shell and on the features
	// of the processor.
	Key Key
	// Shell is the module with empty functions: its types, imports, exports, data and names.
	// If wazero interprets, it is the whole module.
	Shell []byte
	// Machine is the functions' machine code, as serialised by wazero. wazero executes it
	// without checks, so it must come from a trusted source. It is nil if wazero interprets.
	Machine []byte
}

// Key is the hash by which wazero identifies machine code.
type Key = [32]byte

// Compiler compiles modules, and loads them into its Runtime. It is safe for concurrent use.
type Compiler struct {
	// Runtime runs the modules that Load returns.
	Runtime wazero.Runtime

	config wazero.RuntimeConfig
	cache  wazero.CompilationCache
	loads  *loads
}

// New returns a compiler with the given configuration. The caller must close it.
func New(ctx context.Context, config wazero.RuntimeConfig) *Compiler {
	c := &Compiler{config: config, loads: &loads{machine: map[Key][]byte{}}}
	c.Runtime, c.cache = newRuntime(ctx, config, c.loads)
	return c
}

// Compile compiles a module. It cannot be cancelled: wazero checks no context while one
// goroutine compiles. The id becomes part of the shell; different modules must have
// different ids.
func (c *Compiler) Compile(ctx context.Context, wasm []byte, id [32]byte) (_ Code, err error) {
	r := &recorder{}
	runtime, cache := newRuntime(ctx, c.config, r)
	defer func() { err = errors.Join(err, runtime.Close(ctx), cache.Close(ctx)) }()
	if _, err := runtime.CompileModule(ctx, wasm); err != nil {
		return Code{}, err
	}
	if r.machine == nil { // wazero interprets, or stores code in an unknown way
		return Code{Shell: wasm}, nil
	}
	code := Code{Shell: shell(wasm, id), Machine: r.machine}
	// Find the key that wazero computes for the shell.
	r.onlyKey = true
	if _, err := runtime.CompileModule(ctx, code.Shell); !errors.Is(err, errOnlyKey) {
		return Code{}, fmt.Errorf("name the machine code: %w", err)
	}
	code.Key = r.key
	return code, nil
}

// Load creates a compiled module from code. It returns ErrForeign if the code is for another
// processor.
func (c *Compiler) Load(ctx context.Context, code Code) (wazero.CompiledModule, error) {
	if code.Machine != nil {
		c.loads.put(code.Key, code.Machine)
		defer c.loads.forget(code.Key)
	}
	return c.Runtime.CompileModule(ctx, code.Shell)
}

// Close frees the runtime and all modules loaded into it.
func (c *Compiler) Close(ctx context.Context) error {
	return errors.Join(c.Runtime.Close(ctx), c.cache.Close(ctx))
}

// newRuntime returns a runtime that stores its machine code in f.
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

// replaceFiles makes wazero store its machine code in f. wazero accepts only a directory, so
// this sets a private field of its cache. If a later wazero has no such field, or one of
// another type, it does nothing: everything still works, but each start compiles all
// modules again. TestMachineCodeIsKept detects this.
func replaceFiles(cache wazero.CompilationCache, f files) {
	v := reflect.ValueOf(cache)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return
	}
	field := v.Elem().FieldByName("fileCache")
	if !field.IsValid() || !reflect.TypeOf(f).AssignableTo(field.Type()) {
		return
	}
	pointer := unsafe.Pointer(field.UnsafeAddr()) //nolint:gosec // reflect can't set a private field otherwise
	reflect.NewAt(field.Type(), pointer).Elem().Set(reflect.ValueOf(f))
}

// recorder records the machine code of one compilation.
type recorder struct {
	onlyKey bool // record the key, and compile nothing
	key     Key
	machine []byte
}

var errOnlyKey = errors.New("only the key is wanted")

// Get reports that there is no machine code yet.
func (r *recorder) Get(key Key) (io.ReadCloser, bool, error) {
	if r.key = key; r.onlyKey {
		return nil, false, errOnlyKey
	}
	return nil, false, nil
}

// Add records the machine code.
func (r *recorder) Add(_ Key, content io.Reader) (err error) {
	if sized, ok := content.(interface{ Len() int }); ok {
		r.machine = make([]byte, sized.Len())
		_, err = io.ReadFull(content, r.machine)
		return err
	}
	r.machine, err = io.ReadAll(content)
	return err
}

// Delete does nothing.
func (r *recorder) Delete(Key) error { return nil }

// ErrForeign reports machine code for another processor, or from another wazero version.
var ErrForeign = errors.New("machine code of another processor")

// loads holds the machine code of modules while they are loaded. The loading runtime must
// never compile a shell, whose functions are empty.
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

// Get returns the machine code passed to Load.
func (l *loads) Get(key Key) (io.ReadCloser, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	machine, ok := l.machine[key]
	if !ok {
		return nil, false, ErrForeign
	}
	return io.NopCloser(bytes.NewReader(machine)), true, nil
}

// Add is never called, since Get always returns machine code or an error.
func (l *loads) Add(Key, io.Reader) error { return ErrForeign }

// Delete is called if the machine code is from another wazero version. The error keeps wazero
// from compiling the shell.
func (l *loads) Delete(Key) error { return ErrForeign }
