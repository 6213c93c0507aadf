package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

const (
	hand  = "by hand"
	crews = "a goroutine each"
)

// The interceptors' export, and the action that all guests here handle.
const (
	hook   = capsulehost.ExportInterceptor
	action = "ask"
)

// subscriber is an instance behind a mutex, as one would write it by hand.
type subscriber struct {
	pattern string
	mu      *sync.Mutex
	ask     func(ctx context.Context, payload []byte) ([]byte, error)
}

// subscribers is a registry as one would write it by hand.
type subscribers []subscriber

// trigger invokes all subscribers of the topic, and expects n of them to answer.
func (s subscribers) trigger(ctx context.Context, topic string, payload json.RawMessage, n int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	values, err := s.ask(ctx, topic, payload)
	if err == nil && len(values) != n {
		err = fmt.Errorf("trigger %q: %d answers, want %d", topic, len(values), n)
	}
	return err
}

// ask invokes one subscriber after the other.
func (s subscribers) ask(ctx context.Context, topic string, payload json.RawMessage) ([]json.RawMessage, error) {
	var values []json.RawMessage
	for i := range s {
		if !matches(s[i].pattern, topic) {
			continue
		}
		s[i].mu.Lock()
		value, err := s[i].ask(ctx, payload)
		s[i].mu.Unlock()
		if err != nil {
			return nil, err
		}
		if !json.Valid(value) {
			return nil, fmt.Errorf("trigger %q: the answer %q is not JSON", topic, value)
		}
		values = append(values, value)
	}
	return values, nil
}

// crew has a goroutine and a channel for each subscriber: the least code that invokes
// them concurrently.
type crew struct {
	of      subscribers
	asked   []chan question
	workers sync.WaitGroup
}

type question struct {
	payload []byte
	ctx     context.Context
	answer  *crewAnswer
	done    chan<- struct{}
}

type crewAnswer struct {
	value []byte
	err   error
}

func newCrew(of subscribers) *crew {
	c := &crew{of: of}
	for i := range of {
		asked := make(chan question, 1)
		c.asked = append(c.asked, asked)
		c.workers.Go(func() {
			for q := range asked {
				q.answer.value, q.answer.err = of[i].ask(q.ctx, q.payload)
				q.done <- struct{}{}
			}
		})
	}
	return c
}

func (c *crew) close(context.Context) error {
	for _, asked := range c.asked {
		close(asked)
	}
	c.workers.Wait()
	return nil
}

// trigger invokes all subscribers of the topic at once, and expects n of them to answer.
func (c *crew) trigger(ctx context.Context, topic string, payload json.RawMessage, n int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	answers, done := make([]crewAnswer, len(c.of)), make(chan struct{}, len(c.of))
	sent := 0
	for i := range c.of {
		if matches(c.of[i].pattern, topic) {
			c.asked[i] <- question{payload, ctx, &answers[i], done}
			sent++
		}
	}
	for range sent {
		<-done
	}
	if sent != n {
		return fmt.Errorf("trigger %q: %d answers, want %d", topic, sent, n)
	}
	for _, a := range answers {
		if a.err != nil {
			return a.err
		}
		if !json.Valid(a.value) {
			return fmt.Errorf("trigger %q: the answer %q is not JSON", topic, a.value)
		}
	}
	return nil
}

// invoke returns a function that calls an instance of capsulehost.
func invoke(i *capsulehost.Instance) func(ctx context.Context, payload []byte) ([]byte, error) {
	return func(ctx context.Context, payload []byte) ([]byte, error) {
		r, err := i.Invoke(ctx, action, payload)
		return r.Data, err
	}
}

// matches reports whether a topic matches a pattern, segment by segment.
func matches(pattern, topic string) bool {
	for {
		p, restOfPattern, moreOfPattern := strings.Cut(pattern, ".")
		t, restOfTopic, moreOfTopic := strings.Cut(topic, ".")
		if (p != t && p != "*") || moreOfPattern != moreOfTopic {
			return false
		}
		if !moreOfPattern {
			return true
		}
		pattern, topic = restOfPattern, restOfTopic
	}
}

// triggerInput returns the input of an interceptor's export.
func triggerInput(payload []byte) []byte {
	out := append(make([]byte, 0, 40+4*len(payload)), `{"name":"`+action+`","arguments":[`...)
	for i, b := range payload {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendUint(out, uint64(b), 10)
	}
	return append(out, `]}`...)
}
