package control

import (
	"context"
	"fmt"
	"sync/atomic"

	"connectrpc.com/connect"

	"github.com/astrid-actors/astrid-actors/messages/actorspb/actorspbconnect"
)

// How many requests of one kind may be open at once. Each kind has its own bound: a
// client that opens all streams does not prevent another from stopping a capsule.
const (
	maxStreams  = 256  // of events, of log lines, and of messages, each
	maxRequests = 1024 // of each other kind
)

// place counts the open requests of one kind.
type place struct {
	open atomic.Int64
	most int64
}

// take returns an error if there is no place left. Otherwise leave must be called.
func (p *place) take() error {
	if p.open.Add(1) <= p.most {
		return nil
	}
	p.leave()
	return connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("overloaded: %d requests of this kind are open", p.most))
}

func (p *place) leave() { p.open.Add(-1) }

// bounds refuses requests over the bounds as overloaded. A request is counted from when
// its message has arrived, so that clients that send half a message hold no place; the
// server limits the time to send one.
type bounds struct {
	kinds    map[string]*place // by procedure
	commands place             // all other procedures
}

func newBounds() *bounds {
	return &bounds{
		kinds: map[string]*place{
			actorspbconnect.ControlEventsProcedure: {most: maxStreams}, actorspbconnect.ControlLogsProcedure: {most: maxStreams},
			actorspbconnect.ControlTriggerProcedure: {most: maxRequests}, actorspbconnect.ControlSnapshotProcedure: {most: maxRequests},
			actorspbconnect.ControlCapsuleProcedure: {most: maxRequests}, actorspbconnect.ControlPublishProcedure: {most: maxRequests},
			actorspbconnect.ControlSubscribeProcedure: {most: maxStreams}, actorspbconnect.PeopleWatchApprovalsProcedure: {most: maxStreams},
		},
		commands: place{most: maxRequests},
	}
}

func (b *bounds) of(s connect.Spec) *place {
	if p := b.kinds[s.Procedure]; p != nil {
		return p
	}
	return &b.commands
}

// WrapUnary holds a place while next answers: the message has arrived by then.
func (b *bounds) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		p := b.of(r.Spec())
		if err := p.take(); err != nil {
			return nil, err
		}
		defer p.leave()
		return next(ctx, r)
	}
}

// WrapStreamingHandler holds a place from the moment when next has received its message.
func (b *bounds) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		stream := &boundStream{StreamingHandlerConn: conn, place: b.of(conn.Spec())}
		defer func() {
			if stream.taken {
				stream.place.leave()
			}
		}()
		return next(ctx, stream)
	}
}

// WrapStreamingClient changes nothing: this is the server.
func (b *bounds) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// boundStream is a stream's connection, on its handler's goroutine.
type boundStream struct {
	connect.StreamingHandlerConn
	place *place
	taken bool
}

// Receive reads a message, and counts the stream after the first.
func (s *boundStream) Receive(message any) error {
	if err := s.StreamingHandlerConn.Receive(message); err != nil || s.taken {
		return err
	}
	if err := s.place.take(); err != nil {
		return err
	}
	s.taken = true
	return nil
}
