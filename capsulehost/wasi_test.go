package capsulehost

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tetratelabs/wazero/api"
)

// wasiSignatures are the types in the specification: a digit for each parameter of 32 or 64
// bits. Each function returns an errno, except proc_exit, which returns nothing.
var wasiSignatures = map[string]string{
	"args_get": "33", "args_sizes_get": "33", "environ_get": "33", "environ_sizes_get": "33",
	"clock_res_get": "33", "clock_time_get": "363",
	"fd_advise": "3663", "fd_allocate": "366", "fd_close": "3", "fd_datasync": "3", "fd_fdstat_get": "33",
	"fd_fdstat_set_flags": "33", "fd_fdstat_set_rights": "366", "fd_filestat_get": "33", "fd_filestat_set_size": "36",
	"fd_filestat_set_times": "3663", "fd_pread": "33363", "fd_prestat_get": "33", "fd_prestat_dir_name": "333",
	"fd_pwrite": "33363", "fd_read": "3333", "fd_readdir": "33363", "fd_renumber": "33", "fd_seek": "3633",
	"fd_sync": "3", "fd_tell": "33", "fd_write": "3333",
	"path_create_directory": "333", "path_filestat_get": "33333", "path_filestat_set_times": "3333663",
	"path_link": "3333333", "path_open": "333336633", "path_readlink": "333333", "path_remove_directory": "333",
	"path_rename": "333333", "path_symlink": "33333", "path_unlink_file": "333",
	"poll_oneoff": "3333", "proc_exit": "3", "proc_raise": "3", "random_get": "33", "sched_yield": "",
	"sock_accept": "333", "sock_recv": "333333", "sock_send": "33333", "sock_shutdown": "33",
}

func wasiTypes(name string) (params, results []api.ValueType) {
	for _, c := range wasiSignatures[name] {
		if c == '6' {
			params = append(params, i64)
		} else {
			params = append(params, i32)
		}
	}
	if name != "proc_exit" {
		results = []api.ValueType{i32}
	}
	return params, results
}

// flood calls a WASI function in an endless loop.
type flood struct {
	name string
	call string
	args []uint64
}

const (
	mebi = 1 << 20
	last = 64*mebi - 16 // a position at which the result overwrites no vector
)

// floods are attacks on the host through WASI. The guest's 64 MiB are filled so that every
// position holds vectors of a large size, or subscriptions to a file.
var floods = []flood{
	{"iovecs: 1,024 of 16 MiB", "fd_write", []uint64{2, 0, 1024, last}},
	{"iovecs: 100,000", "fd_write", []uint64{2, 0, 100_000, last}},
	{"iovecs: 8 million", "fd_write", []uint64{2, 0, 8_000_000, last}},
	{"iovecs: 2^29, whose size is 0 in 32 bits", "fd_write", []uint64{1, 0, 1 << 29, last}},
	{"iovecs: 8 million, to read", "fd_read", []uint64{0, 0, 8_000_000, last}},
	{"iovecs: 8 million, at an offset", "fd_pwrite", []uint64{2, 0, 8_000_000, 0, last}},
	{"iovecs: 8 million, read at an offset", "fd_pread", []uint64{0, 0, 8_000_000, 0, last}},
	{"iovecs: 8 million, sent", "sock_send", []uint64{2, 0, 8_000_000, 0, last}},
	{"iovecs: 8 million, received", "sock_recv", []uint64{0, 0, 8_000_000, 0, last, last}},
	{"subscriptions: 1,024", "poll_oneoff", []uint64{0, 32 * mebi, 1024, last}},
	{"subscriptions: 1.3 million", "poll_oneoff", []uint64{0, 0, 1_300_000, last}},
	{"random bytes: 64 MiB", "random_get", []uint64{0, 64 * mebi}},
	{"arguments", "args_get", []uint64{0, 64}},
	{"environment", "environ_get", []uint64{0, 64}},
	{"time", "clock_time_get", []uint64{1, 0, last}},
	{"path of 63 MiB", "path_open", []uint64{3, 0, 0, 63 * mebi, 0, 0, 0, 0, last}},
	{"two paths of 63 MiB", "path_rename", []uint64{0, 0, 63 * mebi, 0, 0, 63 * mebi}},
	{"link of 63 MiB", "path_symlink", []uint64{0, 63 * mebi, 1, 0, 63 * mebi}},
	{"directory of 63 MiB", "fd_readdir", []uint64{3, 0, 63 * mebi, 0, last}},
	{"name of 63 MiB", "fd_prestat_dir_name", []uint64{1, 0, 63 * mebi}},
	{"descriptor 2^31-1", "fd_renumber", []uint64{1, math.MaxInt32}},
	{"yields", "sched_yield", nil},
}

