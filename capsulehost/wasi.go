package capsulehost

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// instantiateWASI makes WASI preview 1, once for all guests; what each of them
// sees through it is its module configuration.
func instantiateWASI(ctx context.Context, r wazero.Runtime) (api.Module, error) {
	b := r.NewHostModuleBuilder(wasiModuleName)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(b)
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(procExit), []api.ValueType{i32}, nil).Export("proc_exit")
	return b.Instantiate(ctx)
}

// errStarted: a command has reached its end.
var errStarted = errors.New("_start is done")

// procExit ends the guest. At the end of a _start, some languages say so with an
// exit of 0 in place of a return: the exports can be called from then on.
func procExit(ctx context.Context, guest api.Module, stack []uint64) {
	code := uint32(stack[0]) //nolint:gosec // an i32, carried in 64 bits
	if i, _ := ctx.Value(instanceKey{}).(*Instance); i != nil && i.start && code == 0 {
		panic(errStarted)
	}
	_ = guest.CloseWithExitCode(ctx, code)
	panic(sys.NewExitError(code))
}

// moduleConfig is what a guest sees through WASI: clocks, random numbers, a
// standard error whose end is kept, and nothing else. No directories, no
// arguments, no environment. A sleep ends with the call that it is in.
func (i *Instance) moduleConfig() wazero.ModuleConfig {
	const tick = time.Millisecond
	// The monotonic clock runs from the first time that the guest looks at it, and
	// from one tick: at 0, Go refuses to start.
	var began time.Time
	var elapsed time.Duration
	return wazero.NewModuleConfig().
		WithName("").
		WithStartFunctions(). // they are called like any export
		WithStderr(&i.stderr).
		WithRandSource(random{i}).
		WithWalltime(func() (int64, int32) {
			now := i.hostAPI.Now().Truncate(tick)
			return now.Unix(), int32(now.Nanosecond()) //nolint:gosec // under a billion
		}, sys.ClockResolution(tick)).
		WithNanotime(func() int64 {
			now := i.hostAPI.Now()
			if began.IsZero() {
				began = now
			}
			elapsed = max(elapsed, now.Sub(began))
			return int64(tick + elapsed.Truncate(tick))
		}, sys.ClockResolution(tick)).
		WithNanosleep(func(ns int64) {
			i.outside(func() { sleep(i.ctx, time.Duration(ns)) })
			if i.ctx.Err() != nil {
				panic(interrupted(i.ctx))
			}
		})
}

// random is the guest's source of random bytes. It hands them out in pieces, so
// that a guest that wants megabytes can be stopped.
type random struct{ i *Instance }

func (r random) Read(p []byte) (int, error) {
	p = p[:min(len(p), 64<<10)]
	r.i.meter.charge(uint64(len(p)) / bytesPerReduction)
	r.i.stopIfEnded(time.Now())
	return rand.Read(p)
}
