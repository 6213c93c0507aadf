package capsulehost

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"math"
	"reflect"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// WASI preview 1 as guests see it: clocks, random numbers, the capsule's id as the only
// argument, and three standard streams. There are no directories, sockets or
// environment variables. wazero's implementation is not used: a guest can make its loops
// run unstoppably long, and can grow its file table.

// errno is the result of a WASI function.
type errno uint32

// Numbers from the specification.
const (
	errnoSuccess     errno = 0
	errnoBadFile     errno = 8  // EBADF
	errnoFault       errno = 21 // EFAULT
	errnoInvalid     errno = 28 // EINVAL
	errnoNoSystem    errno = 52 // ENOSYS
	errnoNotDir      errno = 54 // ENOTDIR
	errnoNotSocket   errno = 57 // ENOTSOCK
	errnoUnsupported errno = 58 // ENOTSUP
	errnoSpipe       errno = 70 // ESPIPE
)

// vectorLimit is the maximum number of buffers or subscriptions in one call, equal to
// Linux's IOV_MAX. Compiled code uses a few.
const vectorLimit = 1024

// pieceSize is the maximum number of bytes that the host processes for a guest between
// two checks of its deadline.
const pieceSize = 64 << 10

// clockTick is the resolution of a guest's clocks.
const clockTick = time.Millisecond

// wasi is the WASI state of one instance.
type wasi struct {
	instance *Instance
	guest    api.Module // the module that memory belongs to
	memory   api.Memory // nil if the guest has none
	files    files
	began    time.Time // when the guest first read the monotonic clock
}

// wasiFunction is a function of wasi_snapshot_preview1 that returns an errno. Like a
// hostFunction, it charges reductions.
type wasiFunction struct {
	name   string
	params []api.ValueType
	call   func(w *wasi, p []uint64) errno
}

func (f wasiFunction) export(b wazero.HostModuleBuilder) {
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, guest api.Module, stack []uint64) {
		i, _ := ctx.Value(instanceKey{}).(*Instance)
		i.meter.charge(hostCallCost)
		i.wasi.enter(guest)
		stack[0] = uint64(f.call(&i.wasi, stack))
	}), f.params, []api.ValueType{i32}).Export(f.name)
}

// instantiateWASI instantiates WASI preview 1, once for all guests.
func instantiateWASI(ctx context.Context, r wazero.Runtime) (api.Module, error) {
	b := r.NewHostModuleBuilder(wasiModuleName)
	for _, f := range wasiFunctions {
		f.export(b)
	}
	b.NewFunctionBuilder().WithGoFunction(api.GoFunc(procExit), []api.ValueType{i32}, nil).Export("proc_exit")
	return b.Instantiate(ctx)
}

