package sockets

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// How long the calls of a guest wait.
const (
	pollTime  = 10 * time.Millisecond // for a client
	readTime  = 50 * time.Millisecond // for the beginning of a message
	writeTime = 30 * time.Second      // for a client that does not read
)

// restTime returns how long the rest of a message may take to arrive.
func restTime(n uint32) time.Duration {
	return 5*time.Second + time.Duration(n/1024)*time.Millisecond
}

// Guest is the door as one instance of a capsule uses it. Close it when the instance has
// ended: that ends its streams.
type Guest struct {
	door    *Door
	capsule string
	changed func(connected bool)

	mu      sync.Mutex
	bound   bool
	closed  bool
	clients <-chan net.Conn
	streams map[uint64]*stream
	last    uint64 // the newest stream's handle
}

var _ capsulehost.Sockets = (*Guest)(nil)

// For returns the door for a new instance of a capsule. changed, if not nil, is called when
// the instance has accepted a client, and when it has closed a stream.
func (d *Door) For(capsule string, changed func(connected bool)) *Guest {
	if changed == nil {
		changed = func(bool) {}
	}
	return &Guest{door: d, capsule: capsule, changed: changed, streams: map[uint64]*stream{}}
}

// stream is the connection of one client. Its guest makes one call at a time.
type stream struct {
	conn net.Conn
	in   []byte // what has arrived of the next message, with its length
}

// Bind implements capsulehost.Sockets.
func (g *Guest) Bind(context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bound || g.closed {
		return nil
	}
	clients, err := g.door.bind(g.capsule)
	if err == nil {
		g.bound, g.clients = true, clients
	}
	return err
}

// Accept implements capsulehost.Sockets. At the limit of streams it is an error, or, with
// poll, as if there were no client.
func (g *Guest) Accept(ctx context.Context, poll bool) (uint64, bool, error) {
	g.mu.Lock()
	bound, clients, open := g.bound, g.clients, len(g.streams)
	g.mu.Unlock()
	switch {
	case !bound:
		return 0, false, errors.New("the socket must be bound before clients are accepted")
	case open >= maxStreams && poll:
		return 0, false, nil
	case open >= maxStreams:
		return 0, false, fmt.Errorf("%d streams are open, which is the limit: close one first", maxStreams)
	}
	var late <-chan time.Time // never, unless it polls
	if poll {
		timer := time.NewTimer(pollTime)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case c, ok := <-clients:
		if !ok {
			return 0, false, errors.New("the socket is closed")
		}
		return g.add(c), true, nil
	case <-late:
		return 0, false, nil
	case <-ctx.Done():
		return 0, false, context.Cause(ctx)
	}
}

func (g *Guest) add(c net.Conn) uint64 {
	g.mu.Lock()
	g.last++
	handle := g.last
	g.streams[handle] = &stream{conn: c}
	g.mu.Unlock()
	g.changed(true)
	return handle
}

func (g *Guest) stream(handle uint64) (*stream, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.streams[handle]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("there is no stream %d", handle)
}

// Read implements capsulehost.Sockets. A client that breaks the protocol, by a message that
// is too long or does not arrive in time, has gone: it must not bring the guest down.
func (g *Guest) Read(ctx context.Context, handle uint64) (capsulehost.StreamState, []byte, error) {
	s, err := g.stream(handle)
	if err != nil {
		return 0, nil, err
	}
	until := deadlines(ctx, s.conn.SetReadDeadline)
	defer until.end()
	until.in(readTime)
	if err := s.fill(4); err != nil {
		return s.state(ctx, err)
	}
	size := binary.BigEndian.Uint32(s.in)
	if size > capsulehost.MaxSocketMessage {
		return s.broken()
	}
	until.in(restTime(size))
	if err := s.fill(4 + int(size)); err != nil {
		if isTimeout(err) && ctx.Err() == nil {
			return s.broken()
		}
		return s.state(ctx, err)
	}
	message := s.in[4:]
	s.in = nil
	return capsulehost.StreamData, message, nil
}

// state returns what an error of the connection means.
func (s *stream) state(ctx context.Context, err error) (capsulehost.StreamState, []byte, error) {
	switch {
	case ctx.Err() != nil:
		return 0, nil, context.Cause(ctx)
	case isTimeout(err):
		return capsulehost.StreamPending, nil, nil
	default:
		return capsulehost.StreamClosed, nil, nil
	}
}

// broken closes a connection with which nothing can be done any more.
func (s *stream) broken() (capsulehost.StreamState, []byte, error) {
	_ = s.conn.Close()
	return capsulehost.StreamClosed, nil, nil
}

// fill reads until n bytes of the message are there. What has arrived before an error
// stays. Memory is taken as bytes arrive, not as they are announced.
func (s *stream) fill(n int) error {
	const step = 64 << 10
	for len(s.in) < n {
		have := len(s.in)
		want := min(n, have+step)
		if cap(s.in) < want {
			s.in = append(make([]byte, 0, min(n, max(want, 2*have))), s.in...)
		}
		got, err := s.conn.Read(s.in[have:want])
		s.in = s.in[:have+got]
		if err != nil && len(s.in) < n {
			return err
		}
	}
	return nil
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// Write implements capsulehost.Sockets. A client that does not read for 30 seconds has gone.
func (g *Guest) Write(ctx context.Context, handle uint64, message []byte) error {
	s, err := g.stream(handle)
	if err != nil {
		return err
	}
	until := deadlines(ctx, s.conn.SetWriteDeadline)
	defer until.end()
	until.in(writeTime)
	size := binary.BigEndian.AppendUint32(nil, uint32(len(message))) //nolint:gosec // at most 10 MiB
	_, err = (&net.Buffers{size, message}).WriteTo(s.conn)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		_ = s.conn.Close() // a part of a message may be out: no other can follow
	}
	return nil
}

// CloseStream implements capsulehost.Sockets.
func (g *Guest) CloseStream(handle uint64) {
	g.mu.Lock()
	s := g.streams[handle]
	delete(g.streams, handle)
	g.mu.Unlock()
	if s != nil {
		_ = s.conn.Close()
		g.changed(false)
	}
}

// Close ends all streams, and with the last instance of the capsule the socket.
func (g *Guest) Close() {
	g.mu.Lock()
	bound := g.bound && !g.closed
	g.closed = true
	var open []uint64
	for handle := range g.streams {
		open = append(open, handle)
	}
	g.mu.Unlock()
	for _, handle := range open {
		g.CloseStream(handle)
	}
	if bound {
		g.door.leave()
	}
}

// limit is the deadline of a connection, which comes at once when a context ends.
type limit struct {
	ctx  context.Context
	set  func(time.Time) error
	mu   sync.Mutex
	over bool
	stop func() bool
}

func deadlines(ctx context.Context, set func(time.Time) error) *limit {
	l := &limit{ctx: ctx, set: set}
	l.stop = context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.over {
			_ = set(time.Unix(1, 0))
		}
	})
	return l
}

// in sets the deadline, unless the context has ended.
func (l *limit) in(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() == nil {
		_ = l.set(time.Now().Add(d))
	} else {
		_ = l.set(time.Unix(1, 0))
	}
}

func (l *limit) end() {
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}
