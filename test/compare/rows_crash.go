package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// crash measures from the call that kills a capsule to the next successful answer: a
// trap, a new instance, a call. With actors a supervisor creates the new instance; by
// hand, and with the other contenders, the caller does.
func (b *bench) crash(guest, what string, targets ...judge) row {
	const topic = "test.crash"
	die, live := json.RawMessage(`"x"`), json.RawMessage("1")
	return b.race("crash to serving again, "+what, func(ctx context.Context, c *closers) ([]contender, error) {
		dir, err := b.capsules(guest, 1, func(int) string { return interceptors(topic) })
		if err != nil {
			return nil, err
		}
		s, err := serve(ctx, b.home(), 1, dir)
		if err != nil {
			return nil, err
		}
		c.add(func(context.Context) error { return s.stop() })
		out := []contender{recovery(us,
			func(ctx context.Context) error { return s.crash(ctx, topic, die) },
			func(ctx context.Context) error { return s.trigger(ctx, topic, live, 1) },
		)}

		wasm, err := b.guest(guest)
		if err != nil {
			return nil, err
		}
		for _, who := range []string{hand, sdk, floor} {
			one, err := maker(ctx, c, who, b.home(), wasm)
			if err != nil {
				return nil, err
			}
			out = append(out, replaced(c, who, one))
		}
		return out, nil
	}, targets...)
}

// replaced is a recovery in which the caller itself replaces a dead instance.
func replaced(c *closers, who string, one makeOne) contender {
	die, live := triggerInput([]byte(`"x"`)), triggerInput([]byte("1"))
	var call caller
	closeIt := closer(func(context.Context) error { return nil })
	c.add(func(ctx context.Context) error { return closeIt(ctx) })
	serve := func(ctx context.Context) (err error) {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := closeIt(ctx); err != nil {
			return err
		}
		if call, closeIt, err = one(ctx); err != nil {
			return err
		}
		output, err := call(ctx, hook, live)
		if err == nil && len(output) == 0 {
			err = errors.New("no answer")
		}
		return err
	}
	return recovery(who, func(ctx context.Context) error {
		if call == nil { // the very first one, which is not measured
			if err := serve(ctx); err != nil {
				return err
			}
		}
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if _, err := call(ctx, hook, die); err == nil {
			return errors.New("the guest did not die")
		}
		return nil
	}, serve)
}

// recovery measures crash and serve, one after the other.
func recovery(who string, crash, serve func(context.Context) error) contender {
	var each []float64
	return contender{who: who, each: &each, run: func(ctx context.Context, n int) (time.Duration, error) {
		var total time.Duration
		for range n {
			began := time.Now()
			if err := crash(ctx); err != nil {
				return 0, err
			}
			if err := serve(ctx); err != nil {
				return 0, err
			}
			took := time.Since(began)
			each = append(each, float64(took))
			total += took
		}
		return total, nil
	}}
}
