package control_test

import (
	"context"
	"iter"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

// TestBounds checks that a client that holds the maximum number of streams is refused
// another at once, and that every other request is served.
func TestBounds(t *testing.T) {
	d := start(t, "echo")
	ctx, cancel := context.WithCancel(patiently(t))
	// follow opens a stream and reads its first event.
	follow := func() (end func(), err error) {
		next, end := iter.Pull2(d.client.Events(ctx, control.EventsRequest{Follow: true}))
		_, err, _ = next()
		return end, err
	}
	var streams []func()
	for len(streams) < 256 {
		end, err := follow()
		if err != nil {
			t.Fatalf("stream %d: %v", len(streams), err)
		}
		streams = append(streams, end)
	}
	over, err := follow()
	if connect.CodeOf(err) != connect.CodeResourceExhausted || !strings.Contains(err.Error(), "overloaded: 256 requests of this kind are open") {
		t.Errorf("one more: %v", err)
	}
	streams = append(streams, over)
	if _, err := d.client.Snapshot(ctx, false); err != nil {
		t.Error(err)
	}
	if err := d.client.Restart(ctx, "echo"); err != nil {
		t.Error(err)
	}
	cancel()
	for _, end := range streams {
		end()
	}
	// Their places are free again.
	ctx, cancel = context.WithCancel(patiently(t))
	defer cancel()
	for free := false; !free; {
		end, err := follow()
		free = err == nil
		end()
		if err != nil && connect.CodeOf(err) != connect.CodeResourceExhausted {
			t.Fatal(err)
		}
	}
}

// TestOversizedRequests checks that a request over the limit is refused, and not stored.
func TestOversizedRequests(t *testing.T) {
	d := start(t, "echo")
	_, err := d.client.Trigger(patiently(t), control.TriggerRequest{
		Topic: "test.echo", Payload: jsonString(8 << 20),
	})
	if connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("8 MiB: %v", err)
	}
	_, err = d.client.Trigger(patiently(t), control.TriggerRequest{
		Topic: "test.echo", Payload: jsonString(1<<20 + 2),
	})
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a payload of two bytes over 1 MiB: %v", err)
	}
}
