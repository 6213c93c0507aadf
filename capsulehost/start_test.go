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

// Which start-up functions are called, and in which order, where a module has them.
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
		{"Haskell, no reactor", []string{"hs_init"}, "2"},
		{"a command", []string{"_start"}, "4"},
		{"constructors only", []string{"__wasm_call_ctors"}, "3"},
		{"_initialize calls them itself", []string{"_initialize", "__wasm_call_ctors"}, "1"},
		{"_start calls them itself", []string{"_start", "__wasm_call_ctors"}, "4"},
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

// A command that ends with an exit of 0 has started; with any other, or where it
// exits later, it is gone.
func TestCommandThatExits(t *testing.T) {
	h := newHost(t, Config{})
	command := read(t, "testdata/command.wasm")
	i := mustInstantiate(t, h, command, &world{config: map[string]string{"s": "0"}})
	for range 2 {
		if err := i.Run(context.Background()); err != nil {
			t.Error(err)
		}
	}
	var failure *Failure
	if _, err := i.Invoke(context.Background(), "a", nil); !errors.As(err, &failure) || failure.Kind != KindExit || failure.ExitCode != 0 {
		t.Errorf("an exit of 0 in a call: %v", err)
	}
	_, err := instantiate(t, h, command, &world{config: map[string]string{"s": "3"}})
	if !errors.As(err, &failure) || failure.Kind != KindExit || failure.ExitCode != 3 || failure.Export != "_start" {
		t.Errorf("an exit of 3 in _start: %v", err)
	}
}

// A module's start section runs as its exports do: it can call the host, and what
// it does wrong is a failure.
func TestStartSection(t *testing.T) {
	w := &world{}
	_, err := instantiate(t, newHost(t, Config{}), read(t, "testdata/start-section.wasm"), w)
	var failure *Failure
	if !errors.As(err, &failure) || failure.Kind != KindTrap || !strings.Contains(err.Error(), "unreachable") || len(failure.Stack) == 0 {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"INFO !"}, w.lines); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// After a failure there is only that failure.
func TestLostInstanceStaysLost(t *testing.T) {
	h := newHost(t, Config{})
	for _, capsule := range []string{"trap", "spin", "exit0"} {
		i := mustInstantiate(t, h, fixture(t, capsule), &world{})
		invoke := func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			_, err := i.Invoke(ctx, "ask", nil)
			return err
		}
		first, second := invoke(), invoke()
		if first == nil || second != first { //nolint:errorlint // the very same
			t.Errorf("%s: first %v, then %v", capsule, first, second)
		}
		for range 2 {
			if err := i.Close(context.Background()); err != nil {
				t.Errorf("%s: close: %v", capsule, err)
			}
		}
	}
}

// A clock that panics ends the guest that looks at it, and not whoever makes one.
func TestPanicInTheClockEndsTheGuestOnly(t *testing.T) {
	d := drive(t, &world{now: func() time.Time { panic("a broken clock") }})
	_, err := d.try("astrid_clock_ms")
	var failure *Failure
	if !errors.As(err, &failure) || failure.Kind != KindHostCall || !strings.Contains(err.Error(), "a broken clock") {
		t.Errorf("got %v", err)
	}
}

// What a guest is said to have died of.
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
		{"error text", ExportInterceptor, read(t, "testdata/last-word.wasm"), KindTrap, "; its last word: off ink"},
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
	if got, want := i.MemoryBytes(), uint64(2<<16); got != want { // its own, which it does not export, and the shared one
		t.Errorf("MemoryBytes() = %d, want %d", got, want)
	}
}
