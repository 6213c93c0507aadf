package capsulehost

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The host calls the right start-up functions in the right order.
func TestStartUp(t *testing.T) {
	h := newHost(t, Config{})
	all := read(t, "testdata/start-order.wasm")
	for _, tt := range []struct {
		name string
		has  []string
		want string
	}{
		{"C, stock Go, TinyGo", []string{"_initialize"}, "1"},
		{"Haskell", []string{"_initialize", "hs_init"}, "12"},
		{"Haskell, with constructors", []string{"_initialize", "hs_init", "__wasm_call_ctors"}, "12"},
		{"Haskell, no reactor", []string{"hs_init", "__wasm_call_ctors"}, "2"},
		{"constructors only", []string{"__wasm_call_ctors"}, "3"},
		{"constructors first", []string{"_initialize", "__wasm_call_ctors"}, "3"},
		{"a command is not started", []string{"_start"}, ""},
		{"a reactor is no command", []string{"_initialize", "_start"}, "1"},
		{"nothing", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wasm := bytes.Clone(all)
			for _, name := range []string{"_initialize", "hs_init", "__wasm_call_ctors", "_start"} {
				if !strings.Contains(" "+strings.Join(tt.has, " ")+" ", " "+name+" ") {
					wasm = bytes.Replace(wasm, []byte(name), []byte(strings.Repeat("x", len(name))), 1)
				}
			}
			i := mustInstantiate(t, h, wasm, &world{})
			got, err := i.Call(context.Background(), ExportInterceptor, nil)
			if err != nil || string(got) != tt.want {
				t.Errorf("called %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// An exit with code 0 is a success, at start-up and in a call, whose output is returned. The
// next call has a new guest, but keeps the instance's variables.
func TestExitOfZero(t *testing.T) {
	i := mustInstantiate(t, newHost(t, Config{}), read(t, "testdata/exit.wasm"), &world{})
	before := i.Reductions()
	for n := range 3 {
		got, err := i.Invoke(context.Background(), "ask", nil)
		if diff := cmp.Diff(Result{Data: []byte("1")}, got); err != nil || diff != "" {
			t.Errorf("call %d: %v, -want +got\n%s", n, err, diff)
		}
		if after := i.Reductions(); after <= before {
			t.Errorf("call %d: %d reductions, and before it %d", n, after, before)
		} else {
			before = after
		}
		if got := i.Usage().MemoryBytes; got != i.MemoryBytes() || got != i.kernel.MemoryBytes() {
			t.Errorf("between calls it has %d bytes", got)
		}
		got2, err := i.Call(context.Background(), "variable", nil)
		if err != nil || len(got2) != n+1 {
			t.Errorf("the variable has %d bytes after call %d, %v", len(got2), n, err)
		}
	}
	if err := i.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// A guest's error text is returned, however its call ends.
func TestErrorSetCounts(t *testing.T) {
	i := mustInstantiate(t, newHost(t, Config{}), read(t, "testdata/exit.wasm"), &world{})
	for _, export := range []string{ExportInstall, ExportRun} { // an exit with code 0, and a result of 0
		_, err := i.Call(context.Background(), export, nil)
		if diff := cmp.Diff(&GuestError{Export: export, Text: "e"}, err); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	_, err := i.Call(context.Background(), ExportUpgrade, nil)
	if failure, ok := errors.AsType[*Failure](err); !ok || failure.Kind != KindExit || failure.ExitCode != 3 || failure.Message != "e" {
		t.Errorf("an exit of 3: %v", err)
	}
}

// A module's start section runs like its exports: it can call the host, and its faults are
// failures.
func TestStartSection(t *testing.T) {
	w := &world{}
	_, err := instantiate(t, newHost(t, Config{}), read(t, "testdata/start-section.wasm"), w)
	var failure *Failure
	if !errors.As(err, &failure) || failure.Kind != KindTrap || len(failure.Stack) == 0 ||
		failure.Message != "in the module's start function: wasm error: unreachable" {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"INFO !"}, w.lines); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// After a failure, every call returns that failure.
func TestLostInstanceStaysLost(t *testing.T) {
	h := newHost(t, Config{})
	for _, capsule := range []string{"trap", "spin", "exit3"} {
		i := mustInstantiate(t, h, fixture(t, capsule), &world{})
		invoke := func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			_, err := i.Invoke(ctx, "ask", nil)
			return err
		}
		first, second := invoke(), invoke()
		if first == nil || second != first { //nolint:errorlint // the same pointer
			t.Errorf("%s: first %v, then %v", capsule, first, second)
		}
		for range 2 {
			if err := i.Close(context.Background()); err != nil {
				t.Errorf("%s: close: %v", capsule, err)
			}
		}
	}
}

// A panic in HostAPI.Now ends the guest that reads the clock, but not its instantiation.
func TestPanicInTheClockEndsTheGuestOnly(t *testing.T) {
	d := drive(t, &world{now: func() time.Time { panic("a broken clock") }})
	_, err := d.try("astrid_clock_ms")
	var failure *Failure
	if !errors.As(err, &failure) || failure.Kind != KindHostCall || !strings.Contains(err.Error(), "a broken clock") {
		t.Errorf("got %v", err)
	}
}

// Every fault has the right kind of failure.
func TestKinds(t *testing.T) {
	h := newHost(t, Config{MemoryLimitPages: 8})
	misleading := bytes.Replace(read(t, "testdata/near-limit.wasm"), []byte("stack_overflow"), []byte("stack overflow"), 1)
	for _, tt := range []struct {
		name, export string
		wasm         []byte
		kind         Kind
		message      string
	}{
		{"gave up, out of memory", ExportUpgrade, misleading, KindMemoryLimit, "limit of 524288 bytes"},
		{"divided, out of memory", ExportInstall, misleading, KindTrap, "divide by zero"},
		{"gave up", ExportRun, misleading, KindTrap, "unreachable"},
		{"error text", ExportInterceptor, read(t, "testdata/last-word.wasm"), KindTrap, "astrid_hook_trigger: off ink"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := mustInstantiate(t, h, tt.wasm, &world{})
			_, err := i.Call(context.Background(), tt.export, nil)
			var failure *Failure
			if !errors.As(err, &failure) || failure.Kind != tt.kind || !strings.Contains(err.Error(), tt.message) {
				t.Errorf("got %v, want %s with %q", err, tt.kind, tt.message)
			}
		})
	}
	i := mustInstantiate(t, h, misleading, &world{})
	if got, want := i.MemoryBytes(), uint64(2<<16); got != want { // its own memory, which it does not export, and the shared one
		t.Errorf("MemoryBytes() = %d, want %d", got, want)
	}
}
