package control

import (
	"context"
	"io"

	"connectrpc.com/connect"

	"github.com/astrid-actors/astrid-actors/messages/actorspb"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// maxStateRequest limits a request of the State service on the wire, in bytes: the
// largest value in base64, as JSON has it.
const maxStateRequest = 14<<20 + 64<<10

// filePart is the size of the parts in which files are sent.
const filePart = 256 << 10

// stateService does for the State service what service does for Control.
type stateService struct{ supervisor *supervisor.Supervisor }

func (s *stateService) of(capsule, principal string) *supervisor.State {
	return s.supervisor.State(capsule).For(principal)
}

// Get returns one value.
func (s *stateService) Get(ctx context.Context, r *connect.Request[actorspb.StateKey]) (*connect.Response[actorspb.StateValue], error) {
	value, err := s.of(r.Msg.GetCapsule(), r.Msg.GetPrincipal()).Get(ctx, r.Msg.GetKey())
	if err != nil {
		return nil, coded(err)
	}
	return connect.NewResponse(&actorspb.StateValue{Value: value}), nil
}

// Set sets one value.
func (s *stateService) Set(ctx context.Context, r *connect.Request[actorspb.StateEntry]) (*connect.Response[actorspb.StateChanged], error) {
	state := s.of(r.Msg.GetCapsule(), r.Msg.GetPrincipal())
	if r.Msg.GetUnknownCapsule() {
		state = state.OfUnknown()
	}
	err := state.Set(ctx, r.Msg.GetKey(), r.Msg.GetValue())
	if err != nil {
		return nil, coded(err)
	}
	return connect.NewResponse(&actorspb.StateChanged{}), nil
}

// Delete deletes one key.
func (s *stateService) Delete(ctx context.Context, r *connect.Request[actorspb.StateKey]) (*connect.Response[actorspb.StateChanged], error) {
	existed, err := s.of(r.Msg.GetCapsule(), r.Msg.GetPrincipal()).Delete(ctx, r.Msg.GetKey())
	if err != nil {
		return nil, coded(err)
	}
	return connect.NewResponse(&actorspb.StateChanged{Existed: existed}), nil
}

// List streams entries.
func (s *stateService) List(ctx context.Context, r *connect.Request[actorspb.StateRange], stream *connect.ServerStream[actorspb.StateEntry]) error {
	state := s.of(r.Msg.GetCapsule(), r.Msg.GetPrincipal())
	list := state.Keys
	if r.Msg.GetWithValues() {
		list = state.Entries
	}
	entries, err := list(ctx, r.Msg.GetPrefix())
	if err != nil {
		return coded(err)
	}
	for _, e := range entries {
		if err := stream.Send(&actorspb.StateEntry{Key: e.Key, Value: e.Value, Size: uint64(e.Size)}); err != nil { //nolint:gosec // not negative
			return err
		}
	}
	return nil
}

// Backup streams a backup.
func (s *stateService) Backup(ctx context.Context, _ *connect.Request[actorspb.BackupRequest], stream *connect.ServerStream[actorspb.FilePart]) error {
	err := s.supervisor.Backup(ctx, sentParts(func(p []byte) error { return stream.Send(&actorspb.FilePart{Data: p}) }))
	if err != nil {
		return coded(err)
	}
	return nil
}

// Restore receives a backup, and replaces all state by it.
func (s *stateService) Restore(ctx context.Context, stream *connect.ClientStream[actorspb.FilePart]) (*connect.Response[actorspb.RestoreReply], error) {
	restarted, err := s.supervisor.Restore(ctx, &receivedParts{next: func() ([]byte, error) {
		if stream.Receive() {
			return stream.Msg().GetData(), nil
		}
		if err := stream.Err(); err != nil {
			return nil, err
		}
		return nil, io.EOF
	}})
	if err != nil {
		return nil, coded(err)
	}
	return connect.NewResponse(&actorspb.RestoreReply{Restarted: restarted}), nil
}

// sentParts writes a file as parts.
type sentParts func(part []byte) error

// Write implements io.Writer.
func (send sentParts) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		part := p[:min(len(p), filePart)]
		if err = send(part); err == nil {
			n, p = n+len(part), p[len(part):]
		}
	}
	return n, err
}

// receivedParts reads a file from parts; next returns io.EOF at its end.
type receivedParts struct {
	next func() ([]byte, error)
	rest []byte
}

// Read implements io.Reader.
func (r *receivedParts) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		part, err := r.next()
		if err != nil {
			return 0, err
		}
		r.rest = part
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
