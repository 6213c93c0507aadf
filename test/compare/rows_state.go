package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

const (
	boltBatch = "bbolt's Batch"
	goMap     = "a host call with a Go map"
)

// The writers of kvSet, how many keys each of them has, and how often each writes in one
// round: the sets of a round are under way at once, as many as there are writers.
const (
	stateWriters = 64
	keysOfEach   = 16
	setsOfEach   = 4
)

// kvSet sets 128 bytes from 64 capsules at once: each set is a trigger, the guest's call,
// and durable when the trigger is answered. Beside it, 64 goroutines put the same values
// under the same keys with bbolt's own batches, as they are by default.
func (b *bench) kvSet(targets ...judge) row {
	return b.race(fmt.Sprintf("kv_set, %d writers", stateWriters), func(ctx context.Context, c *closers) ([]contender, error) {
		topic := func(w int) string { return fmt.Sprintf("write.n%d", w) }
		dir, err := b.capsules("keep", stateWriters, func(n int) string {
			return fmt.Sprintf("[[interceptor]]\nevent = %q\naction = \"set\"\n", topic(n))
		})
		if err != nil {
			return nil, err
		}
		s, err := serve(ctx, b.home(), stateWriters, dir)
		if err != nil {
			return nil, err
		}
		c.add(func(context.Context) error { return s.stop() })

		at, err := os.MkdirTemp(b.dir, "bbolt-")
		if err != nil {
			return nil, err
		}
		db, err := bbolt.Open(filepath.Join(at, "state.db"), 0o600, nil)
		if err != nil {
			return nil, err
		}
		c.add(func(context.Context) error { return db.Close() })
		bucket := []byte("state")
		if err := db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(bucket); return err }); err != nil {
			return nil, err
		}

		return []contender{
			crowdOfWriters(us, func(ctx context.Context, w, key int) error {
				reply, err := s.Trigger(ctx, supervisor.TriggerRequest{Topic: topic(w), Payload: stateValue(w, key)})
				if err == nil && (len(reply.Legs) != 1 || reply.Legs[0].Outcome != messages.OutcomeEmpty) {
					err = fmt.Errorf("set by %q: %v", topic(w), reply.Legs)
				}
				return err
			}),
			crowdOfWriters(boltBatch, func(_ context.Context, w, key int) error {
				value := stateValue(w, key)
				return db.Batch(func(tx *bbolt.Tx) error {
					return tx.Bucket(bucket).Put(value[1:len(value)-1], value)
				})
			}),
		}, nil
	}, targets...)
}

// stateValue is the value of a writer's key: the key is what is between its quotes.
func stateValue(w, key int) json.RawMessage {
	return fmt.Appendf(nil, `"%02d-%02d%s"`, w, key, strings.Repeat("x", 121))
}

// crowdOfWriters is a contender whose writers all work at once, for n rounds. Each writes
// one value after another.
func crowdOfWriters(who string, set func(ctx context.Context, w, key int) error) contender {
	var each []float64
	return contender{who: who, per: stateWriters * setsOfEach, each: &each, run: func(ctx context.Context, n int) (time.Duration, error) {
		var took [stateWriters][]float64
		var failed [stateWriters]error
		var writers sync.WaitGroup
		began := time.Now()
		for w := range stateWriters {
			writers.Go(func() {
				for key := 0; key < n*setsOfEach && failed[w] == nil; key++ {
					began := time.Now()
					failed[w] = set(ctx, w, key%keysOfEach)
					took[w] = append(took[w], float64(time.Since(began)))
				}
			})
		}
		writers.Wait()
		all := time.Since(began)
		each = append(each, slices.Concat(took[:]...)...)
		return all, errors.Join(failed[:]...)
	}}
}

// getsInACall is how often one call gets the value, so that the call itself costs nothing.
const getsInACall = 100

// kvGet has a guest get 128 bytes of state. Beside it, the same guest gets them from a Go
// map: the host call itself.
func (b *bench) kvGet(targets ...judge) row {
	const topic, key = "test.recall", "memory"
	return b.race("kv_get, 128 B", func(ctx context.Context, c *closers) ([]contender, error) {
		value := []byte(strings.Repeat("x", 128))
		dir, err := b.capsules("recall", 1, func(int) string { return interceptors(topic) })
		if err != nil {
			return nil, err
		}
		s, err := serve(ctx, b.home(), 1, dir)
		if err != nil {
			return nil, err
		}
		c.add(func(context.Context) error { return s.stop() })
		if err := s.State("recall-00000").Set(ctx, key, value); err != nil {
			return nil, err
		}

		wasm, err := b.guest("recall")
		if err != nil {
			return nil, err
		}
		h, err := newHost(ctx, b.cache(), wasm)
		if err != nil {
			return nil, err
		}
		c.add(h.Close)
		guest, err := h.module.Instantiate(ctx, mapHost{services: &capsulehost.Services{State: mapState{key: value}}})
		if err != nil {
			return nil, err
		}
		c.add(guest.Close)
		stoppable, cancel := context.WithTimeout(ctx, time.Hour)
		c.add(func(context.Context) error { cancel(); return nil })

		gets := func(who string, call func(ctx context.Context, times json.RawMessage) error) contender {
			return contender{who: who, run: func(ctx context.Context, n int) (time.Duration, error) {
				began := time.Now()
				for n > 0 {
					next := min(n, getsInACall)
					if err := call(ctx, fmt.Append(nil, next)); err != nil {
						return 0, err
					}
					n -= next
				}
				return time.Since(began), nil
			}}
		}
		return []contender{
			gets(us, func(ctx context.Context, times json.RawMessage) error { return s.trigger(ctx, topic, times, 1) }),
			gets(goMap, func(_ context.Context, times json.RawMessage) error {
				_, err := guest.Invoke(stoppable, action, times)
				return err
			}),
		}, nil
	}, targets...)
}

// mapHost is the host API of a guest that has services.
type mapHost struct {
	alone
	services *capsulehost.Services
}

func (h mapHost) Services() *capsulehost.Services { return h.services }

// mapState is state that can't change.
type mapState map[string][]byte

var errConstant = errors.New("this state can't change")

func (m mapState) Get(_ context.Context, _, key string) ([]byte, error) { return m[key], nil }

func (mapState) Set(context.Context, string, string, []byte) error { return errConstant }

func (mapState) Delete(context.Context, string, string) error { return errConstant }

func (mapState) ListKeys(context.Context, string, string) ([]string, error) { return nil, errConstant }

func (mapState) ClearPrefix(context.Context, string, string) (int, error) { return 0, errConstant }
