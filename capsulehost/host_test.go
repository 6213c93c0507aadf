package capsulehost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// TestMain also makes this test's binary compile for hosts, in processes of its own.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == compileArgument {
		if err := ServeCompile(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// world is a HostAPI that records its guest's calls.
type world struct {
	name       string
	lines      []string
	config     map[string]string
	caller     *Caller
	ready      int
	now        func() time.Time
	peers      Peers
	files      Files
	state      State
	http       HTTP
	identities Identities
	services   Services // for the fields that have no own one
}

func (w *world) Log(level LogLevel, message string) {
	w.lines = append(w.lines, level.String()+" "+message)
}
func (w *world) Config(key string) string { return w.config[key] }
func (w *world) Caller() *Caller          { return w.caller }
func (w *world) SignalReady()             { w.ready++ }
func (w *world) Services() *Services {
	s := w.services
	s.Peers, s.Files, s.State, s.HTTP, s.Identities = w.peers, w.files, w.state, w.http, w.identities
	return &s
}
func (w *world) Name() string { return w.name }

func (w *world) Now() time.Time {
	if w.now != nil {
		return w.now()
	}
	return time.Now()
}

// asked is a Peers that records its calls.
type asked struct {
	topic, payload     string
	source, capability string
	values             []json.RawMessage
	err                error
	allowed            bool
}

func (a *asked) TriggerHook(_ context.Context, topic string, payload json.RawMessage) ([]json.RawMessage, error) {
	a.topic, a.payload = topic, string(payload)
	return a.values, a.err
}

func (a *asked) CheckCapability(_ context.Context, source, capability string) bool {
	a.source, a.capability = source, capability
	return a.allowed
}

func newHost(t testing.TB, cfg Config) *Host {
	t.Helper()
	h, err := New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// fixture reads a capsule from test/capsules.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	return read(t, filepath.Join("..", "test", "capsules", name, name+".wasm"))
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func instantiate(t testing.TB, h *Host, wasm []byte, s HostAPI) (*Instance, error) {
	t.Helper()
	return instantiateWithin(t, time.Minute, h, wasm, s)
}

func instantiateWithin(t testing.TB, limit time.Duration, h *Host, wasm []byte, s HostAPI) (*Instance, error) {
	t.Helper()
	m, err := h.Compile(context.Background(), wasm)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	i, err := m.Instantiate(ctx, s)
	if err == nil {
		t.Cleanup(func() { _ = i.Close(context.Background()) })
	}
	return i, err
}

func mustInstantiate(t testing.TB, h *Host, wasm []byte, s HostAPI) *Instance {
	t.Helper()
	i, err := instantiate(t, h, wasm, s)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestAnswers(t *testing.T) {
	h := newHost(t, Config{})
	long := strings.Repeat("é\"\\\n\x00", 30_000)
	for _, tt := range []struct {
		capsule, payload string
		want             Result
	}{
		{"echo", "", Result{Continue, []byte{}}},
		{"echo", "null", Result{Continue, []byte("null")}},
		{"echo", long, Result{Continue, []byte(long)}},
		{"final", "1", Result{Final, []byte(`{"final":true}`)}},
		{"empty-final", "1", Result{Final, []byte{}}},
		{"empty", "1", Result{}},
		{"deny", "1", Result{Deny, []byte("not today")}},
		{"bad-utf8-reason", "1", Result{Deny, []byte("no \uFFFD\uFFFD reason")}},
		{"non-json", "1", Result{Continue, []byte("not json")}},
		{"unknown-tag", "1", Result{Continue, []byte(`{"whole":true}`)}},
	} {
		t.Run(tt.capsule+"/"+tt.payload[:min(4, len(tt.payload))], func(t *testing.T) {
			i := mustInstantiate(t, h, fixture(t, tt.capsule), &world{})
			for range 3 { // the shared memory is reset for each call
				got, err := i.Invoke(context.Background(), "ask", []byte(tt.payload))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Fatalf("-want +got\n%s", diff)
				}
			}
		})
	}
}

func TestInvocationInput(t *testing.T) {
	for _, tt := range []struct{ action, payload, want string }{
		{"a", "", `{"name":"a","arguments":[]}`},
		{`say "<é>"`, "\x00\xff7", `{"name":"say \"<é>\"","arguments":[0,255,55]}`},
	} {
		if got := written(tt.action, []byte(tt.payload)); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
	every := make([]byte, 512) // each byte, next to bytes with one to three digits
	for n := range every {
		every[n] = byte(n * 7)
	}
	for from := range every {
		for _, payload := range [][]byte{every[from:], every[:from]} {
			want := strings.ReplaceAll(fmt.Sprint(payload), " ", ",")
			if got := written("a", payload); got != `{"name":"a","arguments":`+want+`}` {
				t.Fatalf("%v becomes %s", payload, got)
			}
		}
	}
}

// written returns the input of an interceptor.
func written(action string, payload []byte) string {
	in := input{bytes: payload, action: &action}
	out := make([]byte, in.size())
	in.write(out)
	return string(out)
}

// An error reported by the guest leaves its instance usable.
func TestGuestErrors(t *testing.T) {
	h := newHost(t, Config{})
	for capsule, want := range map[string]string{
		"guest-error": "the disk is on fire", "guest-error-mute": "astrid_hook_trigger returned 7 without an error text",
	} {
		i := mustInstantiate(t, h, fixture(t, capsule), &world{})
		for range 2 {
			_, err := i.Invoke(context.Background(), "ask", nil)
			var guest *GuestError
			if !errors.As(err, &guest) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want a guest error with %q", capsule, err, want)
			}
		}
	}
}

// Each kind of misbehaviour returns a Failure of its kind, soon, and other instances continue.
func TestFaults(t *testing.T) {
	h := newHost(t, Config{})
	bystander := mustInstantiate(t, h, fixture(t, "counter"), &world{})
	for _, tt := range []struct {
		capsule string
		kind    Kind
		message string
	}{
		{"trap", KindTrap, "unreachable"},
		{"oob", KindTrap, "out of bounds memory access"},
		{"div0", KindTrap, "integer divide by zero"},
		{"recurse", KindStackOverflow, "stack overflow"},
		{"spin", KindTimeout, "deadline exceeded"},
		{"host-spin", KindTimeout, "deadline exceeded"},
		{"slow", KindTimeout, "deadline exceeded"},
		{"init-spin", KindTimeout, "deadline exceeded"},
		{"init-trap", KindTrap, "unreachable"},
		{"memory-bomb", KindMemoryLimit, "limit of 67108864 bytes"},
		{"alloc-bomb", KindMemoryLimit, "limit of 67108864 bytes"},
		{"exit3", KindExit, "code 3"},
		{"bad-offset", KindHostCall, "astrid_log: level: offset"},
		{"inside-offset", KindHostCall, "is not the start of a block"},
		{"over-limit", KindHostCall, "astrid_log: level of 65 bytes is over the limit of 64"},
		{"bad-trigger", KindHostCall, "astrid_trigger_hook: invalid trigger request: missing field `payload`"},
		{"bad-capability", KindHostCall, "astrid_check_capsule_capability: invalid capability check request: "},
		{"unknown-import", KindHostCall, "astrid_net_write: sockets are not granted to this capsule: its manifest has no net_bind"},
	} {
		t.Run(tt.capsule, func(t *testing.T) {
			limit := time.Minute
			if tt.kind == KindTimeout {
				limit = 100 * time.Millisecond
			}
			i, err := instantiateWithin(t, limit, h, fixture(t, tt.capsule), &world{peers: &asked{}})
			if err == nil {
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				defer cancel()
				switch {
				case i.module.RunLoop():
					err = i.Run(ctx)
				case tt.capsule == "unknown-import":
					_, err = i.Invoke(ctx, "use", []byte("null"))
				default:
					_, err = i.Invoke(ctx, "ask", []byte("null"))
				}
			}
			var failure *Failure
			if !errors.As(err, &failure) {
				t.Fatalf("got %v, want a *Failure", err)
			}
			if failure.Kind != tt.kind || !strings.Contains(err.Error(), tt.message) {
				t.Errorf("got %v, want %s with %q", err, tt.kind, tt.message)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			if tt.kind == KindTrap && len(failure.Stack) == 0 {
				t.Error("no wasm stack")
			}
			if _, err := bystander.Invoke(context.Background(), "ask", nil); err != nil {
				t.Errorf("a bystander: %v", err)
			}
		})
	}
}

// The failure wraps the cause that ended the call's context.
func TestInterruptionHasItsCause(t *testing.T) {
	h := newHost(t, Config{})
	why := errors.New("because")
	i := mustInstantiate(t, h, fixture(t, "spin"), &world{})
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	_, err := i.Invoke(ctx, "ask", nil)
	var failure *Failure
	if !errors.As(err, &failure) || failure.Kind != KindCancelled || !errors.Is(err, why) {
		t.Errorf("got %v, want cancelled, because", err)
	}
	i = mustInstantiate(t, h, fixture(t, "spin"), &world{})
	ctx, stop := context.WithDeadlineCause(context.Background(), time.Now().Add(10*time.Millisecond), why)
	defer stop()
	if _, err = i.Invoke(ctx, "ask", nil); !errors.As(err, &failure) || failure.Kind != KindTimeout || !errors.Is(err, why) {
		t.Errorf("got %v, want a timeout, because", err)
	}
	// Also during a sleep.
	i = mustInstantiate(t, h, fixture(t, "run-silent"), &world{})
	ctx, cancel = context.WithCancelCause(context.Background())
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	if err = i.Run(ctx); !errors.As(err, &failure) || failure.Kind != KindCancelled || !errors.Is(err, why) {
		t.Errorf("got %v, want cancelled, because", err)
	}
}

func TestModulesThatDoNotLoad(t *testing.T) {
	h := newHost(t, Config{})
	echo := fixture(t, "echo")
	for _, tt := range []struct {
		name string
		wasm []byte
		kind Kind
		want string
	}{
		{"empty", nil, KindBadModule, "the file is empty"},
		{"four bytes", echo[:4], KindBadModule, "the module is truncated: it has only 4 bytes"},
		{"five bytes", []byte("\x00asm\x02"), KindBadModule, "the module is truncated: it has only 5 bytes"},
		{"truncated", echo[:len(echo)/2], KindBadModule, "the module is truncated or damaged"},
		{"unknown calls", read(t, "testdata/unknown-calls.wasm"), KindLink, `it imports "astrid_teleport" and "astrid_vanish" from "extism:host/user" and "abort" from "env", which this host does not have`},
		{"a call of another type", read(t, "testdata/call-type.wasm"), KindLink, `it imports "astrid_kv_set" from "extism:host/user" as (i64) -> i64, which is (i64, i64) -> ()`},
		{"text", []byte("(module) ; as text"), KindBadModule, "not a WebAssembly module"},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), KindBadModule, "a WebAssembly component, not a core module"},
		{"version", []byte("\x00asm\x02\x00\x00\x00"), KindBadModule, "a version that this host does not know"},
		{"unknown module", read(t, "testdata/import-env.wasm"), KindLink, `imports "abort" from "env"`},
		{"import type", read(t, "testdata/import-type.wasm"), KindLink, `imports "alloc" from "extism:host/env" as (i32) -> i32, which is (i64) -> i64`},
		{"export type", read(t, "testdata/export-type.wasm"), KindLink, `"astrid_hook_trigger" is (i32) -> (), and must be () -> i32`},
		{"kernel's own", read(t, "testdata/import-reset.wasm"), KindLink, `imports "kernel.reset"`},
		{"memory", read(t, "testdata/import-memory.wasm"), KindLink, `imports the memory "memory" from "env"`},
		{"global", read(t, "testdata/import-global.wasm"), KindLink, `imports the global "kernel.output_length" from "extism:host/env"`},
		{"minimum", read(t, "testdata/memory-minimum.wasm"), KindBadModule, "memory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := h.Compile(context.Background(), tt.wasm)
			failure, ok := err.(*Failure) //nolint:errorlint // Compile promises exactly this type
			if !ok || failure.Kind != tt.kind || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %#v, want %s with %q", err, tt.kind, tt.want)
			}
		})
	}
}

