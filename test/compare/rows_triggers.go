package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

const (
	guestsAlone = "the guests alone"
	amongTen    = "among 10"
)

// trigger invokes n capsules whose interceptor is trivial. The cost of actors is its
// time minus the guests' own time, measured by calling them one after the other without
// anything around them.
func (b *bench) trigger(n int, targets ...judge) row {
	return b.race(fmt.Sprintf("trigger to %s", count(n)), func(ctx context.Context, c *closers) ([]contender, error) {
		return b.askers(ctx, c, "fixed", n, json.RawMessage("1"))
	}, targets...)
}

// work invokes n capsules whose interceptor works for 200 µs, so that several cores
// help.
func (b *bench) work(n int, targets ...judge) row {
	return b.race(fmt.Sprintf("trigger to %s that work 200 µs", count(n)), func(ctx context.Context, c *closers) ([]contender, error) {
		turns, err := b.turnsFor(ctx, 200*time.Microsecond)
		if err != nil {
			return nil, err
		}
		return b.askers(ctx, c, "work", n, fmt.Append(nil, turns))
	}, targets...)
}

// turnsFor returns how many iterations of its loop the guest `work` needs to work that
// long.
func (b *bench) turnsFor(ctx context.Context, long time.Duration) (turns int, err error) {
	instances, closeAll, err := b.instances(ctx, "work", 1)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, closeAll(ctx)) }()
	stoppable, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	const sample = 100_000
	var took []float64
	for range 20 {
		began := time.Now()
		if _, err := instances[0].Invoke(stoppable, action, fmt.Append(nil, sample)); err != nil {
			return 0, err
		}
		took = append(took, float64(time.Since(began)))
	}
	return int(sample * float64(long) / spreadOf(took).Median), nil
}

// instances creates n instances of a guest on capsulehost.
func (b *bench) instances(ctx context.Context, guest string, n int) ([]*capsulehost.Instance, func(context.Context) error, error) {
	var c closers
	wasm, err := b.guest(guest)
	if err != nil {
		return nil, nil, err
	}
	h, err := newHost(ctx, b.cache(), wasm)
	if err != nil {
		return nil, nil, err
	}
	c.add(h.Close)
	out := make([]*capsulehost.Instance, n)
	for i := range out {
		if out[i], err = h.instantiate(ctx); err != nil {
			return nil, nil, errors.Join(err, c.close(ctx))
		}
		c.add(out[i].Close)
	}
	return out, c.close, nil
}

// askers are all contenders that can invoke n capsules of one guest, ours first.
func (b *bench) askers(ctx context.Context, c *closers, guest string, n int, payload json.RawMessage) ([]contender, error) {
	const topic = "test.ask"
	dir, err := b.capsules(guest, n, func(int) string { return interceptors(topic) })
	if err != nil {
		return nil, err
	}
	s, err := serve(ctx, b.home(), n, dir)
	if err != nil {
		return nil, err
	}
	c.add(func(context.Context) error { return s.stop() })
	out := []contender{{who: us, run: repeat(func(ctx context.Context) error {
		return s.trigger(ctx, topic, payload, n)
	})}}

	// One set each, as the second to call the same instances would find them warm.
	instances, closeAll, err := b.instances(ctx, guest, 3*n)
	if err != nil {
		return nil, err
	}
	c.add(closeAll)
	subscribe := func(instances []*capsulehost.Instance) (all subscribers) {
		for _, i := range instances {
			all = append(all, subscriber{topic, &sync.Mutex{}, invoke(i)})
		}
		return all
	}
	byHand, atOnce, bareGuests := subscribe(instances[:n]), newCrew(subscribe(instances[n:2*n])), instances[2*n:]
	c.add(atOnce.close)
	out = append(out, contender{who: hand, run: repeat(func(ctx context.Context) error {
		return byHand.trigger(ctx, topic, payload, n)
	})})
	out = append(out, contender{who: crews, run: repeat(func(ctx context.Context) error {
		return atOnce.trigger(ctx, topic, payload, n)
	})})
	out = append(out, contender{who: guestsAlone, run: repeat(func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		for _, i := range bareGuests {
			if r, err := i.Invoke(ctx, action, payload); err != nil || len(r.Data) == 0 {
				return errors.Join(err, errors.New("no answer"))
			}
		}
		return nil
	})})
	if n > 100 {
		return out, nil // the SDK's plugins are large
	}

	wasm, err := b.guest(guest)
	if err != nil {
		return nil, err
	}
	one, err := maker(ctx, c, sdk, b.home(), wasm)
	if err != nil {
		return nil, err
	}
	bySDK := make(subscribers, n)
	for i := range bySDK {
		call, closeIt, err := one(ctx)
		if err != nil {
			return nil, err
		}
		c.add(closeIt)
		bySDK[i] = subscriber{topic, &sync.Mutex{}, call.invoke}
	}
	return append(out, contender{who: sdk, run: repeat(func(ctx context.Context) error {
		return bySDK.trigger(ctx, topic, payload, n)
	})}), nil
}

