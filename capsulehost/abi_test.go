package capsulehost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// driven is an instance of testdata/driver.wat, which exports every function that a guest can
// import.
type driven struct {
	*Instance
	t testing.TB
}

func drive(t testing.TB, w *world) *driven {
	t.Helper()
	return driveIn(t, Config{}, w)
}

func driveIn(t testing.TB, cfg Config, w *world) *driven {
	t.Helper()
	i := mustInstantiate(t, newHost(t, cfg), read(t, "testdata/driver.wasm"), w)
	if err := i.kernel.Reset([]byte("the input")); err != nil {
		t.Fatal(err)
	}
	return &driven{Instance: i, t: t}
}

func (d *driven) try(name string, arguments ...uint64) (uint64, error) {
	f := d.guest.ExportedFunction(name)
	if f == nil {
		d.t.Fatalf("the driver has no %s", name)
	}
	d.begin(context.Background())
	defer d.end()
	results, err := f.Call(d.enter(context.Background()), arguments...)
	if err != nil {
		return 0, d.failure(context.Background(), name, err)
	}
	if len(results) == 0 {
		return 0, nil
	}
	if f.Definition().ResultTypes()[0] == i32 {
		return uint64(uint32(results[0])), nil // an i32: the upper half is undefined
	}
	return results[0], nil
}

func (d *driven) call(name string, arguments ...uint64) uint64 {
	d.t.Helper()
	result, err := d.try(name, arguments...)
	if err != nil {
		d.t.Fatal(err)
	}
	return result
}

// text allocates a block with s, as a guest does.
func (d *driven) text(s string) uint64 {
	p := d.call("alloc", uint64(len(s)))
	for i := range len(s) {
		d.call("store_u8", p+uint64(i), uint64(s[i]))
	}
	return p
}

// read returns the block at p, as a guest reads it.
func (d *driven) read(p uint64) string {
	n := d.call("length", p)
	out := make([]byte, n)
	for i := range n {
		out[i] = byte(d.call("load_u8", p+i))
	}
	return string(out)
}

