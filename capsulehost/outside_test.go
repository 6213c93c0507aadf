package capsulehost

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A guest sees nothing of the host: its only argument is its own name, and it has no
// environment, no files, no sockets, and no time finer than a millisecond.
func TestNothingOfTheHostIsSeen(t *testing.T) {
	t.Setenv("A_SECRET_OF_THE_HOST", "of which no guest may hear")
	now := time.Date(2026, 1, 2, 3, 4, 5, 123_456_789, time.UTC)
	i := mustInstantiate(t, newHost(t, Config{}), read(t, "testdata/outside.wasm"), &world{now: func() time.Time {
		now = now.Add(1_234_567)
		return now
	}})
	d := &driven{Instance: i, t: t}
	memory := func(at, n uint32) []byte {
		t.Helper()
		b, ok := i.guest.Memory().Read(at, n)
		if !ok {
			t.Fatal("out of memory")
		}
		return b
	}
	number := func(at uint32) uint64 {
		n, _ := i.guest.Memory().ReadUint64Le(at)
		return n
	}
	if code := d.call("args_sizes_get"); code != 0 || number(0) != 1|uint64(len("capsule\x00"))<<32 {
		t.Errorf("args_sizes_get: code %d, count and size % x", code, memory(0, 8))
	}
	if code := d.call("environ_sizes_get"); code != 0 || number(0) != 0 {
		t.Errorf("environ_sizes_get: code %d, count and size % x", code, memory(0, 8))
	}
	if code := d.call("environ_get"); code != 0 || bytes.Contains(memory(0, 65536), []byte("SECRET")) {
		t.Errorf("environ_get: code %d", code)
	}
	const badFile = 8
	for fd := uint64(3); fd < 64; fd++ { // lower ones are the standard streams
		if code := d.call("fd_prestat_get", fd); code != badFile {
			t.Errorf("fd_prestat_get(%d): code %d, want no such file", fd, code)
		}
		for _, path := range [][2]uint64{{2048, 28}, {2080, 11}, {2059, 17}} {
			if code := d.call("path_open", fd, path[0], path[1]); code == 0 {
				t.Errorf("path_open(%d, %q) has opened it", fd, memory(uint32(path[0]), uint32(path[1])))
			}
		}
		if code := d.call("sock_accept", fd); code == 0 {
			t.Errorf("sock_accept(%d) has accepted", fd)
		}
		if code := d.call("fd_read", fd); code == 0 && number(8)&0xffffffff != 0 {
			t.Errorf("fd_read(%d): %q", fd, memory(1024, 32))
		}
	}
	for clock, name := range []string{"the wall clock", "the monotonic clock"} {
		if code := d.call("clock_res_get", uint64(clock)); code != 0 || number(0) < uint64(time.Millisecond) {
			t.Errorf("%s has a resolution of %d ns (code %d)", name, number(0), code)
		}
		for range 10 {
			if code := d.call("clock_time_get", uint64(clock)); code != 0 || number(0)%uint64(time.Millisecond) != 0 {
				t.Errorf("%s says %d ns (code %d)", name, number(0), code)
			}
		}
	}
}

// Two instances, of one module or of two, can't see each other.
func TestGuestsDoNotSeeEachOther(t *testing.T) {
	h := newHost(t, Config{})
	one := func() *driven {
		i := mustInstantiate(t, h, read(t, "testdata/driver.wasm"), &world{})
		if err := i.kernel.Reset([]byte("input")); err != nil {
			t.Fatal(err)
		}
		return &driven{Instance: i, t: t}
	}
	a, b := one(), one()
	const secret = "a secret of one guest's"
	p := a.text(secret)
	a.call("var_set", a.text("key"), a.text(secret))
	a.call("error_set", p)
	a.call("output_set", p, uint64(len(secret)))
	if got := b.call("var_get", b.text("key")); got != 0 {
		t.Errorf("the other's variable: %q", b.read(got))
	}
	var seen []byte
	for at := uint64(0); at < 1<<16; at += 8 {
		seen = binary.LittleEndian.AppendUint64(seen, b.call("load_u64", at))
	}
	if bytes.Contains(seen, []byte(secret)) {
		t.Error("one guest's block is in the other's memory")
	}
	if len(b.kernel.Output()) != 0 || len(b.kernel.ErrorText()) != 0 {
		t.Errorf("the other's output %q, error %q", b.kernel.Output(), b.kernel.ErrorText())
	}
	// A guest damages only its own memory.
	for at := uint64(0); at < 1<<16; at += 8 {
		a.call("store_u64", at, ^uint64(0))
	}
	if got := b.read(b.text("as before")); got != "as before" {
		t.Errorf("the other's block says %q", got)
	}
}