// wasiFunctions are all functions except proc_exit.
var wasiFunctions = []wasiFunction{
	{"args_get", []api.ValueType{i32, i32}, argsGet},
	{"args_sizes_get", []api.ValueType{i32, i32}, argsSizesGet},
	{"environ_get", []api.ValueType{i32, i32}, succeed},
	{"environ_sizes_get", []api.ValueType{i32, i32}, environSizesGet},
	{"clock_res_get", []api.ValueType{i32, i32}, clockResGet},
	{"clock_time_get", []api.ValueType{i32, i64, i32}, clockTimeGet},
	{"random_get", []api.ValueType{i32, i32}, randomGet},
	{"sched_yield", nil, succeed}, // the guest already yields at its ticks
	{"proc_raise", []api.ValueType{i32}, func(*wasi, []uint64) errno { return errnoNoSystem }},
	{"poll_oneoff", []api.ValueType{i32, i32, i32, i32}, pollOneoff},

	{"fd_advise", []api.ValueType{i32, i64, i64, i32}, onFile(errnoSuccess)},
	{"fd_allocate", []api.ValueType{i32, i64, i64}, onFile(errnoUnsupported)},
	{"fd_close", []api.ValueType{i32}, fdClose},
	{"fd_datasync", []api.ValueType{i32}, onFile(errnoSuccess)},
	{"fd_fdstat_get", []api.ValueType{i32, i32}, fdFdstatGet},
	{"fd_fdstat_set_flags", []api.ValueType{i32, i32}, fdFdstatSetFlags},
	{"fd_fdstat_set_rights", []api.ValueType{i32, i64, i64}, onFile(errnoNoSystem)},
	{"fd_filestat_get", []api.ValueType{i32, i32}, fdFilestatGet},
	{"fd_filestat_set_size", []api.ValueType{i32, i64}, onFile(errnoInvalid)},
	{"fd_filestat_set_times", []api.ValueType{i32, i64, i64, i32}, onFile(errnoUnsupported)},
	{"fd_pread", []api.ValueType{i32, i32, i32, i64, i32}, onFile(errnoSpipe)},
	{"fd_prestat_get", []api.ValueType{i32, i32}, onFile(errnoBadFile)},
	{"fd_prestat_dir_name", []api.ValueType{i32, i32, i32}, onFile(errnoBadFile)},
	{"fd_pwrite", []api.ValueType{i32, i32, i32, i64, i32}, onFile(errnoSpipe)},
	{"fd_read", []api.ValueType{i32, i32, i32, i32}, fdRead},
	{"fd_readdir", []api.ValueType{i32, i32, i32, i64, i32}, onFile(errnoBadFile)}, // Rust aborts on ENOTDIR
	{"fd_renumber", []api.ValueType{i32, i32}, fdRenumber},
	{"fd_seek", []api.ValueType{i32, i64, i32, i32}, onFile(errnoSpipe)},
	{"fd_sync", []api.ValueType{i32}, onFile(errnoSuccess)},
	{"fd_tell", []api.ValueType{i32, i32}, onFile(errnoSpipe)},
	{"fd_write", []api.ValueType{i32, i32, i32, i32}, fdWrite},

	// No directory is open, so no path can be resolved.
	{"path_create_directory", []api.ValueType{i32, i32, i32}, onFile(errnoNotDir)},
	{"path_filestat_get", []api.ValueType{i32, i32, i32, i32, i32}, onFile(errnoNotDir)},
	{"path_filestat_set_times", []api.ValueType{i32, i32, i32, i32, i64, i64, i32}, onFile(errnoNotDir)},
	{"path_link", []api.ValueType{i32, i32, i32, i32, i32, i32, i32}, onFile(errnoNotDir)},
	{"path_open", []api.ValueType{i32, i32, i32, i32, i32, i64, i64, i32, i32}, onFile(errnoNotDir)},
	{"path_readlink", []api.ValueType{i32, i32, i32, i32, i32, i32}, onFile(errnoNotDir)},
	{"path_remove_directory", []api.ValueType{i32, i32, i32}, onFile(errnoNotDir)},
	{"path_rename", []api.ValueType{i32, i32, i32, i32, i32, i32}, onFile(errnoNotDir)},
	{"path_symlink", []api.ValueType{i32, i32, i32, i32, i32}, func(w *wasi, p []uint64) errno {
		return onFile(errnoNotDir)(w, p[2:])
	}},
	{"path_unlink_file", []api.ValueType{i32, i32, i32}, onFile(errnoNotDir)},

	{"sock_accept", []api.ValueType{i32, i32, i32}, onFile(errnoNotSocket)},
	{"sock_recv", []api.ValueType{i32, i32, i32, i32, i32, i32}, onFile(errnoNotSocket)},
	{"sock_send", []api.ValueType{i32, i32, i32, i32, i32}, onFile(errnoNotSocket)},
	{"sock_shutdown", []api.ValueType{i32, i32}, onFile(errnoNotSocket)},
}

// enter finds the guest's memory, which changes when the module is instantiated again.
func (w *wasi) enter(guest api.Module) {
	if w.guest == guest {
		return
	}
	w.guest, w.memory = guest, guest.Memory()
	if reflect.ValueOf(w.memory).IsNil() { // wazero's nil has a type
		w.memory = nil
	}
}

// view returns n bytes of the guest's memory at an offset, without copying.
func (w *wasi) view(at, n uint32) ([]byte, bool) {
	if w.memory == nil {
		return nil, false
	}
	return w.memory.Read(at, n)
}

// put32 writes a result to the guest's memory.
func (w *wasi) put32(at uint64, v uint32) errno {
	b, ok := w.view(uint32(at), 4) //nolint:gosec // an i32 in 64 bits
	if !ok {
		return errnoFault
	}
	binary.LittleEndian.PutUint32(b, v)
	return errnoSuccess
}

