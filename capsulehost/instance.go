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

// Instance is one life of a capsule. It belongs to one goroutine at a time.
type Instance struct {
	module  *Module
	guest   api.Module // nil from an exit of 0 to the next call
	shared  api.Module // the kernel's
	kernel  *kernel.Kernel
	hostAPI HostAPI
	ctx     context.Context // of the call that runs; never nil
	wasi    wasi
	stdout  capture
	stderr  capture
	vars    variables
	callee  callee      // of the call that runs, or ran last
	within  callContext // what ctx is inside the call
	stack   [2]uint64   // parameters and results of the export that is called
	exited  bool        // the call that runs ended in an exit of 0
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
	shared, err := m.host.runtime.InstantiateModule(ctx, m.host.kernel, m.host.moduleConfig)
	if err != nil {
		return nil, i.failure(ctx, "", err)
	}
	i.shared, i.kernel = shared, kernel.View(shared)
	if err := i.load(ctx); err != nil {
		_ = i.Close(ctx) // the failure is what counts
		return nil, err
	}
	i.publish()
	return i, nil
}

// load instantiates the guest and calls its start-up functions.
func (i *Instance) load(ctx context.Context) error {
	if _, err := i.kernel.ResetFor(0); err != nil { // of a call before an exit
		return i.failure(ctx, "", err)
	}
	i.wasi = wasi{instance: i, files: standardStreams()}
	linked := experimental.WithImportResolver(i.enter(ctx), func(name string) api.Module {
		if name == envModuleName {
			return i.shared
		}
		return nil // by name: they are the same for all guests
	})
	i.begin(ctx) // a module's own start function runs in here
	guest, err := i.module.host.runtime.InstantiateModule(linked, i.module.compiled, i.module.host.moduleConfig)
	i.end()
	if err != nil {
		return i.failure(ctx, "", err)
	}
	i.guest = guest
	i.bind(guest)
	return i.startUp(ctx)
}

// startUp calls what the module's language wants called before anything else. An
// exit of 0 in there is a success: the exports can be called from then on.
func (i *Instance) startUp(ctx context.Context) error {
	for _, name := range i.module.startUp() {
		if _, err := i.run(ctx, name, input{}); err != nil {
			return err
		}
	}
	return nil
}

// unload frees a guest that has exited: nothing that its language keeps in memory
// is good for another call. The instance remains, and its next call has a fresh
// guest, as a command that is run again is a fresh process. Extism variables stay,
// and so does what it has spent.
func (i *Instance) unload(ctx context.Context) {
	i.publish() // its memory as of the call
	i.meter.granted, i.meter.counter = i.meter.spent(), nil
	_ = i.guest.Close(ctx) // it frees memory only
	i.guest, i.callee = nil, callee{}
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
// for Close only. A guest that exits with code 0 has succeeded, and the next call
// starts it anew.
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
	// The error counts for more than the result, as in Extism: a guest may set it and
	// return 0.
	if text := i.kernel.ErrorText(); code != 0 || len(text) > 0 {
		return nil, &GuestError{Export: export, Code: code, Text: lossy(text)}
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
	i.exited = false
	i.stdout.newCall()
	i.stderr.newCall()
	i.begin(ctx)
	defer i.end()
	i.stack = [2]uint64{} // hs_init has two parameters, both 0
	err = i.callee.CallWithStack(i.enter(ctx), i.stack[:])
	i.callee.returned()
	if err != nil {
		if exit, ok := errors.AsType[*exited](err); ok && exit.code == 0 {
			i.exited = true
			return 0, nil
		}
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