// wasiDriver exports every WASI function, each flood under its name, and an endless sleep.
func wasiDriver() []byte {
	m, at := &wasmModule{}, map[string]int{}
	for name := range wasiSignatures {
		params, results := wasiTypes(name)
		at[name] = m.imported(wasiModuleName, name, params, results)
	}
	m.memory(1024)
	for name := range wasiSignatures {
		params, results := wasiTypes(name)
		var body []byte
		for n := range params {
			body = append(body, 0x20, byte(n))
		}
		m.function(name, params, results, append(append(body, 0x10), leb(at[name])...)...)
	}
	for _, f := range floods {
		params, _ := wasiTypes(f.call)
		// memory.fill all 64 MiB with 1, so that a vector has slightly more than 16 MiB, at an offset
		// of the same value.
		body := []byte{0x41, 0, 0x41, 1, 0x41}
		body = append(append(body, sleb(64*mebi)...), 0xfc, 11, 0, 0x03, 0x40)
		body = append(append(body, constants(params, f.args...)...), 0x10)
		body = append(append(body, leb(at[f.call])...), 0x1a, 0x0c, 0, 0x0b, 0x00)
		m.function(f.name, nil, []api.ValueType{i32}, body...)
	}
	return m.bytes()
}

// outside is an instance of wasiDriver whose memory the test reads and writes.
type outside struct {
	driven
	memory api.Memory
}

func driveWASI(t testing.TB, w *world) *outside {
	t.Helper()
	i := mustInstantiate(t, newHost(t, Config{}), wasiDriver(), w)
	return &outside{driven: driven{Instance: i, t: t}, memory: i.guest.Memory()}
}

func (o *outside) number(at uint32) uint32 {
	n, _ := o.memory.ReadUint32Le(at)
	return n
}

func (o *outside) write(at uint32, b []byte) {
	if !o.memory.Write(at, b) {
		o.t.Fatal("out of memory")
	}
}

// Every WASI function has the specification's type.
func TestWASIHasEveryFunction(t *testing.T) {
	o := driveWASI(t, &world{}) // it imports all of them
	if diff := cmp.Diff(len(wasiSignatures), len(wasiFunctions)+1); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	// None accesses memory out of bounds, or dies from an invalid descriptor.
	for name := range wasiSignatures {
		params, _ := wasiTypes(name)
		if name == "proc_exit" {
			continue
		}
		for _, value := range []uint64{0, 1, 2, 3, math.MaxInt32, math.MaxUint32, math.MaxUint32 - 3, 64 * mebi} {
			arguments := make([]uint64, len(params))
			for n := range arguments {
				arguments[n] = value
			}
			if _, err := o.try(name, arguments...); err != nil {
				t.Errorf("%s(%d ...): %v", name, value, err)
			}
			o.wasi.files = standardStreams()
		}
	}
}

