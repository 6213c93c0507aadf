package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

const (
	natsCore  = "NATS in-process, core"
	goChannel = "a Go channel"
	tenAsked  = "ten triggers to 1"
)

// window is how many messages are under way: fewer than any of the contenders holds.
const window = 512

// publish sends 128 bytes to one subscriber of the same process, which counts them.
func (b *bench) publish(targets ...judge) row {
	return b.race("publish 128 B to 1", func(ctx context.Context, c *closers) ([]contender, error) {
		payload := json.RawMessage(`"` + strings.Repeat("x", 126) + `"`)
		s, err := serve(ctx, b.home(), 0, b.dir)
		if err != nil {
			return nil, err
		}
		c.add(func(context.Context) error { return s.stop() })
		var ours, theirs, channels tally
		reading, stop := context.WithCancel(ctx)
		messages := s.Subscribe(reading, "bench")
		read := make(chan struct{})
		go func() {
			defer close(read)
			for _, err := range messages {
				if err == nil {
					ours.count()
				}
			}
		}()
		c.add(func(context.Context) error { stop(); <-read; return nil })

		in, out, err := natsConnections(c)
		if err != nil {
			return nil, err
		}
		if _, err := in.Subscribe("bench", func(*nats.Msg) { theirs.count() }); err != nil {
			return nil, err
		}
		if err := in.Flush(); err != nil {
			return nil, err
		}

		pipe := make(chan []byte, window)
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			for range pipe {
				channels.count()
			}
		}()
		c.add(func(context.Context) error { close(pipe); <-drained; return nil })
		return []contender{
			{who: us, run: ours.send(func(ctx context.Context) error { return s.Publish(ctx, "bench", payload, nil) })},
			{who: natsCore, run: theirs.send(func(context.Context) error { return out.Publish("bench", payload) })},
			{who: goChannel, run: channels.send(func(context.Context) error {
				pipe <- append([]byte(nil), payload...)
				return nil
			})},
		}, nil
	}, targets...)
}

// natsConnections starts an embedded server without a listener, and connects to it twice.
func natsConnections(c *closers) (in, out *nats.Conn, err error) {
	s, err := server.NewServer(&server.Options{DontListen: true, NoLog: true, NoSigs: true})
	if err != nil {
		return nil, nil, err
	}
	s.Start()
	c.add(func(context.Context) error { s.Shutdown(); s.WaitForShutdown(); return nil })
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, nil, errors.New("the NATS server is not ready after 10 s")
	}
	var both [2]*nats.Conn
	for i := range both {
		if both[i], err = nats.Connect("", nats.InProcessServer(s)); err != nil {
			return nil, nil, err
		}
		c.add(func(context.Context) error { both[i].Close(); return nil })
	}
	return both[0], both[1], nil
}

// tally waits until a subscriber has counted what was sent to it.
type tally struct {
	received int64 // the subscriber's
	sent     atomic.Int64
	all      chan struct{}
}

// count counts one message.
func (t *tally) count() {
	if t.received++; t.received == t.sent.Load() {
		t.all <- struct{}{}
	}
}

// send sends n messages, one window after another.
func (t *tally) send(one func(context.Context) error) func(context.Context, int) (time.Duration, error) {
	t.all = make(chan struct{})
	return func(ctx context.Context, n int) (time.Duration, error) {
		began := time.Now()
		for n > 0 {
			next := min(n, window)
			t.sent.Add(int64(next))
			for range next {
				if err := one(ctx); err != nil {
					return 0, err
				}
			}
			select {
			case <-t.all:
			case <-time.After(10 * time.Second):
				return 0, fmt.Errorf("messages were lost: %d were sent", t.sent.Load())
			}
			n -= next
		}
		return time.Since(began), nil
	}
}

// chain publishes a message that ten interceptors receive, one after another, and waits
// for the last one; beside it, ten triggers of one interceptor each.
func (b *bench) chain(targets ...judge) row {
	return b.race("publish through a chain of 10", func(ctx context.Context, c *closers) ([]contender, error) {
		dir, err := b.capsules("fixed", 10, func(n int) string {
			return interceptors("chain", fmt.Sprintf("single.n%d", n))
		})
		if err != nil {
			return nil, err
		}
		last := make(chan struct{}, 1)
		s, err := serveWith(ctx, 10, supervisor.Config{Home: b.home(), CapsuleDirs: []string{dir}, WrapLoad: signals("fixed-00009", last)})
		if err != nil {
			return nil, err
		}
		c.add(func(context.Context) error { return s.stop() })
		return []contender{
			{who: us, run: repeat(func(ctx context.Context) error {
				if err := s.Publish(ctx, "chain", json.RawMessage("1"), nil); err != nil {
					return err
				}
				select {
				case <-last:
					return nil
				case <-time.After(10 * time.Second):
					return errors.New("the chain has not come to its end")
				}
			})},
			{who: tenAsked, run: repeat(func(ctx context.Context) error {
				for n := range 10 {
					if n == 9 {
						n = 8 // the last capsule signals
					}
					if err := s.trigger(ctx, fmt.Sprintf("single.n%d", n), json.RawMessage("1"), 1); err != nil {
						return err
					}
				}
				return nil
			})},
		}, nil
	}, targets...)
}

// signals wraps the guest of one capsule, which then signals the end of each of its calls.
func signals(capsule string, called chan<- struct{}) func(string, supervisor.LoadFunc) supervisor.LoadFunc {
	return func(id string, load supervisor.LoadFunc) supervisor.LoadFunc {
		if id != capsule {
			return load
		}
		return func(ctx context.Context, api capsulehost.HostAPI) (actors.Guest, error) {
			guest, err := load(ctx, api)
			if err != nil {
				return nil, err
			}
			return &signalling{guest, called}, nil
		}
	}
}

// signalling is a guest that signals.
type signalling struct {
	actors.Guest
	called chan<- struct{}
}

// Unwrap returns the guest itself, for its optional methods.
func (s *signalling) Unwrap() actors.Guest { return s.Guest }

// Invoke calls the guest, and signals.
func (s *signalling) Invoke(ctx context.Context, action string, payload []byte) (capsulehost.Result, error) {
	defer func() { s.called <- struct{}{} }()
	return s.Guest.Invoke(ctx, action, payload)
}
