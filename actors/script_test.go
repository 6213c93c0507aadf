package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// action is what a scripted guest does when its interceptor is invoked.
type action func(ctx context.Context, s *script, payload string) (capsulehost.Result, error)

// script is a Guest in Go: what it does is said by its test.
type script struct {
	capsulehost.HostAPI
	generation int
	act        action
	loop       func(ctx context.Context, s *script) error
	closed     func()
}

func (s *script) Invoke(ctx context.Context, _ string, payload []byte) (capsulehost.Result, error) {
	return s.act(ctx, s, string(payload))
}
func (s *script) Run(ctx context.Context) error { return s.loop(ctx, s) }
func (s *script) RunLoop() bool                 { return s.loop != nil }
func (s *script) MemoryBytes() uint64           { return 1 << 16 }
func (s *script) Close(context.Context) error   { s.closed(); return nil }

// trigger is astrid_trigger_hook: the array of answers.
func (s *script) trigger(ctx context.Context, topic string) (string, error) {
	values, err := s.Services().Peers.TriggerHook(ctx, topic, []byte("null"))
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return "[" + strings.Join(texts, ",") + "]", err
}

// says is an action that answers Continue with the same JSON each time.
func says(json string) action {
	return func(context.Context, *script, string) (capsulehost.Result, error) {
		return capsulehost.Result{Data: []byte(json)}, nil
	}
}

// traps is an action that kills the guest.
func traps(context.Context, *script, string) (capsulehost.Result, error) {
	return capsulehost.Result{}, trap
}

var trap = &capsulehost.Failure{Kind: capsulehost.KindTrap, Export: capsulehost.ExportInterceptor, Message: "unreachable"}

// hangs is an action that goes on until it is interrupted, as a guest does.
func hangs(ctx context.Context, _ *script, _ string) (capsulehost.Result, error) {
	<-ctx.Done()
	return capsulehost.Result{}, interruption(ctx)
}

// interruption is how a guest ends that is interrupted.
func interruption(ctx context.Context) error {
	kind := capsulehost.KindCancelled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = capsulehost.KindTimeout
	}
	return &capsulehost.Failure{Kind: kind, Export: capsulehost.ExportInterceptor, Message: context.Cause(ctx).Error()}
}

// asks is an action that answers with what a nested trigger brings.
func asks(topic string) action {
	return func(ctx context.Context, s *script, _ string) (capsulehost.Result, error) {
		answers, err := s.trigger(ctx, topic)
		if err != nil {
			return capsulehost.Result{}, interruption(ctx)
		}
		return capsulehost.Result{Data: []byte(answers)}, nil
	}
}

// wants are interceptors for topics, of equal priority.
func wants(topics ...string) []messages.Interceptor {
	out := make([]messages.Interceptor, len(topics))
	for i, topic := range topics {
		out[i] = messages.Interceptor{Event: topic, Action: "on-" + topic, Priority: 100}
	}
	return out
}

// loads makes a capsule's Load call f first, with the number of the load.
func loads(f func(ctx context.Context, s capsulehost.HostAPI, n int) error) func(*CapsuleConfig) {
	return func(c *CapsuleConfig) {
		load, n := c.Version.Load, 0
		c.Version.Load = func(ctx context.Context, s capsulehost.HostAPI) (Guest, error) {
			n++
			if err := f(ctx, s, n); err != nil {
				return nil, err
			}
			return load(ctx, s)
		}
	}
}

// runs makes a capsule a run loop.
func runs(loop func(ctx context.Context, s *script) error) func(*CapsuleConfig) {
	return func(c *CapsuleConfig) {
		load := c.Version.Load
		c.Version.Load = func(ctx context.Context, s capsulehost.HostAPI) (Guest, error) {
			guest, err := load(ctx, s)
			guest.(*script).loop = loop
			return guest, err
		}
	}
}

// show writes legs as lines: "c/1 on-c continue 1", or with the reason in brackets.
func show(legs []messages.Leg) []string {
	var out []string
	for _, l := range legs {
		line := fmt.Sprintf("%s/%d %s %s", l.Capsule, l.Generation, l.Action, l.Outcome.String())
		if l.Reason != "" {
			line += " (" + l.Reason + ")"
		}
		if len(l.Value) > 0 {
			line += " " + string(l.Value)
		}
		out = append(out, line)
	}
	return out
}

// expect compares lines.
func expect(tb testing.TB, what string, got []string, want ...string) {
	tb.Helper()
	if !slices.Equal(got, want) {
		tb.Errorf("%s: -want +got\n%s", what, cmp.Diff(want, got))
	}
}

// inlineScript is a script whose calls may run on the goroutine that asks.
type inlineScript struct{ *script }

func (inlineScript) Inline() {}

// inline makes a capsule's guest Inline.
func inline(c *CapsuleConfig) {
	load := c.Version.Load
	c.Version.Load = func(ctx context.Context, api capsulehost.HostAPI) (Guest, error) {
		guest, err := load(ctx, api)
		if err != nil {
			return nil, err
		}
		return inlineScript{guest.(*script)}, nil
	}
}

// hangingLoad is a load that goes on until it is interrupted.
func hangingLoad(ctx context.Context, _ capsulehost.HostAPI, _ int) error {
	<-ctx.Done()
	return interruption(ctx)
}

// badModule is a load that fails until the capsule's files change.
func badModule(context.Context, capsulehost.HostAPI, int) error {
	return &capsulehost.Failure{Kind: capsulehost.KindBadModule, Message: "no module"}
}
