package capsulehost

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// upper is the function that the capsule embedder imports.
func upper(status bool, call func(context.Context, HostCall) ([]byte, error)) HostFunction {
	return HostFunction{Namespace: "example:text", Name: "upper", Status: status, Call: call}
}

func TestHostFunctions(t *testing.T) {
	var got HostCall
	shout := func(_ context.Context, c HostCall) ([]byte, error) { got = c; return bytes.ToUpper(c.Input), nil }
	fails := func(context.Context, HostCall) ([]byte, error) { return nil, errors.New("no voice") }
	for what, tt := range map[string]struct {
		f    HostFunction
		want string
	}{
		"status":            {upper(true, shout), `continue "HI"`},
		"plain":             {upper(false, shout), `continue "HI"`},
		"error with status": {upper(true, fails), "final no voice"},
		"error traps":       {upper(false, fails), "error: host_call in astrid_hook_trigger: upper: no voice"},
		"panic traps":       {upper(true, func(context.Context, HostCall) ([]byte, error) { panic("a bug") }), "error: "},
	} {
		t.Run(what, func(t *testing.T) {
			h := newHost(t, Config{HostFunctions: []HostFunction{tt.f}})
			i := mustInstantiate(t, h, fixture(t, "embedder"), &world{name: "loud", caller: &Caller{SourceID: "someone"}})
			text := ask(t, i, "ask", `"hi"`)
			if !strings.HasPrefix(text, tt.want) {
				t.Errorf("got %s, want %s", text, tt.want)
			}
		})
	}
	if got.Capsule != "loud" || got.Caller == nil || got.Caller.SourceID != "someone" || string(got.Input) != `"hi"` {
		t.Errorf("it was called with %+v", got)
	}
}

// A function that is not offered, or with another type, is refused when the module is
// loaded, as any other import that the host does not have.
func TestHostFunctionsThatAreMissing(t *testing.T) {
	for what, f := range map[string][]HostFunction{
		"none":          nil,
		"another name":  {{Namespace: "example:text", Name: "lower", Call: upper(false, nil).Call}},
		"another space": {{Namespace: "example:sound", Name: "upper", Call: upper(false, nil).Call}},
	} {
		for n := range f {
			f[n].Call = func(context.Context, HostCall) ([]byte, error) { return nil, nil }
		}
		_, err := instantiate(t, newHost(t, Config{HostFunctions: f}), fixture(t, "embedder"), &world{})
		if err == nil || !strings.Contains(err.Error(), `it imports "upper" from "example:text", which this host does not have`) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestHostFunctionProblems(t *testing.T) {
	call := func(context.Context, HostCall) ([]byte, error) { return nil, nil }
	for _, space := range []string{"extism:host/user", "extism:host/env", "extism:mine", "shim", "wasi_snapshot_preview1", "wasi:http", "astrid", "host", "astrid:actors/tick"} {
		if len(HostFunctionProblems([]HostFunction{{Namespace: space, Name: "f", Call: call}})) != 1 {
			t.Errorf("the name space %q is accepted", space)
		}
	}
	problems := HostFunctionProblems([]HostFunction{
		{Namespace: "a", Name: "f", Call: call}, {Namespace: "a", Name: "f", Call: call},
		{Name: "f", Call: call}, {Namespace: "a", Call: call}, {Namespace: "a", Name: "g"},
	})
	if len(problems) != 4 {
		t.Errorf("%d problems: %v", len(problems), problems)
	}
	if _, err := New(t.Context(), Config{HostFunctions: []HostFunction{{}}}); err == nil {
		t.Error("a host was made with a function without a name")
	}
}

// The context of a function is that of the guest's call.
func TestHostFunctionsEndWithTheirCall(t *testing.T) {
	h := newHost(t, Config{HostFunctions: []HostFunction{upper(true, func(ctx context.Context, _ HostCall) ([]byte, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})}})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := mustInstantiate(t, h, fixture(t, "embedder"), &world{}).Invoke(ctx, "ask", []byte(`"hi"`))
	if failure, ok := errors.AsType[*Failure](err); !ok || failure.Kind != KindTimeout {
		t.Errorf("err = %v", err)
	}
}