func (w *wasi) put64(at, v uint64) errno {
	b, ok := w.view(uint32(at), 8) //nolint:gosec // an i32 in 64 bits
	if !ok {
		return errnoFault
	}
	binary.LittleEndian.PutUint64(b, v)
	return errnoSuccess
}

// pieces passes b on in pieces, and charges for each one first. The guest can be stopped
// between them.
func (i *Instance) pieces(b []byte, use func(piece []byte)) {
	for len(b) > 0 {
		n := min(len(b), pieceSize)
		i.meter.charge(uint64(n) / bytesPerReduction)
		i.stopIfEnded(time.Now())
		use(b[:n])
		b = b[n:]
	}
}

func succeed(*wasi, []uint64) errno { return errnoSuccess }

// argument returns argv[0], the only argument. Libraries read it when they start.
func (w *wasi) argument() string {
	name := w.instance.hostAPI.Name()
	if name == "" {
		name = "capsule"
	}
	return name
}

func argsSizesGet(w *wasi, p []uint64) errno {
	if e := w.put32(p[0], 1); e != errnoSuccess {
		return e
	}
	return w.put32(p[1], uint32(len(w.argument())+1)) //nolint:gosec // an id
}

func argsGet(w *wasi, p []uint64) errno {
	argument := append([]byte(w.argument()), 0)
	at := uint32(p[1])                            //nolint:gosec // an i32 in 64 bits
	text, ok := w.view(at, uint32(len(argument))) //nolint:gosec // an id
	if !ok {
		return errnoFault
	}
	copy(text, bytes.ReplaceAll(argument[:len(argument)-1], []byte{0}, []byte{' '}))
	text[len(text)-1] = 0
	return w.put32(p[0], at)
}

func environSizesGet(w *wasi, p []uint64) errno {
	if e := w.put32(p[0], 0); e != errnoSuccess {
		return e
	}
	return w.put32(p[1], 0)
}

// randomGet fills memory with random bytes.
func randomGet(w *wasi, p []uint64) errno {
	b, ok := w.view(uint32(p[0]), uint32(p[1])) //nolint:gosec // i32s in 64 bits
	if !ok {
		return errnoFault
	}
	w.instance.pieces(b, func(piece []byte) { _, _ = rand.Read(piece) }) // it cannot fail
	return errnoSuccess
}

// The supported clocks.
const (
	clockRealtime  = 0
	clockMonotonic = 1
)

func clockResGet(w *wasi, p []uint64) errno {
	if id := uint32(p[0]); id != clockRealtime && id != clockMonotonic { //nolint:gosec // an i32 in 64 bits
		return errnoInvalid
	}
	return w.put64(p[1], uint64(clockTick))
}

func clockTimeGet(w *wasi, p []uint64) errno {
	switch uint32(p[0]) { //nolint:gosec // an i32 in 64 bits
	case clockRealtime:
		return w.put64(p[2], w.realtime())
	case clockMonotonic:
		return w.put64(p[2], w.monotonic())
	default:
		return errnoInvalid
	}
}

// realtime returns the HostAPI's time, in nanoseconds since 1970.
func (w *wasi) realtime() uint64 {
	now := w.instance.hostAPI.Now().Truncate(clockTick)
	if now.Unix() < 0 {
		return 0
	}
	return saturatingAdd(saturatingMul(uint64(now.Unix()), uint64(time.Second)), uint64(now.Nanosecond())) //nolint:gosec // neither is negative
}

// monotonic returns the process's own clock in nanoseconds since the guest first read it,
// plus one tick, because Go refuses to start at 0. The HostAPI's clock is unsuitable: it
// may jump backwards, and a guest that sleeps until a time would then sleep longer.
func (w *wasi) monotonic() uint64 {
	if w.began.IsZero() {
		w.began = time.Now()
	}
	return uint64(clockTick + time.Since(w.began).Truncate(clockTick)) //nolint:gosec // not negative
}

func saturatingAdd(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

func saturatingMul(a, b uint64) uint64 {
	if b > 0 && a > math.MaxUint64/b {
		return math.MaxUint64
	}
	return a * b
}

func saturatingSub(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}

// exited is the panic with which proc_exit ends its call. The module stays open: the
// caller of the export decides the effect on the instance.
type exited struct{ code uint32 }

func (*exited) Error() string { return "proc_exit" }

func procExit(_ context.Context, stack []uint64) {
	panic(&exited{code: uint32(stack[0])}) //nolint:gosec // an i32 in 64 bits
}