func TestKernelFunctions(t *testing.T) {
	d := drive(t, &world{config: map[string]string{"name": "wörld"}})
	is := func(what string, got, want uint64) {
		t.Helper()
		if got != want {
			t.Errorf("%s = %#x, want %#x", what, got, want)
		}
	}
	in := d.call("input_offset")
	is("input_length", d.call("input_length"), 9)
	is("length(input)", d.call("length", in), 9)
	is("input_load_u8(0)", d.call("input_load_u8", 0), 't')
	is("input_load_u8(8)", d.call("input_load_u8", 8), 't')
	is("input_load_u8(9)", d.call("input_load_u8", 9), 0)
	is("input_load_u8(max)", d.call("input_load_u8", ^uint64(0)), 0)
	is("input_load_u64(0)", d.call("input_load_u64", 0), 0x75706e6920656874)
	is("input_load_u64(1)", d.call("input_load_u64", 1), 0x7475706e69206568)
	is("input_load_u64(2)", d.call("input_load_u64", 2), 0)
	is("input_load_u64(max)", d.call("input_load_u64", ^uint64(0)), 0)

	is("alloc(0)", d.call("alloc", 0), 0)
	is("alloc(too much)", d.call("alloc", 1<<40), 0)
	is("alloc(more than there is)", d.call("alloc", 65<<20), 0)
	p := d.call("alloc", 20)
	is("length", d.call("length", p), 20)
	is("length_unsafe", d.call("length_unsafe", p), 20)
	is("length inside", d.call("length", p+1), 0)
	is("length(0)", d.call("length", 0), 0)
	is("length(wild)", d.call("length", 1<<50), 0)
	d.call("store_u64", p+1, 0x1122334455667788)
	is("load_u64", d.call("load_u64", p+1), 0x1122334455667788)
	is("load_u8", d.call("load_u8", p+1), 0x88)
	d.call("store_u8", p+2, 0x1ff)
	is("load_u8", d.call("load_u8", p+2), 0xff)

	for _, wild := range []uint64{0, 1, 100, 1023, 1 << 16, 1 << 31, 1<<32 + p, ^uint64(0), ^uint64(6)} {
		d.call("store_u8", wild, 1)
		d.call("store_u64", wild, 1)
		is("load_u8(wild)", d.call("load_u8", wild), 0)
		is("load_u64(wild)", d.call("load_u64", wild), 0)
		d.call("free", wild)
		is("length(wild)", d.call("length", wild), 0)
	}

	d.call("free", p)
	is("length(freed)", d.call("length", p), 0)
	is("alloc of the same class", d.call("alloc", 30), p)
	d.call("free", in)
	is("input_length after free", d.call("input_length"), 0)
	is("input_load_u8 after free", d.call("input_load_u8", 0), 0)

	out := d.text("an answer")
	d.call("output_set", out, 9)
	is("output", uint64(strings.Compare(string(d.kernel.Output()), "an answer")), 0)
	d.call("output_set", out, 1<<40) // out of bounds: ignored
	d.call("output_set", 1, 4)
	is("output", uint64(strings.Compare(string(d.kernel.Output()), "an answer")), 0)
	d.call("output_set", 0, 0)
	is("no output", uint64(len(d.kernel.Output())), 0)

	d.call("error_set", d.text("a reason"))
	if got := string(d.kernel.ErrorText()); got != "a reason" {
		t.Errorf("error %q", got)
	}
	d.call("error_set", out+1) // not a block: ignored
	if got := string(d.kernel.ErrorText()); got != "a reason" {
		t.Errorf("error %q", got)
	}
	d.call("error_set", 0)
	is("no error", uint64(len(d.kernel.ErrorText())), 0)

	if got := d.read(d.call("config_get", d.text("name"))); got != "wörld" {
		t.Errorf("config %q", got)
	}
	is("config_get(missing)", d.call("config_get", d.text("other")), 0)
	is("http_status_code", d.call("http_status_code"), 0)
	is("http_headers", d.call("http_headers"), 0)
	is("get_log_level", d.call("get_log_level"), 0)

	p = d.text("all of it")
	d.call("input_set", p, 3)
	is("input_offset", d.call("input_offset"), p)
	is("input_length", d.call("input_length"), 3)
	d.call("input_set", p, 1<<20) // out of bounds: ignored
	d.call("input_set", 1, 1)
	is("input_length", d.call("input_length"), 3)
	d.call("output_set", p, 9)
	d.call("error_set", p)
	is("output_offset", d.call("output_offset"), p)
	is("output_length", d.call("output_length"), 9)
	is("error_get", d.call("error_get"), p)
	is("memory_bytes", d.call("memory_bytes"), 1<<16-1024)
	d.call("reset")
	is("input_length after reset", d.call("input_length"), 0)
	is("output_length after reset", d.call("output_length"), 0)
	is("error_get after reset", d.call("error_get"), 0)
	is("length after reset", d.call("length", p), 0)
	if _, err := d.try("http_request", d.text("{}"), 0); err == nil || !strings.Contains(err.Error(), "http_request: no hosts are granted") {
		t.Errorf("http_request: %v", err)
	}
}

