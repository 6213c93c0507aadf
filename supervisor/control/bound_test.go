package control_test

import (
	"context"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/astrid-actors/astrid-actors/messages"
)

// TestBounds: a client that holds as many streams as there may be is refused one
// more at once, and keeps nobody from anything else.
func TestBounds(t *testing.T) {
	d := start(t, "echo")
	ctx, cancel := context.WithCancel(patiently(t))
	follow := func() (*connect.ServerStreamForClient[messages.Event], error) {
		stream, err := d.client.Events(ctx, connect.NewRequest(&messages.EventsRequest{Follow: true}))
		if err == nil && !stream.Receive() {
			err = stream.Err()
		}
		return stream, err
	}
	var streams []*connect.ServerStreamForClient[messages.Event]
	for len(streams) < 256 {
		stream, err := follow()
		if err != nil {
			t.Fatalf("stream %d: %v", len(streams), err)
		}
		streams = append(streams, stream)
	}
	over, err := follow()
	if connect.CodeOf(err) != connect.CodeResourceExhausted || !strings.Contains(err.Error(), "overloaded: 256 requests of this kind are open") {
		t.Errorf("one more: %v", err)
	}
	streams = append(streams, over)
	if _, err := d.client.Snapshot(ctx, connect.NewRequest(&messages.SnapshotRequest{})); err != nil {
		t.Error(err)
	}
	if _, err := d.client.Restart(ctx, connect.NewRequest(&messages.RestartCapsule{ID: "echo"})); err != nil {
		t.Error(err)
	}
	cancel()
	for _, stream := range streams {
		_ = stream.Close()
	}
	// What was held is free again.
	ctx, cancel = context.WithCancel(patiently(t))
	defer cancel()
	for free := false; !free; {
		stream, err := follow()
		free = err == nil
		_ = stream.Close()
		if err != nil && connect.CodeOf(err) != connect.CodeResourceExhausted {
			t.Fatal(err)
		}
	}
}

// TestOversizedRequests: a request over the limit is refused, and not kept.
func TestOversizedRequests(t *testing.T) {
	d := start(t, "echo")
	_, err := d.client.Trigger(patiently(t), connect.NewRequest(&messages.TriggerRequest{
		Topic: "test.echo", Payload: `"` + strings.Repeat("x", 8<<20) + `"`,
	}))
	if connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("8 MiB: %v", err)
	}
	_, err = d.client.Trigger(patiently(t), connect.NewRequest(&messages.TriggerRequest{
		Topic: "test.echo", Payload: `"` + strings.Repeat("x", 1<<20) + `"`,
	}))
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a payload of two bytes over 1 MiB: %v", err)
	}
}
