package main

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// call is one call of a guest that returns its input, n bytes of it.
func (b *bench) call(n int, targets ...judge) row {
	input := bytes.Repeat([]byte("astrid"), n/6+1)[:n]
	return b.race("guest call, "+size(n), func(ctx context.Context, c *closers) ([]contender, error) {
		return b.callers(ctx, c, "mirror", func(ctx context.Context, g callable) error {
			output, err := g.call(ctx, "mirror", input)
			if err == nil && !bytes.Equal(output, input) {
				err = fmt.Errorf("the echo of %d bytes is %d bytes, or others", len(input), len(output))
			}
			return err
		})
	}, targets...)
}

// interceptor is one call of an interceptor, with its payload encoded by the ABI, and an
// answer of the guest.
func (b *bench) interceptor(n int, targets ...judge) row {
	payload := bytes.Repeat([]byte("astrid"), n/6+1)[:n]
	return b.race("interceptor call, "+size(n), func(ctx context.Context, c *closers) ([]contender, error) {
		return b.callers(ctx, c, "echo", func(ctx context.Context, g callable) error {
			output, err := g.invoke(ctx, payload)
			if err == nil && !bytes.Equal(output, payload) {
				err = fmt.Errorf("the echo of %d bytes is %d bytes, or others", len(payload), len(output))
			}
			return err
		})
	}, targets...)
}

// caller calls an export with some input, and returns its output.
type caller func(ctx context.Context, export string, input []byte) ([]byte, error)

// invoke calls the interceptors' export by the ABI, and returns the answer without its
// tag.
func (c caller) invoke(ctx context.Context, payload []byte) ([]byte, error) {
	output, err := c(ctx, hook, triggerInput(payload))
	if err != nil || len(output) == 0 {
		return nil, err
	}
	return output[1:], nil
}

// callable is one instance, of any contender.
type callable struct {
	call   caller
	invoke func(ctx context.Context, payload []byte) ([]byte, error)
}

// callers are all contenders that can make a single call, ours first.
func (b *bench) callers(ctx context.Context, c *closers, guest string, once func(context.Context, callable) error) ([]contender, error) {
	wasm, err := b.guest(guest)
	if err != nil {
		return nil, err
	}
	// A call that can be stopped needs a context that can end.
	stoppable, cancel := context.WithTimeout(ctx, time.Hour)
	c.add(func(context.Context) error { cancel(); return nil })

	h, err := newHost(ctx, b.cache(), wasm)
	if err != nil {
		return nil, err
	}
	c.add(h.Close)
	ours, err := h.instantiate(ctx)
	if err != nil {
		return nil, err
	}
	c.add(ours.Close)
	add := func(ctx context.Context, out []contender, who string, g callable) []contender {
		return append(out, contender{who: who, run: repeat(func(context.Context) error { return once(ctx, g) })})
	}
	out := add(stoppable, nil, us, callable{ours.Call, invoke(ours)})

	for _, other := range []struct {
		who string
		ctx context.Context
	}{
		{sdk, ctx}, // creates a context with a deadline for each call by itself
		{deadline, stoppable},
		{floor, ctx},
	} {
		one, err := maker(ctx, c, other.who, b.home(), wasm)
		if err != nil {
			return nil, err
		}
		call, closeIt, err := one(ctx)
		if err != nil {
			return nil, err
		}
		c.add(closeIt)
		out = add(other.ctx, out, other.who, callable{call, call.invoke})
	}
	return out, nil
}
