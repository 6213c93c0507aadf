package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/kernel"
)

// Instance is a running capsule. It must be used by one goroutine at a time.
type Instance struct {
	module  *Module
	guest   api.Module // nil between an exit with code 0 and the next call
	shared  api.Module // the kernel's
	kernel  *kernel.Kernel
	hostAPI HostAPI
	ctx     context.Context // of the current call; never nil
	wasi    wasi
	stdout  capture
	stderr  capture
	outLine output // of stdout
	errLine output // of stderr
	vars    variables
	http    httpState
	callee  callee      // of the current or the last call
	within  callContext // the context passed to the guest: ctx with the instance
	stack   [2]uint64   // parameters and results of the called export
	exited  bool        // the current call ended with exit code 0
	lost    *Failure    // why the instance is lost; nil while it is usable
	meter   meter
	usage   published
	sent    publishRate // of the event bus
}

// Action tells the caller what to do with an interceptor's answer.
type Action int

// The actions.
const (
	Continue Action = iota // continue, with Data if not empty
	Final                  // stop; Data is the result
	Deny                   // refuse; Data is the reason
)

// Result is an interceptor's answer.
type Result struct {
	Action Action
	// Data is the guest's output; for Deny it is UTF-8, with invalid bytes replaced.
	Data []byte
}

// Instantiate creates and initialises a new instance. The error is a *Failure.
func (m *Module) Instantiate(ctx context.Context, hostAPI HostAPI) (*Instance, error) {
	i := &Instance{module: m, hostAPI: hostAPI, ctx: ctx}
	i.meter = newMeter(m.host)
	shared, err := m.host.runtime.InstantiateModule(ctx, m.host.kernel, m.host.moduleConfig)
	if err != nil {
		return nil, i.failure(ctx, "", err)
	}
	i.shared, i.kernel = shared, kernel.View(shared)
	if err := i.load(ctx); err != nil {
		_ = i.Close(ctx) // the first failure matters
		return nil, err
	}
	i.publish()
	return i, nil
}

// load instantiates the guest and calls its start-up functions.
func (i *Instance) load(ctx context.Context) error {
	if _, err := i.kernel.ResetFor(0); err != nil { // from a call before an exit
		return i.failure(ctx, "", err)
	}
	i.wasi = wasi{instance: i, files: standardStreams()}
	linked := experimental.WithImportResolver(i.enter(ctx), func(name string) api.Module {
		if name == envModuleName {
			return i.shared
		}
		return nil // other modules are shared by all guests and found by name
	})
	i.begin(ctx) // a module's start function runs during instantiation
	guest, err := i.module.host.runtime.InstantiateModule(linked, i.module.compiled, i.module.host.moduleConfig)
	i.end()
	if err != nil {
		return i.failure(ctx, "", err)
	}
	i.guest = guest
	i.bind(guest)
	return i.startUp(ctx)
}

// startUp calls the initialisation functions of the module's language. An exit with
// code 0 in them is a success: the exports can be called afterwards.
func (i *Instance) startUp(ctx context.Context) error {
	for _, name := range i.module.startUp() {
		if _, err := i.run(ctx, name, input{}); err != nil {
			return err
		}
	}
	return nil
}

// unload frees a guest that has exited, because its language's state is not usable for
// another call. The instance remains, and its next call starts a new guest, as a
// command that runs again is a new process. Extism variables and the spent reductions
// are kept.
func (i *Instance) unload(ctx context.Context) {
	i.publish() // its memory after the call
	i.meter.granted, i.meter.counter = i.meter.spent(), nil
	i.http.close()
	_ = i.guest.Close(ctx) // it only frees memory
	i.guest, i.callee = nil, callee{}
}

// Invoke runs one interceptor action. An error is a *GuestError or a *Failure. When
// ctx ends, the guest is interrupted, and the *Failure wraps ctx's cause.
func (i *Instance) Invoke(ctx context.Context, action string, payload []byte) (Result, error) {
	output, err := i.call(ctx, ExportInterceptor, input{bytes: payload, action: &action})
	if err != nil {
		return Result{}, err
	}
	return resultOf(output), nil
}

// Run calls a run-loop capsule's `run`, and returns when it returns or ctx ends.
func (i *Instance) Run(ctx context.Context) error {
	_, err := i.Call(ctx, ExportRun, nil)
	return err
}

// Call calls an export of type () -> i32 with an input, and returns its output. An error
// is a *GuestError or a *Failure; after a *Failure, only Close may be called. An exit
// with code 0 is a success, and the next call starts a new guest.
func (i *Instance) Call(ctx context.Context, export string, given []byte) ([]byte, error) {
	return i.call(ctx, export, input{bytes: given})
}

func (i *Instance) call(ctx context.Context, export string, in input) ([]byte, error) {
	defer i.publish()
	if i.guest == nil && i.lost == nil {
		if err := i.load(ctx); err != nil {
			return nil, err
		}
	}
	code, err := i.run(ctx, export, in)
	if err != nil {
		return nil, err
	}
	if i.exited {
		i.unload(ctx)
	}
	// The error text takes precedence over the result, as in Extism: a guest may set it and
	// return 0.
	if text := i.kernel.ErrorText(); code != 0 || len(text) > 0 {
		return nil, &GuestError{Export: export, Code: code, Text: lossy(text)}
	}
	return i.kernel.Output(), nil
}

// run is the only place that runs guest code. Ticks stop it: see meter.go.
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
	i.exited = false
	i.http.status, i.http.headers = 0, ""
	i.stdout.newCall()
	i.stderr.newCall()
	i.begin(ctx)
	defer i.end()
	i.stack = [2]uint64{} // hs_init has two parameters, both 0
	err = i.callee.CallWithStack(i.enter(ctx), i.stack[:])
	i.outputFlushed()
	i.callee.returned()
	if err != nil {
		if exit, ok := errors.AsType[*exited](err); ok && exit.code == 0 {
			i.exited = true
			return 0, nil
		}
		return 0, i.failure(ctx, export, err)
	}
	return int32(i.stack[0]), nil //nolint:gosec // an i32 in 64 bits
}

// MemoryBytes returns the size of the guest's memory, of the memory shared with it, of
// its call stack, and of its tables at their initial size.
func (i *Instance) MemoryBytes() uint64 {
	return i.guestMemory() + i.kernel.MemoryBytes() + i.callee.stackBytes() + i.module.tableBytes
}

func (i *Instance) guestMemory() uint64 {
	if i.guest == nil {
		return 0
	}
	memory := i.guest.Memory()
	if reflect.ValueOf(memory).IsNil() { // wazero returns a typed nil
		return 0
	}
	return uint64(memory.Size())
}

// Close frees the instance. It may be called more than once.
func (i *Instance) Close(ctx context.Context) error {
	i.http.close()
	err := i.kernel.Close(ctx)
	if i.guest != nil {
		err = errors.Join(err, i.guest.Close(ctx))
	}
	return err
}

// callContext passes the instance to its host functions. It is reused by all calls of
// an instance: wazero does not retain it, and no other code receives it.
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

// resultOf decodes an interceptor's output: a tag byte and the data. Output without a
// known tag is Continue with all of the output as data.
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