// A guest without a memory can also import WASI.
func TestWASIWithoutMemory(t *testing.T) {
	m := &wasmModule{}
	for name := range wasiSignatures {
		params, results := wasiTypes(name)
		m.imported(wasiModuleName, name, params, results)
	}
	params, results := wasiTypes("random_get")
	m.function("random", nil, results, append(constants(params, 0, 1), append([]byte{0x10}, leb(index(m, "random_get"))...)...)...)
	i := mustInstantiate(t, newHost(t, Config{}), m.bytes(), &world{})
	code, err := i.run(context.Background(), "random", input{})
	if err != nil || errno(code) != errnoFault {
		t.Errorf("got %d, %v", code, err)
	}
}

func index(m *wasmModule, name string) int {
	for n, i := range m.imports {
		if strings.Contains(string(i), string(text(name))) {
			return n
		}
	}
	return -1
}

// Every endless use of WASI is stopped at the deadline and by a cancellation, and the guest is
// charged for the host's work.
func TestWASIFloodsStop(t *testing.T) {
	m, err := newHost(t, Config{}).Compile(context.Background(), wasiDriver())
	if err != nil {
		t.Fatal(err)
	}
	var worst time.Duration
	for _, f := range floods {
		t.Run(f.name, func(t *testing.T) {
			quarter(t, []string{"late at a deadline", "late at a cancellation"}, 100*time.Millisecond, func() []time.Duration {
				deadline, cancelled := floodOnce(t, m, f.name, true), floodOnce(t, m, f.name, false)
				worst = max(worst, deadline, cancelled)
				return []time.Duration{deadline, cancelled}
			})
		})
	}
	t.Logf("%d floods held; the latest stop came after %v", len(floods), worst)
}

func floodOnce(t *testing.T, m *Module, export string, byDeadline bool) (late time.Duration) {
	t.Helper()
	i, err := m.Instantiate(context.Background(), &world{})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close(context.Background())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	at, want := make(chan time.Time, 1), KindCancelled
	if byDeadline {
		want = KindTimeout
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, 30*time.Millisecond)
		defer stop()
		deadline, _ := ctx.Deadline()
		at <- deadline
	} else {
		time.AfterFunc(30*time.Millisecond, func() { at <- time.Now(); cancel() })
	}
	_, err = i.Call(ctx, export, nil)
	late = time.Since(<-at)
	if failure, ok := errors.AsType[*Failure](err); !ok || failure.Kind != want {
		t.Fatalf("got %v, want %s", err, want)
	}
	return late
}

