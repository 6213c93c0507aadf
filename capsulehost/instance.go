package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/kernel"
)

// Instance is one life of a capsule. It belongs to one goroutine at a time.
type Instance struct {
	module  *Module
	guest   api.Module
	kernel  *kernel.Kernel
	hostAPI HostAPI
	ctx     context.Context // of the call that runs; never nil
	stderr  stderr
	vars    variables
	callee  callee      // of the call that runs, or ran last
	within  callContext // what ctx is inside the call
	stack   [2]uint64   // parameters and results of the export that is called
	start   bool        // _start is running
	lost    *Failure    // what ended it, once something has
	meter   meter
	usage   published
}

// Action is what an interceptor wants done with its answer.
type Action int

// The actions.
const (
	Continue Action = iota // go on, with Data if there is any
	Final                  // Data is the last word
	Deny                   // no; Data is the reason
)

// Result is an interceptor's answer.
type Result struct {
	Action Action
	// Data is the guest's; for Deny it is UTF-8, invalid bytes replaced.
	Data []byte
}

// Instantiate makes a fresh instance and initialises it. Its error is a *Failure.
func (m *Module) Instantiate(ctx context.Context, s HostAPI) (*Instance, error) {
	i := &Instance{module: m, hostAPI: s, ctx: ctx}
	i.meter = newMeter(m.host)
	shared, err := m.host.runtime.InstantiateModule(ctx, m.host.kernel, m.host.kernelConfig)
	if err != nil {
		return nil, i.failure(ctx, "", err)
	}
	i.kernel = kernel.View(shared)
	linked := experimental.WithImportResolver(i.enter(ctx), func(name string) api.Module {
		switch name {
		case envModuleName:
			return shared
		case userModuleName:
			return m.user.module
		default:
			return nil // by name: WASI
		}
	})
	i.begin(ctx) // a module's own start function runs in here
	i.guest, err = m.host.runtime.InstantiateModule(linked, m.compiled, i.moduleConfig())
	i.end()
	if err != nil {
		failure := i.failure(ctx, "", err)
		_ = i.Close(ctx) // the failure is what counts
		return nil, failure
	}
	i.bind(i.guest)
	if err := i.startUp(ctx); err != nil {
		_ = i.Close(ctx)
		return nil, err
	}
	i.publish()
	return i, nil
}

// startUp calls what the module's language wants called before anything else. The
// first of these that it exports makes the others unnecessary, but for Haskell,
// whose run-time system comes on top.
func (i *Instance) startUp(ctx context.Context) error {
	for _, name := range []string{exportInitialize, exportStart, exportConstructors} {
		if !i.module.HasExport(name) {
			continue
		}
		i.start = name == exportStart
		_, err := i.run(ctx, name, input{})
		i.start = false
		if err != nil && !errors.Is(err, errStarted) {
			return err
		}
		i.lost = nil
		break
	}
	if d := i.module.compiled.ExportedFunctions()[exportHaskell]; d != nil && slices.Equal(d.ParamTypes(), []api.ValueType{i32, i32}) {
		if _, err := i.run(ctx, exportHaskell, input{}); err != nil {
			return err
		}
	}
	return nil
}

// Invoke runs one interceptor action. An error is a *GuestError or a *Failure.
// Ending ctx interrupts the guest, as a *Failure that wraps ctx's cause.
func (i *Instance) Invoke(ctx context.Context, action string, payload []byte) (Result, error) {
	output, err := i.call(ctx, ExportInterceptor, input{bytes: payload, action: &action})
	if err != nil {
		return Result{}, err
	}
	return resultOf(output), nil
}

// Run runs a run-loop capsule's `run`, until it ends or ctx does.
func (i *Instance) Run(ctx context.Context) error {
	_, err := i.Call(ctx, ExportRun, nil)
	return err
}

// Call calls an export of type () -> i32 with an input and returns its output. An
// error is a *GuestError or a *Failure; after the latter the instance is good
// for Close only.
func (i *Instance) Call(ctx context.Context, export string, given []byte) ([]byte, error) {
	return i.call(ctx, export, input{bytes: given})
}

func (i *Instance) call(ctx context.Context, export string, in input) ([]byte, error) {
	defer i.publish()
	code, err := i.run(ctx, export, in)
	if err != nil {
		return nil, err
	}
	if code != 0 {
		return nil, &GuestError{Export: export, Code: code, Text: lossy(i.kernel.ErrorText())}
	}
	return i.kernel.Output(), nil
}

// run is the one place where guest code runs. It is stopped at a tick, in meter.go.
func (i *Instance) run(ctx context.Context, export string, in input) (code int32, err error) {
	if i.lost != nil {
		return 0, i.lost
	}
	if i.callee.export != export || i.callee.Function == nil {
		f := i.guest.ExportedFunction(export)
		if f == nil {
			return 0, &Failure{Kind: KindLink, Export: export, Message: fmt.Sprintf("the module has no export %q", export)}
		}
		i.callee = newCallee(export, f)
	}
	view, err := i.kernel.ResetFor(in.size())
	if err != nil {
		return 0, i.failure(ctx, export, err)
	}
	in.write(view)
	i.begin(ctx)
	defer i.end()
	i.stack = [2]uint64{} // hs_init has two parameters, both 0
	err = i.callee.CallWithStack(i.enter(ctx), i.stack[:])
	i.callee.returned()
	if err != nil {
		return 0, i.failure(ctx, export, err)
	}
	return int32(i.stack[0]), nil //nolint:gosec // an i32, carried in 64 bits
}

// MemoryBytes is what the guest's memory, the memory shared with it and its call
// stack take, and the elements that its tables start with.
func (i *Instance) MemoryBytes() uint64 {
	return i.guestMemory() + i.kernel.MemoryBytes() + i.callee.stackBytes() + i.module.tableBytes
}

func (i *Instance) guestMemory() uint64 {
	if i.guest == nil {
		return 0
	}
	memory := i.guest.Memory()
	if reflect.ValueOf(memory).IsNil() { // wazero's nil has a type
		return 0
	}
	return uint64(memory.Size())
}

// Close frees the instance. It may be called more than once.
func (i *Instance) Close(ctx context.Context) error {
	err := i.kernel.Close(ctx)
	if i.guest != nil {
		err = errors.Join(err, i.guest.Close(ctx))
	}
	return err
}

// callContext carries the instance to the host functions that it calls. An
// instance has one: wazero keeps none, and nobody else is given it.
type callContext struct {
	context.Context
	instance *Instance
}

type instanceKey struct{}

func (c *callContext) Value(key any) any {
	if key == (instanceKey{}) {
		return c.instance
	}
	return c.Context.Value(key)
}

func (i *Instance) enter(ctx context.Context) context.Context {
	i.within = callContext{ctx, i}
	return &i.within
}

// resultOf decodes an interceptor's output: a tag and its bytes. Output without
// a known tag is Continue with all of it.
func resultOf(output []byte) Result {
	if len(output) == 0 {
		return Result{}
	}
	switch output[0] {
	case 0:
		return Result{Action: Continue, Data: output[1:]}
	case 1:
		return Result{Action: Final, Data: output[1:]}
	case 2:
		return Result{Action: Deny, Data: []byte(lossy(output[1:]))}
	default:
		return Result{Action: Continue, Data: output}
	}
}