// Like Extism's, these functions free their arguments: PDKs rely on it, and a run loop would
// fill its memory. The guest owns the answer, which survives even if a PDK frees its argument
// as well.
func TestOwnedArguments(t *testing.T) {
	w := &world{config: map[string]string{"k": "v"}}
	d := drive(t, w)
	before := d.text("as long")
	d.call("free", before)
	for range 1000 {
		w.lines = nil
		d.call("log_info", d.text("as long"))
		d.call("var_set", d.text("as long"), d.text("a value"))
		d.call("free", d.call("var_get", d.text("as long")))
		d.call("var_set", d.text("as long"), 0)
		key := d.text("k")
		value := d.call("config_get", key)
		d.call("free", key)
		if got := d.read(value); got != "v" {
			t.Fatalf("config_get answered %q", got)
		}
		d.call("free", value)
	}
	if got := d.kernel.MemoryBytes(); got != 1<<16 {
		t.Errorf("the shared memory has grown to %d bytes", got)
	}
	// The system calls do not free their arguments.
	key := d.text("k")
	d.call("free", d.call("astrid_get_config", key))
	if got := d.read(key); got != "k" {
		t.Errorf("the key is now %q", got)
	}
}

func TestVariables(t *testing.T) {
	d := drive(t, &world{})
	if got := d.call("var_get", d.text("k")); got != 0 {
		t.Errorf("a variable that is not set: %d", got)
	}
	d.call("var_set", d.text("k"), d.text("v"))
	if err := d.kernel.Reset(nil); err != nil { // variables survive the call
		t.Fatal(err)
	}
	if got := d.read(d.call("var_get", d.text("k"))); got != "v" {
		t.Errorf("got %q", got)
	}
	most := d.call("alloc", maxVariables-1)
	d.call("var_set", d.text("k"), most)
	if _, err := d.try("var_set", d.text("l"), d.text("")); err != nil { // removing is always possible
		t.Error(err)
	}
	if _, err := d.try("var_set", d.text("l"), d.text("1")); err == nil || !strings.Contains(err.Error(), "over the limit of 1048576") {
		t.Errorf("a byte too many: %v", err)
	}
	d.call("var_set", d.text("k"), 0)
	if got := d.call("var_get", d.text("k")); got != 0 || d.vars.size != 0 {
		t.Errorf("a variable that was removed: %d, %d bytes", got, d.vars.size)
	}
}

func TestLog(t *testing.T) {
	w := &world{}
	d := drive(t, w)
	for level, want := range map[string]string{
		"trace": "TRACE", "Debug": "DEBUG", "WARN": "WARN", "warning": "WARN", "error": "ERROR", "eRR": "ERROR",
		"info": "INFO", "": "INFO", "fatal": "INFO", "\xff": "INFO",
	} {
		w.lines = nil
		d.call("astrid_log", d.text(level), d.text("a\xffb"))
		if diff := cmp.Diff([]string{want + " a\uFFFDb"}, w.lines); diff != "" {
			t.Errorf("%q: -want +got\n%s", level, diff)
		}
	}
	for _, level := range []string{"trace", "debug", "info", "warn", "error"} {
		w.lines = nil
		d.call("log_"+level, d.text("m"))
		if diff := cmp.Diff([]string{strings.ToUpper(level) + " m"}, w.lines); diff != "" {
			t.Errorf("log_%s: -want +got\n%s", level, diff)
		}
	}
	w.lines = nil
	long, err := d.kernel.Store([]byte(strings.Repeat("x", maxLogMessage-1) + "é and more"))
	if err != nil {
		t.Fatal(err)
	}
	d.call("log_info", long)
	if diff := cmp.Diff([]string{"INFO " + strings.Repeat("x", maxLogMessage-1)}, w.lines); diff != "" {
		t.Error("a long message was not cut before the character that does not fit")
	}
	if _, err := d.try("log_info", 5); err == nil || !strings.Contains(err.Error(), "log_info: message: offset 5") {
		t.Errorf("a bad offset: %v", err)
	}
}

// filled returns a request of n bytes, padded in the middle.
func filled(n int, before, after string) string {
	return before + strings.Repeat("x", n-len(before)-len(after)) + after
}