// The host charges for its work by size, and refuses absurd sizes.
func TestWASICalls(t *testing.T) {
	o := driveWASI(t, &world{name: "my-capsule"})
	fill := make([]byte, 64*mebi)
	for n := range fill {
		fill[n] = 1
	}
	for _, tt := range []struct {
		call   string
		args   []uint64
		want   errno
		result uint32 // at 16, if not 0x01010101
		cost   uint64
	}{
		{"fd_write", []uint64{2, 0, 1024, 16}, errnoSuccess, writeLimit, 1024 + writeLimit/bytesPerReduction},
		{"fd_write", []uint64{1, 0, 1024, 16}, errnoSuccess, writeLimit, 1024 + writeLimit/bytesPerReduction},
		{"fd_write", []uint64{2, 0, 0, 16}, errnoSuccess, 0, 0},
		{"fd_write", []uint64{2, 0, 1025, 16}, errnoInvalid, 0x01010101, 0},
		{"fd_write", []uint64{2, 0, 1 << 29, 16}, errnoInvalid, 0x01010101, 0},
		{"fd_write", []uint64{2, 64*mebi - 8, 2, 16}, errnoFault, 0x01010101, 0},
		{"fd_write", []uint64{2, 0, 1, 64*mebi - 3}, errnoFault, 0x01010101, 1},
		{"fd_write", []uint64{0, 0, 1, 16}, errnoBadFile, 0x01010101, 0},
		{"fd_write", []uint64{3, 0, 1, 16}, errnoBadFile, 0x01010101, 0},
		{"fd_read", []uint64{0, 0, 1024, 16}, errnoSuccess, 0, 1024},
		{"fd_read", []uint64{0, 0, 1025, 16}, errnoInvalid, 0x01010101, 0},
		{"fd_read", []uint64{1, 0, 1, 16}, errnoBadFile, 0x01010101, 0},
		{"fd_pread", []uint64{0, 0, 1, 0, 16}, errnoSpipe, 0x01010101, 0},
		{"fd_seek", []uint64{1, 0, 0, 16}, errnoSpipe, 0x01010101, 0},
		{"fd_seek", []uint64{4, 0, 0, 16}, errnoBadFile, 0x01010101, 0},
		{"fd_renumber", []uint64{1, math.MaxInt32}, errnoBadFile, 0x01010101, 0},
		{"fd_readdir", []uint64{0, 0, 100, 0, 16}, errnoBadFile, 0x01010101, 0},
		{"poll_oneoff", []uint64{0, 32 * mebi, 0, 16}, errnoInvalid, 0x01010101, 0},
		{"poll_oneoff", []uint64{0, 32 * mebi, 1024, 16}, errnoSuccess, 1024, 1024},
		{"poll_oneoff", []uint64{0, 32 * mebi, 1025, 16}, errnoInvalid, 0x01010101, 0},
		{"poll_oneoff", []uint64{0, 64*mebi - 31, 1, 16}, errnoFault, 0x01010101, 0},
		{"poll_oneoff", []uint64{64*mebi - 47, 0, 1, 16}, errnoFault, 0x01010101, 0},
		{"random_get", []uint64{1024, mebi}, errnoSuccess, 0x01010101, mebi / bytesPerReduction},
		{"random_get", []uint64{1024, 64 * mebi}, errnoFault, 0x01010101, 0},
		{"random_get", []uint64{1, math.MaxUint32}, errnoFault, 0x01010101, 0},
		{"path_open", []uint64{3, 0, 0, 63 * mebi, 0, 0, 0, 0, 16}, errnoBadFile, 0x01010101, 0},
		{"path_open", []uint64{0, 0, 0, 63 * mebi, 0, 0, 0, 0, 16}, errnoNotDir, 0x01010101, 0},
		{"path_symlink", []uint64{0, 1, 7, 0, 1}, errnoBadFile, 0x01010101, 0},
		{"sock_accept", []uint64{0, 0, 16}, errnoNotSocket, 0x01010101, 0},
		{"proc_raise", []uint64{1}, errnoNoSystem, 0x01010101, 0},
		{"clock_time_get", []uint64{2, 0, 16}, errnoInvalid, 0x01010101, 0},
		{"clock_res_get", []uint64{1, 16}, errnoSuccess, uint32(time.Millisecond), 0},
		{"args_sizes_get", []uint64{16, 32}, errnoSuccess, 1, 0},
		{"environ_sizes_get", []uint64{16, 32}, errnoSuccess, 0, 0},
	} {
		o.write(0, fill)
		before := o.Reductions()
		got := o.call(tt.call, tt.args...)
		if result := o.number(16); errno(got) != tt.want || result != tt.result {
			t.Errorf("%s(%v): errno %d and %#x, want %d and %#x", tt.call, tt.args, got, result, tt.want, tt.result)
		}
		// The cost of the call, plus one for the driver's function.
		if cost := o.Reductions() - before; cost != hostCallCost+tt.cost+1 {
			t.Errorf("%s(%v) cost %d, want %d", tt.call, tt.args, cost, hostCallCost+tt.cost+1)
		}
	}
	if code := o.call("args_get", 0, 100); code != 0 || o.number(0) != 100 {
		t.Errorf("args_get: %d, argv[0] at %d", code, o.number(0))
	}
	if argument, _ := o.memory.Read(100, 12); string(argument) != "my-capsule\x00\x01" {
		t.Errorf("argv[0] is %q", argument)
	}
	// Descriptors can only be closed and renumbered.
	for _, tt := range []struct {
		call string
		args []uint64
		want errno
	}{
		{"fd_renumber", []uint64{2, 1}, errnoSuccess}, {"fd_sync", []uint64{2}, errnoBadFile}, {"fd_sync", []uint64{1}, errnoSuccess},
		{"fd_renumber", []uint64{1, 1}, errnoSuccess}, {"fd_sync", []uint64{1}, errnoSuccess},
		{"fd_close", []uint64{1}, errnoSuccess}, {"fd_close", []uint64{1}, errnoBadFile}, {"fd_renumber", []uint64{0, 1}, errnoBadFile},
		{"fd_fdstat_set_flags", []uint64{0, flagNonblock}, errnoSuccess}, {"fd_fdstat_set_flags", []uint64{0, 2}, errnoInvalid},
		{"fd_fdstat_get", []uint64{0, 200}, errnoSuccess}, {"fd_filestat_get", []uint64{0, 400}, errnoSuccess},
	} {
		if got := errno(o.call(tt.call, tt.args...)); got != tt.want {
			t.Errorf("%s(%v): errno %d, want %d", tt.call, tt.args, got, tt.want)
		}
	}
	if kind, rights := o.number(200), o.number(208); kind != fileIsBlockDevice|flagNonblock<<16 || rights&(rightRead|rightWrite) != rightRead {
		t.Errorf("standard input: %#x, rights %#x", kind, rights)
	}
}

