package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

var talk = flag.Duration("talk", time.Second, "how long TestConversation goes on")

// conversation is what two capsules have said: a run loop asks, with one number after
// another on a durable topic, and the other answers each.
type conversation struct {
	mu    sync.Mutex
	kept  map[uint64]bool // questions of which the asker was told that they are kept
	heard map[uint64]bool // those that the other one was called with
}

// asker publishes the next number until it is answered. What it has had answers to is in
// its state.
func (v *conversation) asker(t *testing.T) supervisor.Capsule {
	c := supervisortest.Loop("asker", func(ctx context.Context, c *supervisortest.Call) error {
		services := c.Services()
		answers, err := services.Bus.Subscribe("talk.answer")
		if err != nil {
			return err
		}
		c.SignalReady()
		for {
			noted, err := services.State.Get(ctx, "", "noted")
			if err != nil {
				return err
			}
			last, _ := strconv.ParseUint(string(noted), 10, 64) // 0 at first
			if err := say(ctx, c, "talk.question", last+1); err != nil {
				return err
			}
			v.mu.Lock()
			v.kept[last+1] = true
			v.mu.Unlock()
			crash(30)
			for answered := last; answered <= last; {
				batch, err := services.Bus.Receive(ctx, answers, time.Second)
				if err != nil || ctx.Err() != nil {
					return errors.Join(err, ctx.Err())
				}
				if len(batch.Messages) == 0 {
					break // the answer may have come while nobody waited: ask again
				}
				for _, m := range batch.Messages {
					answered, _ = strconv.ParseUint(string(m.Payload.Bytes()), 10, 64)
				}
				if answered > last+1 {
					t.Errorf("%d is the answer to %d", answered, last+1)
				}
				if answered == last+1 {
					if err := services.State.Set(ctx, "", "noted", strconv.AppendUint(nil, answered, 10)); err != nil {
						return err
					}
					crash(30)
				}
			}
		}
	})
	c.Manifest += restless + "[capabilities]\nipc_publish = [\"talk.question\"]\nipc_subscribe = [\"talk.answer\"]\n" +
		"[[topic]]\nname = \"talk.question\"\ndurable = true\nkeep = 1_000_000\n"
	return c
}

// answerer notes each number, in order, and publishes it back.
func (v *conversation) answerer(t *testing.T) supervisor.Capsule {
	c := supervisortest.Func("answerer", "talk.question", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		n, err := strconv.ParseUint(string(c.Payload), 10, 64)
		if err != nil {
			t.Errorf("the question is %q", c.Payload)
		}
		v.mu.Lock()
		v.heard[n] = true
		v.mu.Unlock()
		crash(20)
		noted, err := c.Services().State.Get(ctx, "", "noted")
		if err != nil {
			return capsulehost.Result{}, err
		}
		last, _ := strconv.ParseUint(string(noted), 10, 64)
		if n > last+1 {
			t.Errorf("question %d comes after %d", n, last)
		}
		if n > last {
			if err := c.Services().State.Set(ctx, "", "noted", c.Payload); err != nil {
				return capsulehost.Result{}, err
			}
		}
		crash(20)
		return capsulehost.Result{}, say(ctx, c, "talk.answer", n)
	})
	c.Manifest += "durable = true\nattempts = 1000\n" + restless + "[capabilities]\nipc_publish = [\"talk.answer\"]\n"
	return c
}

// restless is for capsules that crash all the time.
const restless = "[supervision]\nbudget = 10000\nbackoff_initial = \"1ms\"\nbackoff_max = \"1ms\"\n"

// crash kills the instance, once in n calls.
func crash(n int) {
	if rand.IntN(n) == 0 {
		panic("a crash in the middle of it")
	}
}

func say(ctx context.Context, c *supervisortest.Call, topic string, n uint64) error {
	payload, err := capsulehost.ParsePayload(strconv.AppendUint(nil, n, 10))
	if err != nil {
		return err
	}
	return c.Services().Bus.Publish(ctx, topic, payload)
}

// Two capsules talk over the bus while they crash, are killed and upgraded, and the
// supervisor is started again and again. The one that answers has heard every question
// that was kept, in order. make talk lets them talk for ten minutes.
func TestConversation(t *testing.T) {
	home := t.TempDir()
	v := &conversation{kept: map[uint64]bool{}, heard: map[uint64]bool{}}
	end := time.Now().Add(*talk)
	for last := false; !last; {
		last = time.Now().After(end)
		sup, err := supervisor.New(supervisor.Config{Home: home, Capsules: []supervisor.Capsule{v.answerer(t), v.asker(t)}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- sup.Serve(ctx) }()
		if err := sup.AwaitStarted(ctx); err != nil {
			t.Fatal(err)
		}
		said := 0
		for _, err := range sup.Subscribe(ctx, "talk.answer") {
			if err != nil {
				t.Fatal(err)
			}
			if said++; said == 40 {
				break
			}
			id := []string{"asker", "answerer"}[rand.IntN(2)]
			switch rand.IntN(8) {
			case 0:
				err = sup.Kill(ctx, id)
			case 1:
				err = sup.Restart(ctx, id)
			}
			if err != nil && !errors.Is(err, supervisor.ErrRefused) && !errors.Is(err, supervisor.ErrUpgradeFailed) && !errors.Is(err, supervisor.ErrNotUp) {
				t.Fatalf("%s: %v", id, err)
			}
		}
		if last { // nobody asks any more, and what was asked is answered
			if err := sup.Stop(ctx, "asker"); err != nil {
				t.Fatal(err)
			}
			v.mu.Lock()
			asked := len(v.kept)
			v.mu.Unlock()
			answers := sup.Subscribe(ctx, "talk.answer")
			if err := sup.Publish(ctx, "talk.question", json.RawMessage("0"), nil); err != nil {
				t.Fatal(err)
			}
			for m, err := range answers {
				if err != nil || string(m.Payload) == "0" {
					break
				}
			}
			t.Logf("%d questions", asked)
		}
		stop()
		if err := <-served; err != nil {
			t.Fatal(err)
		}
	}
	for n := range v.kept {
		if !v.heard[n] {
			t.Errorf("question %d was kept, and never heard", n)
		}
	}
}