// Each call accepts an argument below and at its limit. It traps for one more byte, without
// copying the argument, and for an offset that is not a block's start. Offset 0 is an empty
// text.
func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		name, call string
		place      int // index of the argument
		of         int // number of arguments
		limit      int
		before     string // start and end of a valid argument
		after      string
		empty      string // the answer to an empty argument
	}{
		{"level", "astrid_log", 0, 2, 64, "", "", ""},
		{"message", "astrid_log", 1, 2, 64 << 10, "", "", ""},
		{"key", "astrid_get_config", 0, 1, 4 << 10, "", "", ""},
		{"trigger", "astrid_trigger_hook", 0, 1, 1 << 20, `{"hook":"t","payload":"`, `"}`, "invalid trigger request: "},
		{"capability", "astrid_check_capsule_capability", 0, 1, 1024, `{"source_uuid":"u","capability":"`, `"}`, "invalid capability check request: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := drive(t, &world{peers: &asked{}})
			block := func(s string) uint64 {
				p, err := d.kernel.Store([]byte(s))
				if err != nil {
					t.Fatal(err)
				}
				return p
			}
			try := func(p uint64) error {
				arguments := make([]uint64, tt.of)
				arguments[tt.place] = p
				_, err := d.try(tt.call, arguments...)
				return err
			}
			for _, n := range []int{tt.limit - 1, tt.limit} {
				if err := try(block(filled(n, tt.before, tt.after))); err != nil {
					t.Errorf("%d bytes: %v", n, err)
				}
			}
			refuse := func(what string, p uint64, want string) {
				t.Helper()
				var failure *Failure
				if err := try(p); !errors.As(err, &failure) || failure.Kind != KindHostCall || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: got %v, want %q", what, err, want)
				}
			}
			tooMuch := tt.call + ": " + map[bool]string{true: "request", false: tt.name}[tt.empty != ""] + " of %d bytes is over the limit of %d"
			refuse("a byte too many", block(filled(tt.limit+1, tt.before, tt.after)), fmt.Sprintf(tooMuch, tt.limit+1, tt.limit))
			huge := d.call("alloc", 32<<20)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			refuse("far too much", huge, fmt.Sprintf(tooMuch, 32<<20, tt.limit))
			if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 1<<20 {
				t.Errorf("a block that is refused was copied: %d bytes", after.TotalAlloc-before.TotalAlloc)
			}

			p := block("in good order")
			for _, offset := range []uint64{1, p + 1, p - 1, 1 << 40, p | 1<<32, ^uint64(0)} {
				refuse(fmt.Sprintf("offset %d", offset), offset, fmt.Sprintf("offset %d is not the start of a block", offset))
			}
			d.call("free", p)
			refuse("a freed block", p, "is not the start of a block")
			if tt.empty != "" {
				refuse("no block", 0, tt.empty)
			} else if err := try(0); err != nil {
				t.Errorf("no block: %v", err)
			}
		})
	}
}

func TestGetConfig(t *testing.T) {
	d := drive(t, &world{config: map[string]string{"a": "raw \"text\"", "\uFFFD": "lossy"}})
	for key, want := range map[string]string{"a": "raw \"text\"", "b": "", "": "", "\xff": "lossy"} {
		if got := d.read(d.call("astrid_get_config", d.text(key))); got != want {
			t.Errorf("%q: got %q, want %q", key, got, want)
		}
	}
}