// A call that moves much data stops in the middle, not at its end.
func TestWASIStopsInsideACall(t *testing.T) {
	for call, args := range map[string][]uint64{"random_get": {1024, mebi}, "fd_write": {2, 0, 1, 16}} {
		o := driveWASI(t, &world{})
		o.memory.WriteUint32Le(4, mebi) // a buffer of that size, at 0
		o.call("sched_yield")           // so the next tick is not before the call
		before := o.Reductions()
		ctx, cancel := context.WithCancel(context.Background())
		o.begin(ctx)
		cancel()
		_, err := o.guest.ExportedFunction(call).Call(o.enter(ctx), args...)
		o.end()
		if failure := o.failure(ctx, call, err); failure.Kind != KindCancelled {
			t.Errorf("%s: %v", call, failure)
		}
		if cost := o.Reductions() - before; cost > pieceSize/bytesPerReduction+100 {
			t.Errorf("%s: it was stopped after %d reductions", call, cost)
		}
	}
}

// clockSubscription and fdSubscription encode subscriptions.
func clockSubscription(data uint64, id uint32, timeout uint64, flags uint16) []byte {
	b := make([]byte, subscriptionSize)
	binary.LittleEndian.PutUint64(b, data)
	binary.LittleEndian.PutUint32(b[16:], id)
	binary.LittleEndian.PutUint64(b[24:], timeout)
	binary.LittleEndian.PutUint16(b[40:], flags)
	return b
}

func fdSubscription(data uint64, kind byte, fd uint32) []byte {
	b := make([]byte, subscriptionSize)
	binary.LittleEndian.PutUint64(b, data)
	b[8] = kind
	binary.LittleEndian.PutUint32(b[16:], fd)
	return b
}

// event formats an event.
func event(data uint64, kind byte, e errno) string {
	return fmt.Sprintf("%d: %d, errno %d", data, kind, e)
}

// poll returns its events in short form, and its duration.
func (o *outside) poll(subscriptions ...[]byte) (events []string, code errno, took time.Duration) {
	o.t.Helper()
	const out, result = 32 << 10, 60 << 10
	for n, s := range subscriptions {
		o.write(uint32(n*subscriptionSize), s)
	}
	began := time.Now()
	code = errno(o.call("poll_oneoff", 0, out, uint64(len(subscriptions)), result))
	took = time.Since(began)
	if code != errnoSuccess {
		return nil, code, took
	}
	for n := range o.number(result) {
		b, _ := o.memory.Read(out+n*eventSize, eventSize)
		events = append(events, event(binary.LittleEndian.Uint64(b), b[10], errno(binary.LittleEndian.Uint16(b[8:]))))
	}
	return events, code, took
}