// nested is one trigger that a guest sends, including the answer of the one capsule that
// it invokes.
func (b *bench) nested(targets ...judge) row {
	return b.race("nested trigger to 1", func(ctx context.Context, c *closers) ([]contender, error) {
		outer, err := b.capsules("nest", 1, func(int) string { return interceptors("test.nest") })
		if err != nil {
			return nil, err
		}
		inner, err := b.capsules("fixed", 1, func(int) string { return interceptors("test.fixed") })
		if err != nil {
			return nil, err
		}
		s, err := serve(ctx, b.home(), 2, outer, inner)
		if err != nil {
			return nil, err
		}
		c.add(func(context.Context) error { return s.stop() })

		instances, closeAll, err := b.instances(ctx, "fixed", 1)
		if err != nil {
			return nil, err
		}
		c.add(closeAll)
		wasm, err := b.guest("nest")
		if err != nil {
			return nil, err
		}
		h, err := newHost(ctx, b.cache(), wasm)
		if err != nil {
			return nil, err
		}
		c.add(h.Close)
		byHand, err := h.module.Instantiate(ctx, newAmong(subscribers{{"test.fixed", &sync.Mutex{}, invoke(instances[0])}}))
		if err != nil {
			return nil, err
		}
		c.add(byHand.Close)
		return []contender{
			{who: us, run: func(ctx context.Context, n int) (time.Duration, error) {
				began := time.Now()
				err := s.trigger(ctx, "test.nest", fmt.Append(nil, n), 1)
				return time.Since(began), err
			}},
			{who: hand, run: func(ctx context.Context, n int) (time.Duration, error) {
				ctx, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				began := time.Now()
				_, err := byHand.Invoke(ctx, action, fmt.Append(nil, n))
				return time.Since(began), err
			}},
		}, nil
	}, targets...)
}

// among is the host API of a guest whose triggers are dispatched by hand.
type among struct {
	alone
	others   subscribers
	services capsulehost.Services
}

func newAmong(others subscribers) *among {
	a := &among{others: others}
	a.services.Peers = a
	return a
}

func (a *among) Services() *capsulehost.Services { return &a.services }

func (a *among) TriggerHook(ctx context.Context, topic string, payload json.RawMessage) ([]json.RawMessage, error) {
	return a.others.ask(ctx, topic, payload)
}

func (a *among) CheckCapability(context.Context, string, string) bool { return false }

// routing invokes 10 capsules among many interceptors, of these and other capsules.
func (b *bench) routing(n int, targets ...judge) row {
	const matching, topic = 10, "test.routing.hit"
	return b.race(fmt.Sprintf("trigger to 10 among %s interceptors", count(n)), func(ctx context.Context, c *closers) ([]contender, error) {
		capsules := max(matching, n/1000)
		events := func(capsule, each int) (out []string) {
			if capsule < matching {
				out = append(out, []string{topic, "test.*.hit", "*.routing.*"}[capsule%3])
			}
			for i := len(out); i < each; i++ {
				out = append(out, []string{
					fmt.Sprintf("test.routing.miss-%d-%d", capsule, i),
					fmt.Sprintf("test.*.miss-%d-%d", capsule, i),
					fmt.Sprintf("area-%d.kind-%d.*", capsule, i),
					fmt.Sprintf("area-%d-%d.*.hit.more", capsule, i),
				}[i%4])
			}
			return out
		}
		system := func(capsules, each int) (*system, error) {
			dir, err := b.capsules("fixed", capsules, func(i int) string { return interceptors(events(i, each)...) })
			if err != nil {
				return nil, err
			}
			s, err := serve(ctx, b.home(), capsules, dir)
			if err == nil {
				c.add(func(context.Context) error { return s.stop() })
			}
			return s, err
		}
		large, err := system(capsules, n/capsules)
		if err != nil {
			return nil, err
		}
		small, err := system(matching, 1)
		if err != nil {
			return nil, err
		}
		instances, closeAll, err := b.instances(ctx, "fixed", capsules)
		if err != nil {
			return nil, err
		}
		c.add(closeAll)
		var byHand subscribers
		for i, instance := range instances {
			mu := &sync.Mutex{}
			for _, event := range events(i, n/capsules) {
				byHand = append(byHand, subscriber{event, mu, invoke(instance)})
			}
		}
		ask := func(s interface {
			trigger(context.Context, string, json.RawMessage, int) error
		}) func(context.Context, int) (time.Duration, error) {
			return repeat(func(ctx context.Context) error { return s.trigger(ctx, topic, json.RawMessage("1"), matching) })
		}
		return []contender{{who: us, run: ask(large)}, {who: amongTen, run: ask(small)}, {who: hand, run: ask(byHand)}}, nil
	}, targets...)
}
