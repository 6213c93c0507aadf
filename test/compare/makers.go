package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// closer frees an instance.
type closer func(context.Context) error

// makeOne creates an instance, of any contender.
type makeOne func(context.Context) (caller, closer, error)

// maker returns a function that creates instances of a guest, one at a time, without
// actors. It adds their shared resources to c.
func maker(ctx context.Context, c *closers, who, home string, wasm []byte) (makeOne, error) {
	switch who {
	case hand:
		h, err := newHost(ctx, filepath.Join(home, "cache"), wasm)
		if err != nil {
			return nil, err
		}
		c.add(h.Close)
		return func(ctx context.Context) (caller, closer, error) {
			i, err := h.instantiate(ctx)
			if err != nil {
				return nil, nil, err
			}
			return i.Call, i.Close, nil
		}, nil
	case sdk:
		p, err := newPlugins(ctx, wasm)
		if err != nil {
			return nil, err
		}
		c.add(p.Close)
		return func(ctx context.Context) (caller, closer, error) {
			i, err := p.instantiate(ctx)
			if err != nil {
				return nil, nil, err
			}
			return i.call, i.Close, nil
		}, nil
	case floor, deadline:
		shared, err := os.ReadFile(kernelAt)
		if err != nil {
			return nil, err
		}
		h, err := newBareHost(ctx, shared, wasm, who == deadline)
		if err != nil {
			return nil, err
		}
		c.add(h.Close)
		return func(ctx context.Context) (caller, closer, error) {
			i, err := h.instantiate(ctx)
			if err != nil {
				return nil, nil, err
			}
			return i.call, i.Close, nil
		}, nil
	default:
		return nil, fmt.Errorf("nobody is called %q", who)
	}
}