// Exactly the calls of astrid-capsule 0.5.0 can be imported.
func TestSystemCalls(t *testing.T) {
	if n := len(userFunctions()); n != 49 {
		t.Errorf("there are %d calls, want 49", n)
	}
	// Their types in astrid-capsule 0.5.0.
	types := map[string]string{
		"() -> ()":         "signal_ready",
		"() -> i64":        "get_caller clock_ms get_interceptor_handles",
		"(i64) -> ()":      "fs_mkdir fs_unlink ipc_unsubscribe kv_delete net_close_stream http_stream_close",
		"(i64, i64) -> ()": "write_file ipc_publish kv_set log net_write",
		"(i64) -> i64": "fs_exists fs_readdir fs_stat read_file ipc_subscribe ipc_poll kv_get kv_list_keys kv_clear_prefix get_config " +
			"http_request spawn_host net_bind_unix net_accept net_read trigger_hook elicit has_secret request_approval " +
			"identity_resolve identity_link identity_unlink identity_create_user identity_list_links check_capsule_capability " +
			"spawn_background_host read_process_logs_host kill_process_host net_poll_accept http_stream_start http_stream_read",
		"(i64, i64) -> i64":      "ipc_recv",
		"(i64, i64, i64) -> i64": "uplink_register uplink_send",
	}
	h := newHost(t, Config{})
	for want, names := range types {
		for name := range strings.FieldsSeq(names) {
			if d := h.user.ExportedFunctionDefinitions()["astrid_"+name]; d == nil || signature(d) != want {
				t.Errorf("astrid_%s is not %s", name, want)
			}
		}
	}
	all, functions := &wasmModule{}, userFunctions()
	for _, f := range functions {
		all.imported(userModuleName, f.name, f.params, f.results)
		all.imported(userModuleName, f.name, f.params, f.results) // imported twice, as a linker may do
	}
	for _, f := range shimFunctions {
		all.imported(shimModuleName, f.name, f.params, f.results)
	}
	m, err := h.Compile(context.Background(), all.bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// A host and a module are safe for concurrent use: many goroutines compile, use and close the
// same bytes, and each instance answers its own caller.
func TestMany(t *testing.T) {
	h := newHost(t, Config{})
	shared, err := h.Compile(context.Background(), fixture(t, "echo"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shared.Close(context.Background()) })
	unknown, echo := fixture(t, "unknown-import"), fixture(t, "echo")
	once := func(m *Module, payload string) error {
		i, err := m.Instantiate(context.Background(), &world{})
		if err != nil {
			return err
		}
		got, err := i.Invoke(context.Background(), "ask", []byte(payload))
		if err == nil && m == shared && string(got.Data) != payload {
			err = fmt.Errorf("%q was answered with %q", payload, got.Data)
		}
		return errors.Join(err, i.Close(context.Background()))
	}
	var group sync.WaitGroup
	for n := range 8 {
		group.Go(func() {
			for k := range 10 {
				own, err := h.Compile(context.Background(), [][]byte{unknown, echo}[n%2])
				if err != nil {
					t.Error(err)
					return
				}
				if err := errors.Join(once(own, "null"), once(shared, fmt.Sprint(n, k)), own.Close(context.Background())); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

func TestCallingWhatIsNotThere(t *testing.T) {
	h := newHost(t, Config{})
	i := mustInstantiate(t, h, fixture(t, "no-export"), &world{})
	_, err := i.Invoke(context.Background(), "ask", nil)
	var failure *Failure
	if !errors.As(err, &failure) || failure.Kind != KindLink || !strings.Contains(err.Error(), `no export "astrid_hook_trigger"`) {
		t.Errorf("got %v", err)
	}
}

func TestMemoryLimit(t *testing.T) {
	if _, err := New(context.Background(), Config{MemoryLimitPages: 70_000}); err == nil {
		t.Error("a limit that WebAssembly can't have was taken")
	}
	h := newHost(t, Config{MemoryLimitPages: 4})
	i := mustInstantiate(t, h, fixture(t, "memory-bomb"), &world{})
	_, err := i.Invoke(context.Background(), "ask", nil)
	var failure *Failure
	if !errors.As(err, &failure) || failure.Kind != KindMemoryLimit {
		t.Errorf("got %v", err)
	}
	if got, want := i.MemoryBytes(), uint64(5<<16+10<<10); got != want { // the guest's four pages, the shared one, and its stack
		t.Errorf("MemoryBytes() = %d, want %d", got, want)
	}
	// An input that does not fit is a failure of kind memory_limit, not a crash of the host.
	i = mustInstantiate(t, h, fixture(t, "echo"), &world{})
	if _, err := i.Invoke(context.Background(), "ask", make([]byte, 1<<20)); !errors.As(err, &failure) || failure.Kind != KindMemoryLimit {
		t.Errorf("got %v", err)
	}
}

// A second host finds the first one's modules in the cache.
func TestCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "cache")
	for range 2 {
		h := newHost(t, Config{CacheDir: dir})
		i := mustInstantiate(t, h, fixture(t, "echo"), &world{})
		if _, err := i.Invoke(context.Background(), "ask", []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	files := 0
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, _ error) error {
		if d != nil && !d.IsDir() {
			files++
		}
		return nil
	})
	if files == 0 {
		t.Error("nothing was cached")
	}
}

func TestStderr(t *testing.T) {
	long := strings.Repeat("\tat some place\n", 1000)
	for _, tt := range []struct{ name, written, word, begins, ends string }{
		{"nothing", "", "", "", ""},
		{"lines", "one\ntwo\n\n", "two", "one", "two"},
		{"long", long + "the \xff end", "the \uFFFD end", "", "the \uFFFD end"},
		{"Go", "a line\npanic: out of ink\n\ngoroutine 1 [running]:\n" + long, "panic: out of ink", "panic: out of ink\n\ngoroutine 1", ""},
		{"Go, in a panic", "panic: first [recovered]\n\tpanic: second\n" + long + "fatal error: third\n", "panic: first [recovered]", "panic: first [recovered]\n\tpanic: second", ""},
		{"Go, a trace without end", "panic: out of ink\n" + strings.Repeat(long, 100), "panic: out of ink", "panic: out of ink", ""},
		{"Rust, in a panic", "thread 'main' panicked at src/lib.rs:7:5:\nout of ink\n" + long + "thread 'main' panicked at core/src/panicking.rs:1:1:\npanic in a function that cannot unwind\n", "thread 'main' panicked at src/lib.rs:7:5: out of ink", "thread", ""},
		{"Go, its run time", "runtime: of memory\nfatal error: out of memory\n" + long, "fatal error: out of memory", "fatal error", ""},
		{"Rust", "thread '<unnamed>' panicked at src/lib.rs:7:5:\nout of ink\nnote: run with", "thread '<unnamed>' panicked at src/lib.rs:7:5: out of ink", "thread", "run with"},
		{"Rust, older", "thread 'main' panicked at 'out of ink', src/lib.rs:7:5\n", "thread 'main' panicked at 'out of ink', src/lib.rs:7:5", "thread", ""},
		{"not at the start of a line", "no panic: none", "no panic: none", "no", "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var kept capture
			for rest := []byte(tt.written); len(rest) > 0; { // in several writes, like guests
				n := min(len(rest), 7)
				_, _ = kept.Write(rest[:n])
				rest = rest[n:]
			}
			text, word := kept.end()
			if word != tt.word || !strings.HasPrefix(text, tt.begins) || !strings.HasSuffix(text, tt.ends) || len(text) > shown {
				t.Errorf("got %q; %d bytes, %.40q ... %q", word, len(text), text, text[max(0, len(text)-20):])
			}
		})
	}
	var kept capture
	for range 100 {
		_, _ = kept.Write(make([]byte, shown))
		_, _ = kept.Write([]byte("x"))
	}
	if n := cap(kept.tail) + cap(kept.head) + cap(kept.line); n > 8*shown {
		t.Errorf("%d bytes are kept", n)
	}
	// A guest that has recovered did not die of that earlier panic.
	_, _ = kept.Write([]byte("\npanic: an old one\n"))
	kept.newCall()
	_, _ = kept.Write([]byte("a new word\n"))
	if _, word := kept.end(); word != "a new word" {
		t.Errorf("its last word: %q", word)
	}
}

func BenchmarkCall(b *testing.B) {
	h := newHost(b, Config{})
	for _, size := range []struct {
		name  string
		bytes int
	}{{"0B", 0}, {"128B", 128}, {"10KiB", 10 << 10}, {"1MiB", 1 << 20}} {
		b.Run(size.name, func(b *testing.B) {
			i := mustInstantiate(b, h, fixture(b, "echo"), &world{})
			payload := make([]byte, size.bytes)
			ctx := b.Context() // a context that can end
			b.ReportAllocs()
			b.SetBytes(int64(size.bytes))
			for b.Loop() {
				if _, err := i.Invoke(ctx, "ask", payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The cost of a deadline for a call that does nothing.
func BenchmarkDeadline(b *testing.B) {
	h := newHost(b, Config{})
	i := mustInstantiate(b, h, read(b, "testdata/endless.wasm"), &world{})
	bounded, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		budget Budget
	}{
		{"without", context.Background(), Budget{}},
		{"with", bounded, Budget{}},
		{"and a budget", bounded, Budget{Reductions: 1 << 40, Rate: NewRate(1 << 40)}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			i.SetBudget(tt.budget)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := i.Call(tt.ctx, "short", nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkInstantiate(b *testing.B) {
	h := newHost(b, Config{})
	m, err := h.Compile(context.Background(), fixture(b, "echo"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		i, err := m.Instantiate(context.Background(), &world{})
		if err != nil {
			b.Fatal(err)
		}
		_ = i.Close(context.Background())
	}
}
