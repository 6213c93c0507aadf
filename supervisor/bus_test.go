package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// Publish and Subscribe from Go: order, fields, patterns, and what is refused.
func TestPublishAndSubscribe(t *testing.T) {
	sup, err := supervisor.New(supervisor.Config{Home: t.TempDir(), CapsuleDirs: []string{t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := sup.Publish(t.Context(), "a", nil, nil); !errors.Is(err, supervisor.ErrNotServing) {
		t.Errorf("before Serve: %v", err)
	}
	for _, err := range sup.Subscribe(t.Context(), "a") {
		if !errors.Is(err, supervisor.ErrNotServing) {
			t.Errorf("before Serve: %v", err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- sup.Serve(ctx) }()
	if err := sup.AwaitStarted(ctx); err != nil {
		t.Fatal(err)
	}
	all := sup.Subscribe(ctx, "a.*")
	for n, text := range []string{`{"b":1, "a":2}`, ``, `{"type":"connect"}`} {
		payload := json.RawMessage(text)
		if err := sup.Publish(ctx, fmt.Sprintf("a.%d", n), payload, &supervisor.Caller{Principal: "ann"}); err != nil {
			t.Fatal(err)
		}
		for i := range payload {
			payload[i] = '!' // the caller may reuse it
		}
		if err := sup.Publish(ctx, "b", payload[:0], nil); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for m, err := range all {
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(m)
		if err != nil || !strings.Contains(string(text), `"source_id":"`+m.SourceID+`"`) || m.Timestamp.IsZero() {
			t.Errorf("%s, %v", text, err)
		}
		got = append(got, fmt.Sprintf("%s %s %s %d", m.Topic, m.Payload, m.Principal, m.Lost))
		if len(got) == 3 {
			break
		}
	}
	if want := "a.0 {\"a\":2,\"b\":1} ann 0\na.1 null ann 0\na.2 {\"type\":\"connect\"} ann 0"; strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	for what, err := range map[string]error{
		"an empty segment":    sup.Publish(ctx, "a..b", nil, nil),
		"9 segments":          sup.Publish(ctx, "1.2.3.4.5.6.7.8.9", nil, nil),
		"no JSON":             sup.Publish(ctx, "a", json.RawMessage("{"), nil),
		"too much":            sup.Publish(ctx, "a", make(json.RawMessage, supervisor.MaxMessage+1), nil),
		"no principal's name": sup.Publish(ctx, "a", nil, &supervisor.Caller{Principal: "a b"}),
		"no UUID":             sup.Publish(ctx, "a", nil, &supervisor.Caller{SourceID: "x"}),
	} {
		if !errors.Is(err, supervisor.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, err := range sup.Subscribe(ctx, "a.*.b") {
		if !errors.Is(err, supervisor.ErrInvalid) {
			t.Errorf("a pattern with a `*` in the middle: %v", err)
		}
	}
	bus := sup.Snapshot().Bus
	if last := len(bus.Topics) - 1; last < 3 || bus.Topics[last].Name != "b" || bus.Topics[last].Messages != 3 || bus.Delivered < 3 {
		t.Errorf("snapshot: %+v", bus)
	}
	late := sup.Subscribe(t.Context(), "a")
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	for m, err := range late { // ends with Serve
		t.Errorf("after the end: %v, %v", m, err)
	}
}

// A capsule that may publish to the kernel can end the system, and gets an answer first.
func TestKernelShutdown(t *testing.T) {
	sup, err := supervisor.New(supervisor.Config{Home: t.TempDir(), CapsuleDirs: []string{t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- sup.Serve(t.Context()) }()
	if err := sup.AwaitStarted(t.Context()); err != nil {
		t.Fatal(err)
	}
	answers := sup.Subscribe(t.Context(), "astrid.v1.response.*")
	for _, method := range []string{"GetStatus", "Shutdown"} {
		if err := sup.Publish(t.Context(), "astrid.v1.request.x", fmt.Appendf(nil, `{"type":"raw_json","method":%q,"params":{"reason":"enough"}}`, method), nil); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for m, err := range answers {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(m.Payload))
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if len(got) != 2 || !strings.Contains(got[0], `"loaded_capsules":[]`) || got[1] != `{"data":{"status":"shutting_down"},"status":"Success"}` {
		t.Errorf("answers: %q", got)
	}
}

// A capsule that asks the kernel to reload gets what an operator gets: new capsules, new
// versions, and another try of what has failed.
func TestKernelReload(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a", "1.0.0", "first", "fixed")
	put(t, dir, "broken", "1.0.0", "broken", "")
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{dir}, AllowUnverified: true})
	put(t, dir, "a", "1.1.0", "second", "fixed")
	put(t, dir, "b", "1.0.0", "b", "fixed")
	ctx, done := context.WithCancel(t.Context())
	defer done()
	answers := s.Subscribe(ctx, "astrid.v1.response.x")
	request := json.RawMessage(`{"type":"raw_json","method":"ReloadCapsules"}`)
	if err := s.Publish(ctx, "astrid.v1.request.x", request, nil); err != nil {
		t.Fatal(err)
	}
	for m, err := range answers {
		if want := `{"data":{"status":"reloaded"},"status":"Success"}`; err != nil || string(m.Payload) != want {
			t.Errorf("the answer is %s, %v", m.Payload, err)
		}
		done()
	}
	s.Expect("second", "", `a continue {"ok":true}`)
	s.Expect("b", "", `b continue {"ok":true}`)
	if c := s.Capsule("a"); c.Version != "1.1.0" {
		t.Errorf("a is %+v", c)
	}
}

// A publisher remembers where a topic's messages go, as long as that is so: subscriptions and
// interceptors that come and go in between are right for the next message.
func TestReceiversChangeBetweenMessages(t *testing.T) {
	called := make(chan string, 1)
	hears := func(id string) supervisor.Capsule {
		return supervisortest.Func(id, "news.*", func(_ context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
			called <- id + " " + string(c.Payload)
			return capsulehost.Result{}, nil
		})
	}
	s := supervisortest.Start(t, supervisor.Config{})
	published := 0
	publish := func(receivers int, interceptors ...string) {
		t.Helper()
		published++
		if err := s.Publish(t.Context(), "news.today", fmt.Append(nil, published), nil); err != nil {
			t.Fatal(err)
		}
		for _, id := range interceptors {
			diff(t, fmt.Sprint(id, " ", published), <-called)
		}
		for _, topic := range s.Snapshot().Bus.Topics {
			if topic.Name == "news.today" {
				diff(t, fmt.Sprint(receivers), fmt.Sprint(topic.Receivers))
			}
		}
	}
	publish(0)
	first, endFirst := context.WithCancel(t.Context())
	read := s.Subscribe(first, "news.*")
	publish(1)
	s.Subscribe(t.Context(), "news.today")
	publish(3)
	endFirst()
	for m, err := range read {
		t.Errorf("%v, %v after the end of its context", m, err)
	}
	publish(4)
	if _, err := s.Add(t.Context(), hears("one")); err != nil {
		t.Fatal(err)
	}
	publish(6, "one")
	if _, err := s.Add(t.Context(), hears("two")); err != nil {
		t.Fatal(err)
	}
	publish(9, "one", "two")
	if err := s.Remove(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	for legs := 0; legs != 1; { // the hook router has been told
		reply, err := s.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "news.today"})
		if err != nil {
			t.Fatal(err)
		}
		legs = len(reply.Legs)
		<-called
	}
	publish(11, "two")
	for n := range 1000 { // more topics than a publisher remembers
		if err := s.Publish(t.Context(), fmt.Sprintf("news.n%d", n%500), fmt.Append(nil, n), nil); err != nil {
			t.Fatal(err)
		}
		diff(t, fmt.Sprint("two ", n), <-called)
	}
	publish(13, "two")
}