// offsetCalls lists the functions with offsets as parameters, and their number.
func offsetCalls() map[string]int {
	return map[string]int{
		"free": 1, "length": 1, "length_unsafe": 1, "load_u8": 1, "load_u64": 1, "store_u8": 2, "store_u64": 2,
		"input_load_u8": 1, "input_load_u64": 1, "input_set": 2, "output_set": 2, "error_set": 1, "alloc": 1,
		"config_get": 1, "var_get": 1, "var_set": 2, "http_request": 2,
		"log_trace": 1, "log_debug": 1, "log_info": 1, "log_warn": 1, "log_error": 1,
		"astrid_log": 2, "astrid_get_config": 1, "astrid_trigger_hook": 1, "astrid_check_capsule_capability": 1,
		"astrid_kv_get": 1, "astrid_kv_set": 2, "astrid_kv_delete": 1, "astrid_kv_list_keys": 1, "astrid_kv_clear_prefix": 1,
	}
}

// sound checks that the host can still read a guest's state: no call below may panic, and
// results must lie within memory.
func (d *driven) sound(what string) {
	d.t.Helper()
	within := d.kernel.MemoryBytes()
	for name, b := range map[string][]byte{"output": d.kernel.Output(), "error": d.kernel.ErrorText()} {
		if uint64(len(b)) > within {
			d.t.Errorf("after %s the %s has %d bytes of %d", what, name, len(b), within)
		}
	}
	if err := d.kernel.Reset([]byte("input")); err != nil {
		d.t.Fatalf("after %s: %v", what, err)
	}
	if got := d.read(d.call("input_offset")); got != "input" {
		d.t.Errorf("after %s the next call's input is %q", what, got)
	}
	if p := d.text("a block"); d.read(p) != "a block" {
		d.t.Errorf("after %s a block says %q", what, d.read(p))
	}
}

// Every function accepts any offset, and either answers or returns an error.
func TestOffsetsThroughEveryCall(t *testing.T) {
	d := drive(t, &world{peers: &asked{}, state: shelves{}})
	for name, n := range offsetCalls() {
		live := func() uint64 { return d.text(`{"hook":"t","payload":1}`) }
		gone := live()
		d.call("free", gone)
		p := live()
		offsets := []uint64{
			0, 1, 7, 8, 15, 16, 1023, 1024, gone, p - 1, p, p + 1, p + 8, p - 8, 1<<16 - 1, 1 << 16, 1<<16 + 1, 1<<31 - 1, 1 << 31,
			1<<32 - 1, 1 << 32, 1<<32 | p, 1 << 62, 1<<63 - 1, 1 << 63, 1<<63 | p, ^uint64(0), ^uint64(7), ^uint64(15), -p,
		}
		for _, first := range offsets {
			arguments := []uint64{first}
			if n == 1 {
				_, _ = d.try(name, arguments...)
				continue
			}
			for _, second := range offsets {
				_, _ = d.try(name, append(arguments, second)...)
			}
		}
		d.sound(name)
	}
}

// FuzzOffsets calls all functions with arbitrary offsets, in any order.
func FuzzOffsets(f *testing.F) {
	names := slices.Sorted(maps.Keys(offsetCalls()))
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		program := make([]byte, 400)
		for i := range program {
			program[i] = byte(random.Uint32())
		}
		f.Add(program)
	}
	h := newHost(f, Config{MemoryLimitPages: 16})
	m, err := h.Compile(context.Background(), read(f, "testdata/driver.wasm"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		i, err := m.Instantiate(t.Context(), &world{peers: &asked{}, state: shelves{}})
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close(context.Background())
		d := &driven{Instance: i, t: t}
		known := []uint64{0}
		program = program[:min(len(program), 4000)]
		for len(program) >= 4 {
			name := names[int(program[0])%len(names)]
			argument := func(how, which byte) uint64 {
				p := known[int(which)%len(known)]
				switch how % 8 {
				case 0:
					return p + uint64(how>>3)
				case 1:
					return p - uint64(how>>3)
				case 2:
					return uint64(which) << (how >> 2)
				case 3:
					return -(uint64(which) << (how >> 2))
				default:
					return p
				}
			}
			arguments := []uint64{argument(program[1], program[2])}
			if offsetCalls()[name] == 2 {
				arguments = append(arguments, argument(program[3], program[1]^program[2]))
			}
			got, err := d.try(name, arguments...)
			if err == nil && got != 0 {
				known = append(known, got)
			}
			program = program[4:]
		}
		d.sound("all of it")
	})
}
