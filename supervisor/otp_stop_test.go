package supervisor_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// The duration of a stop, and the outcome of the calls that run.
func stopCases() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"sup_stop_infinity": func(t *testing.T) {
			took, leg := stopDuring(t, `stop_timeout = "10h"`, supervisortest.Delay(3*time.Hour))
			diff(t, 3*time.Hour, took)
			diff(t, `slow continue "slow"`, leg)
		},
		"sup_stop_timeout": func(t *testing.T) {
			took, leg := stopDuring(t, `stop_timeout = "1s"`, supervisortest.Delay(3*time.Hour))
			diff(t, time.Second, took)
			diff(t, "slow crashed", leg)
		},
		"sup_stop_brutal_kill": func(t *testing.T) {
			took, leg := stopDuring(t, `stop_timeout = "1ns"`, supervisortest.Delay(3*time.Hour))
			diff(t, time.Nanosecond, took)
			diff(t, "slow crashed", leg)
		},
		// The capsule dies of another cause while it is being stopped.
		"sup_stop_non_shutdown_exit_dynamic": func(t *testing.T) {
			s := startAll(t, worker("slow"))
			s.Inject("slow", supervisortest.Fault{Do: func(context.Context, supervisortest.Visit) error {
				<-time.After(time.Second)
				return &capsulehost.Failure{Kind: capsulehost.KindTrap, Message: "by itself"}
			}})
			answer := s.Begin("ask.slow", "")
			synctest.Wait()
			wantError(t, "stop", s.Stop(t.Context(), "slow"), nil)
			diff(t, []string{"slow crashed"}, supervisortest.Legs(answer()))
			diff(t, []string{
				"loading 1", "ready 1", "stopping: an operator's command", "crashed 1 in call: trap", "stopped: stopped by an operator",
			}, s.Timeline("slow"))
		},
		// The capsule is told to stop and dies at the same time.
		"sup_stop_race": func(t *testing.T) {
			for _, end := range []string{"command", "shutdown"} {
				for range 20 {
					s := supervisortest.Start(t, supervisor.Config{}, worker("a"), worker("b"), looper("c"))
					done := make(chan struct{})
					go func() {
						defer close(done)
						for _, id := range []string{"a", "b", "c"} {
							_ = s.Kill(context.Background(), id) // it may be refused
						}
					}()
					if end == "command" {
						for _, id := range []string{"c", "a", "b"} {
							wantError(t, "stop", s.Stop(t.Context(), id), nil)
						}
						diff(t, map[string]int{"stopped": 3}, states(s))
					}
					wantError(t, "close", s.Close(), nil)
					<-done
					diff(t, map[string]int{"stopped": 3}, states(s))
				}
			}
		},
		// Capsules start in the order of their imports; all stop at the same time.
		"order_of_children": func(t *testing.T) {
			var chain []supervisor.Capsule
			for n := range 5 {
				c := worker(fmt.Sprintf("c%d", 9-n), `stop_timeout = "1m"`)
				c.Manifest += fmt.Sprintf("[exports.chain]\nlink-%d = \"1.0.0\"\n", n)
				if n > 0 {
					c.Manifest += fmt.Sprintf("[imports.chain]\nlink-%d = \"^1\"\n", n-1)
				}
				chain = append([]supervisor.Capsule{c}, chain...)
			}
			s := startAll(t, chain...)
			var loading []string
			last := s.Snapshot().Sequence
			for e := range s.Events(t.Context(), 0) {
				if e.Name() == "capsule_loading" {
					loading = append(loading, strings.TrimPrefix(e.Path, "capsules/"))
				}
				if e.Sequence == last {
					break
				}
			}
			diff(t, []string{"c9", "c8", "c7", "c6", "c5"}, loading)
			for _, id := range loading {
				s.Inject(id, supervisortest.Fault{Do: supervisortest.Delay(time.Second)})
				s.Begin("ask."+id, "")
			}
			synctest.Wait()
			began := time.Now()
			wantError(t, "close", s.Close(), nil)
			diff(t, time.Second, time.Since(began))
		},
		"scale_start_stop_many_children": func(t *testing.T) {
			const n = 1000
			var many []supervisor.Capsule
			for i := range n {
				many = append(many, worker(fmt.Sprintf("c%d", i)))
			}
			s := startAll(t, many...)
			diff(t, map[string]int{"ready": n}, states(s))
			ids := []string{"c0", "c500", fmt.Sprintf("c%d", n-1)}
			for _, id := range ids {
				wantError(t, "kill", s.Kill(t.Context(), id), nil)
				s.AwaitReady(id, 2)
				s.Expect("ask."+id, "", fmt.Sprintf("%s continue %q", id, id))
			}
			began := time.Now()
			wantError(t, "close", s.Close(), nil)
			diff(t, time.Duration(0), time.Since(began))
			diff(t, map[string]int{"stopped": n}, states(s))
		},
	}
}

// stopDuring stops a capsule in the middle of a call, while another is idle. It returns
// the duration of the stop, and the outcome of the call.
func stopDuring(t *testing.T, supervision string, do func(context.Context, supervisortest.Visit) error) (took time.Duration, leg string) {
	t.Helper()
	s := supervisortest.Start(t, supervisor.Config{TriggerTimeout: 24 * time.Hour, CallTimeout: 24 * time.Hour}, worker("slow", supervision), worker("idle", supervision))
	s.Patience = 24 * time.Hour
	s.Inject("slow", supervisortest.Fault{Do: do})
	answer := s.Begin("ask.slow", "")
	waits := s.Begin("ask.slow", "")
	synctest.Wait()
	began := time.Now()
	wantError(t, "stop", s.Stop(t.Context(), "idle"), nil)
	diff(t, time.Duration(0), time.Since(began))
	wantError(t, "stop", s.Stop(t.Context(), "slow"), nil)
	took = time.Since(began)
	legs := slices.Concat(supervisortest.Legs(answer()), supervisortest.Legs(waits()))
	slices.Sort(legs) // either of the two may run first
	if legs[1] != "slow unavailable" {
		t.Errorf("what waits is answered at once: %q", legs)
	}
	return took, legs[0]
}
