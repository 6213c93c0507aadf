package supervisortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// Manifest returns the text of a capsule's Capsule.toml, with one interceptor for each
// topic pattern, whose action is `act`. More tables may be appended to it:
//
//	c := supervisortest.Func("greeter", "hello.*", greet)
//	c.Manifest += "[supervision]\nbudget = 1\n"
func Manifest(id string, patterns ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[package]\nname = %q\nversion = \"1.0.0\"\n[[component]]\nid = \"main\"\nfile = \"module.wasm\"\n", id)
	for _, p := range patterns {
		fmt.Fprintf(&b, "[[interceptor]]\nevent = %q\naction = \"act\"\n", p)
	}
	return b.String()
}

// Module returns a capsule with a WebAssembly module's bytes, which is invoked for every
// topic that matches pattern.
func Module(id, pattern string, wasm []byte) supervisor.Capsule {
	return supervisor.Capsule{Manifest: Manifest(id, pattern), Module: wasm}
}

// Func returns a capsule whose guest is a Go function, which is invoked for every topic
// that matches pattern. An ordinary error of f is reported by the guest, and its
// instance survives; a *capsulehost.Failure, a panic, or an error after ctx has ended
// kills the instance. A function that ignores ctx can't be interrupted; a WebAssembly
// guest can.
func Func(id, pattern string, f func(ctx context.Context, c *Call) (capsulehost.Result, error)) supervisor.Capsule {
	return supervisor.Capsule{Manifest: Manifest(id, pattern), Load: func(_ context.Context, s capsulehost.HostAPI) (supervisor.Guest, error) {
		return &goGuest{call: Call{HostAPI: s, Vars: map[string]any{}}, act: f}, nil
	}}
}

// Loop returns a run-loop capsule whose `run` is a Go function. It is ready when f has
// called SignalReady, and should return when ctx ends. Errors of f have the same meaning
// as for Func; nil is a clean end.
func Loop(id string, f func(ctx context.Context, c *Call) error) supervisor.Capsule {
	return supervisor.Capsule{Manifest: Manifest(id), Load: func(_ context.Context, s capsulehost.HostAPI) (supervisor.Guest, error) {
		return &goGuest{call: Call{HostAPI: s, Vars: map[string]any{}}, loop: f}, nil
	}}
}

// Call is one call of a guest written in Go, or its run loop. It is valid until the
// function returns.
type Call struct {
	// HostAPI gives the guest its configuration, its caller, the time, and the other
	// capsules.
	capsulehost.HostAPI
	// Action is the interceptor's action; Payload is its argument, compact JSON.
	Action  string
	Payload []byte
	// Vars belong to the instance: they last from call to call, and are lost when it
	// dies.
	Vars map[string]any
}

// Trigger invokes all other capsules that subscribe to the topic, as astrid_trigger_hook
// does, and returns their values. If that host call would trap a WebAssembly guest,
// Trigger ends this call and does not return.
func (c *Call) Trigger(ctx context.Context, topic string, payload any) []json.RawMessage {
	text, err := json.Marshal(payload)
	if err != nil {
		panic(fmt.Sprintf("supervisortest: Trigger(%q): the payload: %v", topic, err))
	}
	values, err := c.Services().Peers.TriggerHook(ctx, topic, text)
	if err != nil {
		panic(trapped{err})
	}
	return values
}

// JSON returns the result Continue with v as JSON.
func JSON(v any) (capsulehost.Result, error) {
	data, err := json.Marshal(v)
	return capsulehost.Result{Data: data}, err
}

// goGuest is an instance of a capsule written in Go.
type goGuest struct {
	call Call
	act  func(context.Context, *Call) (capsulehost.Result, error)
	loop func(context.Context, *Call) error
}

func (g *goGuest) Invoke(ctx context.Context, action string, payload []byte) (capsulehost.Result, error) {
	return asGuest(ctx, capsulehost.ExportInterceptor, func() (capsulehost.Result, error) {
		call := g.call
		call.Action, call.Payload = action, payload
		return g.act(ctx, &call)
	})
}

func (g *goGuest) Run(ctx context.Context) error {
	_, err := asGuest(ctx, capsulehost.ExportRun, func() (struct{}, error) { return struct{}{}, g.loop(ctx, &g.call) })
	return err
}

func (g *goGuest) RunLoop() bool             { return g.loop != nil }
func (*goGuest) MemoryBytes() uint64         { return 0 }
func (*goGuest) Close(context.Context) error { return nil }

// trapped is the panic by which a host call ends a guest written in Go.
type trapped struct{ err error }

// asGuest runs a function as if it were a guest's export: a panic or an exit is returned
// as the failure of a guest.
func asGuest[T any](ctx context.Context, export string, f func() (T, error)) (result T, err error) {
	defer func() {
		switch reason := recover().(type) {
		case nil:
		case trapped:
			err = failure(ctx, capsulehost.KindHostCall, export, reason.err)
		default:
			err = &capsulehost.Failure{Kind: capsulehost.KindTrap, Export: export, Message: fmt.Sprintf("panic: %v", reason)}
		}
	}()
	result, err = f()
	switch {
	case err == nil || isFailure(err):
		return result, err
	case ctx.Err() != nil:
		return result, failure(ctx, capsulehost.KindTrap, export, err)
	default:
		return result, &capsulehost.GuestError{Export: export, Code: 1, Text: err.Error()}
	}
}

// failure returns the death of a guest by err, or by the end of its context.
func failure(ctx context.Context, kind capsulehost.Kind, export string, err error) error {
	if isFailure(err) {
		return err
	}
	message := err.Error()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		kind, err = capsulehost.KindTimeout, context.Cause(ctx)
		message = "out of time: " + err.Error()
	case ctx.Err() != nil:
		kind, err = capsulehost.KindCancelled, context.Cause(ctx)
		message = "interrupted: " + err.Error()
	}
	return &died{&capsulehost.Failure{Kind: kind, Export: export, Message: message}, err}
}

// isFailure reports whether an error means that the instance is lost.
func isFailure(err error) bool {
	_, lost := errors.AsType[*capsulehost.Failure](err)
	return lost
}

// died is a Failure with its cause.
type died struct {
	failure *capsulehost.Failure
	cause   error
}

func (d *died) Error() string   { return d.failure.Error() }
func (d *died) Unwrap() []error { return []error{d.failure, d.cause} }
