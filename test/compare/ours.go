package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

const us = "astrid-actors"

// alone is the host API of a guest without peers.
type alone struct{}

func (alone) Log(capsulehost.LogLevel, string) {}
func (alone) Config(string) string             { return "" }
func (alone) Caller() *capsulehost.Caller      { return nil }
func (alone) Name() string                     { return "" }
func (alone) SignalReady()                     {}
func (alone) Now() time.Time                   { return time.Now() }
func (alone) Services() *capsulehost.Services  { return nil }

// host is a capsulehost.Host with one module, for single calls.
type host struct {
	*capsulehost.Host
	module *capsulehost.Module
}

func newHost(ctx context.Context, cacheDir string, wasm []byte) (*host, error) {
	h, err := capsulehost.New(ctx, capsulehost.Config{CacheDir: cacheDir})
	if err != nil {
		return nil, err
	}
	m, err := h.Compile(ctx, wasm)
	if err != nil {
		return nil, errors.Join(err, h.Close(ctx))
	}
	return &host{h, m}, nil
}

func (h *host) instantiate(ctx context.Context) (*capsulehost.Instance, error) {
	return h.module.Instantiate(ctx, alone{})
}

// system is a Supervisor that serves.
type system struct {
	*supervisor.Supervisor
	cancel context.CancelFunc
	served chan error
}

// serve starts the n capsules in dirs and waits until all have started.
func serve(ctx context.Context, home string, n int, dirs ...string) (*system, error) {
	return serveWith(ctx, n, supervisor.Config{Home: home, CapsuleDirs: dirs})
}

// serveWith is serve with a configuration. Several may serve at once: each has a home of
// its own in cfg.Home, and they share a cache, so that it is warm.
func serveWith(ctx context.Context, n int, cfg supervisor.Config) (*system, error) {
	cfg.CacheDir = filepath.Join(cfg.Home, "cache")
	if err := os.MkdirAll(cfg.CacheDir, 0o700); err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp(cfg.Home, "system-")
	if err != nil {
		return nil, err
	}
	cfg.Home, cfg.AllowUnverified = home, true
	// Each crash counts as the first, however many there are: restarts are immediate.
	cfg.Restart = supervisor.RestartPolicy{Window: 1}
	sup, err := supervisor.New(cfg)
	if err != nil {
		return nil, err
	}
	serving, cancel := context.WithCancel(ctx)
	s := &system{Supervisor: sup, cancel: cancel, served: make(chan error, 1)}
	go func() { s.served <- sup.Serve(serving) }()
	if err := sup.AwaitStarted(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	found := sup.Snapshot().Capsules
	if len(found) != n {
		return nil, errors.Join(fmt.Errorf("start %d capsules: %d were found, or are fit to be", n, len(found)), s.stop())
	}
	for _, c := range found {
		if c.State != messages.StateReady {
			return nil, errors.Join(fmt.Errorf("start capsule %q: %s: %s", c.ID, c.State.String(), c.Reason), s.stop())
		}
	}
	return s, nil
}

// stop stops the system, and returns when it has ended.
func (s *system) stop() error {
	s.cancel()
	return <-s.served
}

// trigger invokes n capsules, and expects answers from all of them.
func (s *system) trigger(ctx context.Context, topic string, payload json.RawMessage, n int) error {
	reply, err := s.Trigger(ctx, supervisor.TriggerRequest{Topic: topic, Payload: payload})
	if err != nil {
		return err
	}
	if len(reply.Legs) != n {
		return fmt.Errorf("trigger %q: %d legs, want %d", topic, len(reply.Legs), n)
	}
	for _, leg := range reply.Legs {
		if leg.Outcome != messages.OutcomeContinue {
			return fmt.Errorf("trigger %q: capsule %q: %s: %s", topic, leg.Capsule, leg.Outcome.String(), leg.Reason)
		}
	}
	return nil
}

// crash triggers a topic whose only capsule crashes on the payload.
func (s *system) crash(ctx context.Context, topic string, payload json.RawMessage) error {
	reply, err := s.Trigger(ctx, supervisor.TriggerRequest{Topic: topic, Payload: payload})
	if err != nil {
		return err
	}
	if legs := reply.Legs; len(legs) != 1 || legs[0].Outcome != messages.OutcomeCrashed {
		return fmt.Errorf("crash by %q: %v", topic, legs)
	}
	return nil
}
