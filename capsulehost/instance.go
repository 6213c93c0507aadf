package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/kernel"
)

// Instance is one life of a capsule. It belongs to one goroutine at a time.
type Instance struct {
	module *Module
	guest  api.Module
	kernel *kernel.Kernel
	world  Surroundings
	ctx    context.Context // of the call that runs; never nil
	stderr tail
	vars   variables
	export map[string]api.Function
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
func (m *Module) Instantiate(ctx context.Context, s Surroundings) (*Instance, error) {
	i := &Instance{module: m, world: s, ctx: ctx, export: map[string]api.Function{}}
	shared, err := m.host.runtime.InstantiateModule(ctx, m.host.kernel, wazero.NewModuleConfig().WithName("").WithStartFunctions())
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
	if i.guest, err = m.host.runtime.InstantiateModule(linked, m.compiled, i.moduleConfig()); err != nil {
		failure := i.failure(ctx, "", err)
		_ = i.Close(ctx) // the failure is what counts
		return nil, failure
	}
	for _, name := range []string{exportInitialize, exportStart} {
		if !m.HasExport(name) {
			continue
		}
		if _, err := i.run(ctx, name, nil); err != nil {
			_ = i.Close(ctx)
			return nil, err
		}
		break // a reactor is no command
	}
	return i, nil
}

// Invoke runs one interceptor action. An error is a *GuestError or a *Failure.
// Ending ctx interrupts the guest, as a *Failure that wraps ctx's cause.
func (i *Instance) Invoke(ctx context.Context, action string, payload []byte) (Result, error) {
	output, err := i.Call(ctx, ExportInterceptor, triggerInput(action, payload))
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

// Call calls an export of type () -> i32 with input and returns its output. An
// error is a *GuestError or a *Failure; after the latter the instance is good
// for Close only.
func (i *Instance) Call(ctx context.Context, export string, input []byte) ([]byte, error) {
	code, err := i.run(ctx, export, input)
	if err != nil {
		return nil, err
	}
	if code != 0 {
		return nil, &GuestError{Export: export, Code: code, Text: strings.ToValidUTF8(string(i.kernel.ErrorText()), "\uFFFD")}
	}
	return i.kernel.Output(), nil
}

// run is the one place where guest code runs, and is stopped: wazero closes the
// module when ctx ends.
func (i *Instance) run(ctx context.Context, export string, input []byte) (code int32, err error) {
	f, known := i.export[export]
	if !known {
		if f = i.guest.ExportedFunction(export); f == nil {
			return 0, &Failure{Kind: KindLink, Export: export, Message: fmt.Sprintf("the module has no export %q", export)}
		}
		i.export[export] = f
	}
	if err := i.kernel.Reset(input); err != nil {
		return 0, i.failure(ctx, export, err)
	}
	i.ctx = ctx
	defer func() { i.ctx = context.Background() }()
	var stack [1]uint64
	if err := f.CallWithStack(i.enter(ctx), stack[:]); err != nil {
		return 0, i.failure(ctx, export, err)
	}
	return int32(stack[0]), nil //nolint:gosec // an i32, carried in 64 bits
}

// MemoryBytes is what the guest's memory and the memory shared with it take.
func (i *Instance) MemoryBytes() uint64 {
	return i.guestMemory() + i.kernel.MemoryBytes()
}

func (i *Instance) guestMemory() uint64 {
	if i.guest == nil || len(i.module.compiled.ExportedMemories()) == 0 {
		return 0
	}
	for name := range i.module.compiled.ExportedMemories() {
		return uint64(i.guest.ExportedMemory(name).Size())
	}
	return 0
}

// Close frees the instance. It may be called more than once.
func (i *Instance) Close(ctx context.Context) error {
	err := i.kernel.Close(ctx)
	if i.guest != nil {
		err = errors.Join(err, i.guest.Close(ctx))
	}
	return err
}

// callContext carries the instance to the host functions that it calls.
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

func (i *Instance) enter(ctx context.Context) context.Context { return &callContext{ctx, i} }

// failure turns what ended a call into the one type of error.
func (i *Instance) failure(ctx context.Context, export string, err error) *Failure {
	f := &Failure{Kind: KindTrap, Export: export, Message: firstLine(err), Stack: wasmStack(err), Stderr: string(i.stderr.kept), cause: err}
	var exit *sys.ExitError
	var misuse *hostCallError
	interrupted := ctx.Err() != nil
	switch {
	case errors.As(err, &exit) && interrupted &&
		(exit.ExitCode() == sys.ExitCodeDeadlineExceeded || exit.ExitCode() == sys.ExitCodeContextCanceled),
		errors.As(err, &misuse) && interrupted:
		f.cause = context.Cause(ctx)
		f.Kind, f.Message = KindCancelled, "interrupted: "+f.cause.Error()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			f.Kind, f.Message = KindTimeout, "out of time: "+f.cause.Error()
		}
	case errors.As(err, &exit):
		f.Kind, f.ExitCode = KindExit, exit.ExitCode()
		f.Message = fmt.Sprintf("the guest exited with code %d", f.ExitCode)
	case errors.As(err, &misuse):
		f.Kind, f.Message, f.cause = KindHostCall, misuse.Error(), misuse.err
	case errors.Is(err, kernel.ErrNoMemory):
		f.Kind = KindMemoryLimit
	case strings.Contains(err.Error(), "stack overflow"):
		f.Kind, f.Message = KindStackOverflow, "stack overflow: recursion without end?"
	case i.memoryAtLimit():
		f.Kind, f.Message = KindMemoryLimit, fmt.Sprintf("%s, with the memory near its limit of %d bytes", f.Message, i.module.host.memoryLimit)
	case strings.Contains(err.Error(), "recovered by wazero"):
		f.Kind = KindHostCall
	case export == "" && strings.Contains(f.Message, "import"):
		f.Kind = KindLink
	}
	if last := lastLine(f.Stderr); last != "" && f.Kind != KindTimeout && f.Kind != KindCancelled {
		f.Message += "; its last word: " + last
	}
	return f
}

// memoryAtLimit guesses whether a trap was for want of memory: allocators abort
// with the same instruction as any panic, and grow in steps that leave up to a
// quarter of the limit unused.
func (i *Instance) memoryAtLimit() bool {
	return i.kernel != nil && i.kernel.Exhausted() || i.guestMemory() >= i.module.host.memoryLimit/4*3
}

// triggerInput is the input of ExportInterceptor.
func triggerInput(action string, payload []byte) []byte {
	const head, middle, end = `{"name":`, `,"arguments":[`, `]}`
	out := make([]byte, 0, len(head)+len(action)+2+len(middle)+4*len(payload)+len(end))
	out = append(out, head...)
	out = appendJSONString(out, action)
	out = append(out, middle...)
	for n, b := range payload {
		if n > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendUint(out, uint64(b), 10)
	}
	return append(out, end...)
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

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return lossy([]byte(text[strings.LastIndexByte(text, '\n')+1:]))
}

// wasmStack is the guest's call stack as wazero's errors show it.
func wasmStack(err error) []string {
	_, trace, ok := strings.Cut(err.Error(), "wasm stack trace:\n")
	if !ok {
		return nil
	}
	var frames []string
	for line := range strings.Lines(trace) {
		if frame := strings.TrimSpace(line); frame != "" {
			frames = append(frames, frame)
		}
	}
	return frames
}
