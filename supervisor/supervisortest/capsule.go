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

// Manifest is the text of a capsule's Capsule.toml, with one interceptor for each
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

// Module is a capsule made of a WebAssembly module's bytes, asked for every topic
// that matches pattern.
func Module(id, pattern string, wasm []byte) supervisor.Capsule {
	return supervisor.Capsule{Manifest: Manifest(id, pattern), Module: wasm}
}

// Func is a capsule whose guest is a Go function, asked for every topic that
// matches pattern. An error of f is the guest's own report, and its instance
// lives on; but a *capsulehost.Failure, a panic, or an error once ctx has ended,
// is its death. A function that does not heed ctx can't be interrupted, as a
// WebAssembly guest can.
func Func(id, pattern string, f func(ctx context.Context, c *Call) (capsulehost.Result, error)) supervisor.Capsule {
	return supervisor.Capsule{Manifest: Manifest(id, pattern), Load: func(_ context.Context, s capsulehost.HostAPI) (supervisor.Guest, error) {
		return &goGuest{call: Call{HostAPI: s, Vars: map[string]any{}}, act: f}, nil
	}}
}

// Loop is a run-loop capsule whose `run` is a Go function. It is ready when f has
// called SignalReady, and should return when ctx ends. What its return means is
// said at Func; nil is a clean end.
func Loop(id string, f func(ctx context.Context, c *Call) error) supervisor.Capsule {
	return supervisor.Capsule{Manifest: Manifest(id), Load: func(_ context.Context, s capsulehost.HostAPI) (supervisor.Guest, error) {
		return &goGuest{call: Call{HostAPI: s, Vars: map[string]any{}}, loop: f}, nil
	}}
}

// Call is one call of a guest written in Go, or its run loop. It is good until
// the function returns.
type Call struct {
	// HostAPI is what a guest may ask of the world: its configuration, its
	// caller, the time, other capsules.
	capsulehost.HostAPI
	// Action is the interceptor's action; Payload is what it was given, compact JSON.
	Action  string
	Payload []byte
	// Vars belong to the instance: they last from call to call, and are lost with it.
	Vars map[string]any
}

// Trigger asks all other capsules that want the topic, as astrid_trigger_hook
// does, and returns their values. Where that call would trap its guest, it ends
// this one: Trigger then does not return.
func (c *Call) Trigger(ctx context.Context, topic string, payload any) []json.RawMessage {
	text, err := json.Marshal(payload)
	if err != nil {
		panic(fmt.Sprintf("supervisortest: Trigger(%q): the payload: %v", topic, err))
	}
	values, err := c.Peers().TriggerHook(ctx, topic, text)
	if err != nil {
		panic(trapped{err})
	}
	return values
}

// JSON is the answer Continue with v as JSON.
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

// trapped is how a host call ends a guest written in Go: by a panic.
type trapped struct{ err error }

// asGuest runs a function in the place of a guest's export: what ends it comes
// back as what would have ended a guest.
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

// failure is the death of a guest by err, or by the end of its context.
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

// isFailure says whether an error means that the instance is lost.
func isFailure(err error) bool {
	_, lost := errors.AsType[*capsulehost.Failure](err)
	return lost
}

// died is a Failure with what is behind it.
type died struct {
	failure *capsulehost.Failure
	cause   error
}

func (d *died) Error() string   { return d.failure.Error() }
func (d *died) Unwrap() []error { return []error{d.failure, d.cause} }