func TestPoll(t *testing.T) {
	const second = uint64(time.Second)
	for _, tt := range []struct {
		name          string
		subscriptions func(o *outside) [][]byte
		want          []string
		code          errno
		took          time.Duration
	}{
		{"nothing", func(*outside) [][]byte { return nil }, nil, errnoInvalid, 0},
		{"a clock", func(*outside) [][]byte { return [][]byte{clockSubscription(7, 1, 2*second, 0)} },
			[]string{event(7, eventClock, 0)}, 0, 2 * time.Second},
		{"the wall clock", func(*outside) [][]byte { return [][]byte{clockSubscription(7, 0, 2*second, 0)} },
			[]string{event(7, eventClock, 0)}, 0, 2 * time.Second},
		{"two clocks", func(*outside) [][]byte {
			return [][]byte{clockSubscription(1, 1, 3*second, 0), clockSubscription(2, 1, second, 0)}
		}, []string{event(2, eventClock, 0)}, 0, time.Second},
		{"two clocks at once", func(*outside) [][]byte {
			return [][]byte{clockSubscription(1, 1, second, 0), clockSubscription(2, 0, second, 0), clockSubscription(3, 0, second+1, 0)}
		}, []string{event(1, eventClock, 0), event(2, eventClock, 0)}, 0, time.Second},
		{"no time", func(*outside) [][]byte { return [][]byte{clockSubscription(7, 1, 0, 0), clockSubscription(8, 1, 1, 0)} },
			[]string{event(7, eventClock, 0)}, 0, 0},
		{"until a time", func(o *outside) [][]byte {
			return [][]byte{clockSubscription(7, 1, o.wasi.monotonic()+5*second, clockAbsolute)}
		}, []string{event(7, eventClock, 0)}, 0, 5 * time.Second},
		{"until a time of day", func(o *outside) [][]byte {
			return [][]byte{clockSubscription(7, 0, o.wasi.realtime()+5*second, clockAbsolute)}
		}, []string{event(7, eventClock, 0)}, 0, 5 * time.Second},
		{"until a time that is past", func(*outside) [][]byte { return [][]byte{clockSubscription(7, 0, second, clockAbsolute)} },
			[]string{event(7, eventClock, 0)}, 0, 0},
		{"a clock that is none", func(*outside) [][]byte {
			return [][]byte{clockSubscription(7, 2, second, 0), clockSubscription(8, 1, second, 0)}
		}, []string{event(7, eventClock, errnoInvalid)}, 0, 0},
		{"a flag that is none", func(*outside) [][]byte { return [][]byte{clockSubscription(7, 1, second, 2)} }, nil, errnoInvalid, 0},
		{"a kind that is none", func(*outside) [][]byte { return [][]byte{fdSubscription(7, 3, 1)} }, nil, errnoInvalid, 0},
		{"outputs", func(*outside) [][]byte {
			return [][]byte{fdSubscription(1, eventFDWrite, 1), fdSubscription(2, eventFDWrite, 2)}
		},
			[]string{event(1, eventFDWrite, 0), event(2, eventFDWrite, 0)}, 0, 0},
		{"the input", func(*outside) [][]byte { return [][]byte{fdSubscription(1, eventFDRead, 0)} },
			[]string{event(1, eventFDRead, 0)}, 0, 0},
		{"the wrong way", func(*outside) [][]byte {
			return [][]byte{fdSubscription(1, eventFDRead, 1), fdSubscription(2, eventFDWrite, 0)}
		},
			[]string{event(1, eventFDRead, errnoBadFile), event(2, eventFDWrite, errnoBadFile)}, 0, 0},
		{"no such file", func(*outside) [][]byte {
			return [][]byte{fdSubscription(1, eventFDRead, 9), fdSubscription(2, eventFDWrite, math.MaxUint32), clockSubscription(3, 1, second, 0)}
		}, []string{event(1, eventFDRead, errnoBadFile), event(2, eventFDWrite, errnoBadFile)}, 0, 0},
		{"a clock and an output", func(*outside) [][]byte {
			return [][]byte{clockSubscription(1, 1, second, 0), fdSubscription(2, eventFDWrite, 1)}
		}, []string{event(2, eventFDWrite, 0)}, 0, 0},
		{"a clock that is due and an output", func(*outside) [][]byte {
			return [][]byte{clockSubscription(1, 1, 0, 0), fdSubscription(2, eventFDWrite, 1)}
		}, []string{event(1, eventClock, 0), event(2, eventFDWrite, 0)}, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := driveWASI(t, &world{})
				events, code, took := o.poll(tt.subscriptions(o)...)
				if diff := cmp.Diff(tt.want, events); code != tt.code || diff != "" {
					t.Errorf("errno %d, want %d; -want +got\n%s", code, tt.code, diff)
				}
				if took < tt.took || took > tt.took+2*clockTick {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
			})
		})
	}
}

