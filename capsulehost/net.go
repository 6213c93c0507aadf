package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/tetratelabs/wazero/api"
)

// Limits of the socket calls' arguments, in bytes.
const (
	maxSocketPath = 4 << 10 // which is ignored, as in the reference
	maxHandle     = 1 << 10
	// MaxSocketMessage is the largest message on a stream.
	MaxSocketMessage = 10 << 20
)

// Sockets lets a guest serve the clients of the system's unix socket. Streams are known by
// their handles, which are never used again.
type Sockets interface {
	// Bind begins to listen. Binding again is no error.
	Bind(ctx context.Context) error
	// Accept returns the next client that has proved who it is. It waits for one until ctx
	// ends, or, with poll, for a moment: then ok is false.
	Accept(ctx context.Context, poll bool) (stream uint64, ok bool, err error)
	// Read returns the next message of a client, after a moment's wait.
	Read(ctx context.Context, stream uint64) (StreamState, []byte, error)
	// Write sends a message. A client that has gone is no error: Read tells of it.
	Write(ctx context.Context, stream uint64, message []byte) error
	// CloseStream ends a stream; one that has ended is no error.
	CloseStream(stream uint64)
}

// StreamState says what a Read has found. It is the first byte of its answer.
type StreamState byte

// The states of a stream.
const (
	StreamData    StreamState = 0 // a message
	StreamClosed  StreamState = 1 // the client has gone
	StreamPending StreamState = 2 // no message yet
)

// netCalls are the calls of Services.Sockets. All errors trap.
var netCalls = []hostFunction{
	{"astrid_net_bind_unix", []api.ValueType{i64}, []api.ValueType{i64}, astridNetBindUnix},
	{"astrid_net_accept", []api.ValueType{i64}, []api.ValueType{i64}, netAccept(false)},
	{"astrid_net_poll_accept", []api.ValueType{i64}, []api.ValueType{i64}, netAccept(true)},
	{"astrid_net_read", []api.ValueType{i64}, []api.ValueType{i64}, astridNetRead},
	{"astrid_net_write", []api.ValueType{i64, i64}, nil, astridNetWrite},
	{"astrid_net_close_stream", []api.ValueType{i64}, nil, astridNetCloseStream},
}

var errNoSockets = errors.New("sockets are not granted to this capsule: its manifest has no net_bind")

// listenerHandle is the handle of the only listener.
const listenerHandle = "1"

func astridNetBindUnix(_ context.Context, i *Instance, stack []uint64) error {
	if _, err := i.bytes("path", stack[0], maxSocketPath); err != nil {
		return err
	}
	s := i.services().Sockets
	if s == nil {
		return errNoSockets
	}
	var err error
	i.outside(func() { err = s.Bind(i.ctx) })
	if err != nil {
		return err
	}
	return i.answer(stack, listenerHandle)
}

// netAccept returns the call that accepts, or polls for, a client.
func netAccept(poll bool) func(context.Context, *Instance, []uint64) error {
	return func(_ context.Context, i *Instance, stack []uint64) error {
		if _, err := i.bytes("listener", stack[0], maxHandle); err != nil {
			return err
		}
		s := i.services().Sockets
		if s == nil {
			return errNoSockets
		}
		var stream uint64
		var ok bool
		var err error
		i.outside(func() { stream, ok, err = s.Accept(i.ctx, poll) })
		if err != nil {
			return err
		}
		if !ok {
			return i.answer(stack, "")
		}
		return i.answer(stack, strconv.FormatUint(stream, 10))
	}
}

// socketStream reads the handle of a stream.
func (i *Instance) socketStream(offset uint64) (Sockets, uint64, error) {
	text, err := i.text("stream", offset, maxHandle)
	if err != nil {
		return nil, 0, err
	}
	s := i.services().Sockets
	if s == nil {
		return nil, 0, errNoSockets
	}
	handle, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, 0, fmt.Errorf("%.32q is no handle of a stream", text)
	}
	return s, handle, nil
}

func astridNetRead(_ context.Context, i *Instance, stack []uint64) error {
	s, handle, err := i.socketStream(stack[0])
	if err != nil {
		return err
	}
	var state StreamState
	var message []byte
	i.outside(func() { state, message, err = s.Read(i.ctx, handle) })
	if err != nil {
		return err
	}
	return i.answerBytes(stack, append([]byte{byte(state)}, message...))
}

func astridNetWrite(_ context.Context, i *Instance, stack []uint64) error {
	s, handle, err := i.socketStream(stack[0])
	if err != nil {
		return err
	}
	message, err := i.bytes("message", stack[1], MaxSocketMessage)
	if err == nil {
		i.outside(func() { err = s.Write(i.ctx, handle, message) })
	}
	return err
}

func astridNetCloseStream(_ context.Context, i *Instance, stack []uint64) error {
	s, handle, err := i.socketStream(stack[0])
	if err == nil {
		i.outside(func() { s.CloseStream(handle) })
	}
	return err
}