func TestGetCaller(t *testing.T) {
	w := &world{}
	d := drive(t, w)
	name, odd := "bob", "<&>\u2028\""
	at := time.Date(2026, 11, 24, 13, 0, 5, 0, time.FixedZone("", 3600))
	for _, tt := range []struct {
		caller *Caller
		want   string
	}{
		{nil, `{}`},
		{&Caller{&name, "6ba7b810-9dad-11d1-80b4-00c04fd430c8", at}, `{"principal":"bob","source_id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","timestamp":"2026-11-24T12:00:05+00:00"}`},
		{&Caller{nil, "u", at.Add(120 * time.Millisecond)}, `{"principal":null,"source_id":"u","timestamp":"2026-11-24T12:00:05.120+00:00"}`},
		{&Caller{nil, "u", at.Add(12 * time.Microsecond)}, `{"principal":null,"source_id":"u","timestamp":"2026-11-24T12:00:05.000012+00:00"}`},
		{&Caller{&odd, "u", at}, `{"principal":"<&> \"","source_id":"u","timestamp":"2026-11-24T12:00:05+00:00"}`},
		{&Caller{nil, "u", at.Add(12)}, `{"principal":null,"source_id":"u","timestamp":"2026-11-24T12:00:05.000000012+00:00"}`},
	} {
		w.caller = tt.caller
		if got := d.read(d.call("astrid_get_caller")); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestSignalReadyAndClock(t *testing.T) {
	w := &world{now: func() time.Time { return time.UnixMilli(1_700_000_000_123) }}
	d := drive(t, w)
	d.call("astrid_signal_ready")
	d.call("astrid_signal_ready")
	if w.ready != 2 {
		t.Errorf("signalled %d times", w.ready)
	}
	if got := d.read(d.call("astrid_clock_ms")); got != "1700000000123" {
		t.Errorf("clock %q", got)
	}
	w.now = func() time.Time { return time.UnixMilli(-5) }
	if got := d.read(d.call("astrid_clock_ms")); got != "0" {
		t.Errorf("a clock before the epoch: %q", got)
	}
}

func TestTriggerHook(t *testing.T) {
	deep := strings.Repeat("[", 126) + strings.Repeat("]", 126)
	for _, tt := range []struct{ name, request, topic, payload, problem string }{
		{name: "plain", request: `{"hook":"a.b","payload":{"x": [1, 2.50, 1e2]}}`, topic: "a.b", payload: `{"x":[1,2.5,100.0]}`},
		{name: "keys in another order, and twice", request: `{"hook":"a","payload":{"b":1,"a":2,"b":3}}`, topic: "a", payload: `{"a":2,"b":3}`},
		{name: "payload twice", request: `{"hook":"a","payload":1,"payload":2}`, problem: "duplicate field `payload`"},
		{name: "other fields", request: ` {"payload":null,"more":{},"hook":"a"} `, topic: "a", payload: "null"},
		{name: "escapes", request: `{"\u0068ook":"a\u002eb","payload":"\ud83d\ude00"}`, topic: "a.b", payload: `"😀"`},
		{name: "array", request: `["a",1]`, topic: "a", payload: "1"},
		{name: "deep", request: `{"hook":"a","payload":` + deep + `}`, topic: "a", payload: deep},
		{name: "too deep", request: `{"hook":"a","payload":[` + deep + `]}`, problem: "nested deeper"},
		{name: "not JSON", request: `hook`, problem: "not a JSON object"},
		{name: "nothing", request: ``, problem: "not a JSON object"},
		{name: "two values", request: `{"hook":"a","payload":1}{}`, problem: "where"},
		{name: "no payload", request: `{"hook":"a"}`, problem: "missing field `payload`"},
		{name: "no hook", request: `{"payload":1}`, problem: "missing field `hook`"},
		{name: "hook in another case", request: `{"Hook":"a","payload":1}`, problem: "missing field `hook`"},
		{name: "hook twice", request: `{"hook":"a","hook":"b","payload":1}`, problem: "duplicate field `hook`"},
		{name: "hook no string", request: `{"hook":1,"payload":1}`, problem: "field `hook` is not a string"},
		{name: "null hook", request: `{"hook":null,"payload":1}`, problem: "field `hook` is not a string"},
		{name: "short array", request: `["a"]`, problem: "an array of 1 elements"},
		{name: "long array", request: `["a",1,2]`, problem: "an array of more than the 2 fields"},
		{name: "a number", request: `5`, problem: "not a JSON object"},
		{name: "bad UTF-8", request: "{\"hook\":\"a\",\"payload\":\"\xff\"}", problem: "invalid UTF-8"},
		{name: "lone surrogate", request: `{"hook":"a","payload":"\ud800"}`, problem: "lone surrogate"},
		{name: "lone low surrogate", request: `{"hook":"a","payload":"\udc00"}`, problem: "lone surrogate"},
		{name: "number out of range", request: `{"hook":"a","payload":1e999}`, problem: "number out of range"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			peers := &asked{values: []json.RawMessage{[]byte(`1`), []byte(`{"a":2}`)}}
			d := drive(t, &world{peers: peers})
			p, err := d.try("astrid_trigger_hook", d.text(tt.request))
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), "astrid_trigger_hook: invalid trigger request: ") || !strings.Contains(err.Error(), tt.problem) {
					t.Errorf("got %v, want %q", err, tt.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if peers.topic != tt.topic || peers.payload != tt.payload {
				t.Errorf("asked for %q with %s", peers.topic, peers.payload)
			}
			if got := d.read(p); got != `[1,{"a":2}]` {
				t.Errorf("answered %s", got)
			}
		})
	}
	t.Run("nobody", func(t *testing.T) {
		d := drive(t, &world{peers: &asked{}})
		if got := d.read(d.call("astrid_trigger_hook", d.text(`{"hook":"a","payload":1}`))); got != "[]" {
			t.Errorf("answered %s", got)
		}
	})
	t.Run("no registry", func(t *testing.T) {
		d := drive(t, &world{})
		if got := d.read(d.call("astrid_trigger_hook", d.text(`not even parsed`))); got != "[]" {
			t.Errorf("answered %s", got)
		}
	})
	t.Run("more than there is room for", func(t *testing.T) {
		large := func(c byte, n int) json.RawMessage {
			return append(append([]byte{'"'}, bytes.Repeat([]byte{c}, n-2)...), '"')
		}
		w := &world{peers: &asked{values: []json.RawMessage{
			large('a', 64<<10), []byte("1"), large('b', 128<<10), large('c', 64<<10), []byte("2"), large('d', 64<<10), large('e', 64<<10), []byte("3"),
		}}}
		d := driveIn(t, Config{MemoryLimitPages: 16}, w) // 1 MiB, of which a quarter may be used
		got := d.read(d.call("astrid_trigger_hook", d.text(`{"hook":"a","payload":1}`)))
		want := fmt.Sprintf("[%s,1,%s,2,%s,3]", large('a', 64<<10), large('c', 64<<10), large('d', 64<<10))
		if got != want {
			t.Errorf("answered %d bytes, want %d", len(got), len(want))
		}
		if len(w.lines) != 1 || !strings.Contains(w.lines[0], `WARN astrid_trigger_hook: topic "a": the largest 2 of 8 answers were left out`) {
			t.Errorf("logged %q", w.lines)
		}
		d.call("alloc", 768<<10) // the guest's own blocks reduce the room
		if got := d.read(d.call("astrid_trigger_hook", d.text(`{"hook":"a","payload":1}`))); got != "[1,2,3]" {
			t.Errorf("answered %d bytes", len(got))
		}
	})
	t.Run("refused", func(t *testing.T) {
		d := drive(t, &world{peers: &asked{err: errors.New("no time")}})
		if _, err := d.try("astrid_trigger_hook", d.text(`{"hook":"a","payload":1}`)); err == nil || !strings.Contains(err.Error(), "no time") {
			t.Errorf("got %v", err)
		}
	})
}

func TestCheckCapability(t *testing.T) {
	const id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	yes := &asked{allowed: true}
	for _, tt := range []struct {
		name    string
		peers   Peers
		request string
		want    string // "" means a trap
	}{
		{"allowed", yes, `{"source_uuid":"` + id + `","capability":"allow_prompt_injection"}`, `{"allowed":true}`},
		{"in capitals", yes, `{"source_uuid":"` + strings.ToUpper(id) + `","capability":"x"}`, `{"allowed":true}`},
		{"alone", yes, `{"source_uuid":"` + strings.ReplaceAll(id, "-", "") + `","capability":"x"}`, `{"allowed":true}`},
		{"in braces", yes, `{"source_uuid":"{` + id + `}","capability":"x"}`, `{"allowed":true}`},
		{"in other braces", yes, `{"source_uuid":"(` + id + `)","capability":"x"}`, `{"allowed":false}`},
		{"one brace", yes, `{"source_uuid":"{` + id + ` ","capability":"x"}`, `{"allowed":false}`},
		{"as a URN", yes, `{"source_uuid":"urn:uuid:` + id + `","capability":"x"}`, `{"allowed":true}`},
		{"as another URN", yes, `{"source_uuid":"URN:UUID:` + id + `","capability":"x"}`, `{"allowed":false}`},
		{"a space behind", yes, `{"source_uuid":"` + id + ` ","capability":"x"}`, `{"allowed":false}`},
		{"denied", &asked{}, `{"source_uuid":"` + id + `","capability":"x"}`, `{"allowed":false}`},
		{"no UUID", yes, `{"source_uuid":"x","capability":"x"}`, `{"allowed":false}`},
		{"no registry", nil, `{"source_uuid":"` + id + `","capability":"x"}`, `{"allowed":false}`},
		{"malformed", yes, `{`, ""},
		{"malformed, no registry", nil, `{"source_uuid":"x"}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := drive(t, &world{peers: tt.peers})
			p, err := d.try("astrid_check_capsule_capability", d.text(tt.request))
			switch {
			case tt.want == "":
				if err == nil || !strings.Contains(err.Error(), "invalid capability check request: ") {
					t.Errorf("got %v", err)
				}
			case err != nil:
				t.Error(err)
			case d.read(p) != tt.want:
				t.Errorf("got %s", d.read(p))
			}
		})
	}
	if yes.source != id {
		t.Errorf("asked for %q", yes.source)
	}
}

// panicking is a Peers whose methods panic.
type panicking struct{ asked }

func (*panicking) TriggerHook(context.Context, string, json.RawMessage) ([]json.RawMessage, error) {
	panic("a bug")
}

func TestPanicInSurroundingsEndsTheGuestOnly(t *testing.T) {
	d := drive(t, &world{peers: &panicking{}})
	_, err := d.try("astrid_trigger_hook", d.text(`{"hook":"a","payload":1}`))
	var failure *Failure
	if !errors.As(err, &failure) || failure.Kind != KindHostCall || !strings.Contains(err.Error(), "a bug") {
		t.Errorf("got %v", err)
	}
}

func TestLossyIsRusts(t *testing.T) {
	for in, want := range map[string]string{
		"ok é": "ok é", "\xff\xfe": "\uFFFD\uFFFD", "a\xe2\x82b": "a\uFFFDb", "\xf0\x9f\x98": "\uFFFD",
		"\xed\xa0\x80": "\uFFFD\uFFFD\uFFFD", "\xc0\xaf": "\uFFFD\uFFFD", "\xf0\x9f\x98\xe2\x82\xac": "\uFFFD€", "\xe2\x82": "\uFFFD",
	} {
		if got := lossy([]byte(in)); got != want {
			t.Errorf("lossy(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzDecodeTriggerRequest(f *testing.F) {
	for _, seed := range []string{`{"hook":"a","payload":{"x":[1,"\ud83d\ude00"]}}`, `["a",null]`, `{"hook":"a","payload":"`, `{"x":[{"\ud800":1e999}],"hook":"b","payload":0}`, "\"\\u", `{"hook":"\ud800`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		_, payload, err := decodeTriggerRequest(request)
		if err != nil {
			return
		}
		if again, err := CompactJSON(payload); err != nil || !bytes.Equal(again, payload) {
			t.Errorf("%q let %q through", request, payload)
		}
	})
}