// A very long sleep ends with its call. During the sleep, the guest holds no turn.
func TestLongSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, Config{Processors: 1})
		m, err := h.Compile(t.Context(), wasiDriver())
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close(context.Background())
		for _, timeout := range []uint64{math.MaxUint64, math.MaxInt64, math.MaxInt64 + 1, (1 << 34) * uint64(time.Second)} {
			for _, flags := range []uint16{0, clockAbsolute} {
				i, err := m.Instantiate(t.Context(), &world{})
				if err != nil {
					t.Fatal(err)
				}
				i.guest.Memory().Write(0, clockSubscription(7, 1, timeout, flags))
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				began := time.Now()
				i.begin(ctx)
				h.scheduler.take(&i.meter.turn, nil)
				_, err = i.guest.ExportedFunction("poll_oneoff").Call(i.enter(ctx), 0, 1024, 1, 512)
				if h.scheduler.running != 0 {
					t.Error("it sleeps with its place taken")
				}
				i.end()
				failure := i.failure(ctx, "poll_oneoff", err)
				if took := time.Since(began); took != time.Hour || failure.Kind != KindTimeout {
					t.Errorf("a sleep of %d, flags %d: ended after %v, %v", timeout, flags, took, failure)
				}
				cancel()
				_ = i.Close(context.Background())
			}
		}
	})
}

// Setting the HostAPI's clock back does not prolong a sleep, even if the guest reads that
// clock.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := time.Duration(0)
		o := driveWASI(t, &world{now: func() time.Time { return time.Now().Round(0).Add(-back) }})
		clock := func(id uint64) uint64 {
			o.call("clock_time_get", id, 0, 64)
			n, _ := o.memory.ReadUint64Le(64)
			return n
		}
		before, wall := clock(clockMonotonic), clock(clockRealtime)
		back = time.Hour
		if now := clock(clockRealtime); now >= wall {
			t.Errorf("the wall clock was set back, and went from %d to %d", wall, now)
		}
		for n := range 10 {
			o.poll(clockSubscription(1, clockMonotonic, uint64(100*time.Millisecond), 0))
			if got, want := clock(clockMonotonic)-before, uint64(n+1)*uint64(100*time.Millisecond); got != want {
				t.Fatalf("after %d ns of sleep the monotonic clock went on by %d", want, got)
			}
		}
		if _, _, took := o.poll(clockSubscription(1, clockRealtime, wall-uint64(time.Hour)+uint64(3*time.Second), clockAbsolute)); took > 3*time.Second {
			t.Errorf("a sleep of less than 3 s took %v", took)
		}
	})
}
