package control

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/messages/messagesconnect"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// maxRequest bounds a request on the wire, in bytes: the largest payload with
// each of its bytes escaped, as JSON may write it. What is in it is bounded by
// the supervisor.
const maxRequest = 6*supervisor.MaxPayload + 64<<10

// Handler answers the Control service for s. A request, and an event stream
// among them, ends with its context.
func Handler(s *supervisor.Supervisor) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(messagesconnect.NewControlHandler(&service{s},
		connect.WithReadMaxBytes(maxRequest),
		connect.WithCompression("gzip", nil, nil), // nothing to gain within one machine
		connect.WithInterceptors(newBounds()),
	))
	return mux
}

// service turns requests into calls of the supervisor, and its errors into
// Connect's codes.
type service struct{ supervisor *supervisor.Supervisor }

// Trigger makes a trigger. Its time-out, where it has one, is the deadline.
func (s *service) Trigger(ctx context.Context, r *connect.Request[messages.TriggerRequest]) (*connect.Response[messages.TriggerReply], error) {
	if timeout := r.Msg.GetTimeout(); timeout != nil {
		if err := timeout.CheckValid(); err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, err)
		}
		d := timeout.AsDuration()
		if d <= 0 {
			return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("invalid trigger: the timeout must be positive"))
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	request := supervisor.TriggerRequest{Topic: r.Msg.GetTopic(), Payload: []byte(r.Msg.GetPayload())}
	if principal := r.Msg.GetPrincipal(); principal != "" {
		request.Caller = &supervisor.Caller{Principal: principal}
	}
	reply, err := s.supervisor.Trigger(ctx, request)
	if err != nil {
		return nil, coded(err)
	}
	return connect.NewResponse(reply), nil
}

// Snapshot shows the tree, once it has started where that is asked for.
func (s *service) Snapshot(ctx context.Context, r *connect.Request[messages.SnapshotRequest]) (*connect.Response[messages.Tree], error) {
	if r.Msg.GetWaitUntilStarted() {
		if err := s.supervisor.AwaitStarted(ctx); err != nil {
			return nil, coded(err)
		}
	}
	return connect.NewResponse(s.supervisor.Snapshot()), nil
}

// Capsule shows one capsule closely.
func (s *service) Capsule(_ context.Context, r *connect.Request[messages.CapsuleRequest]) (*connect.Response[messages.CapsuleDetail], error) {
	detail, err := s.supervisor.Capsule(r.Msg.GetId())
	if err != nil {
		return nil, coded(err)
	}
	return connect.NewResponse(detail), nil
}

// Logs streams the end of a capsule's log and, where that is asked for, what it logs.
func (s *service) Logs(ctx context.Context, r *connect.Request[messages.LogsRequest], stream *connect.ServerStream[messages.LogLine]) error {
	lines, err := s.supervisor.Logs(ctx, r.Msg.GetId(), r.Msg.GetSince(), r.Msg.GetFollow())
	if err != nil {
		return coded(err)
	}
	// The headers, so that a client sees at once that it is connected.
	if err := stream.Send(nil); err != nil {
		return err
	}
	for line := range lines {
		if err := stream.Send(line); err != nil {
			return err
		}
	}
	return nil
}

// Events streams what has happened and, where that is asked for, what happens.
func (s *service) Events(ctx context.Context, r *connect.Request[messages.EventsRequest], stream *connect.ServerStream[messages.Event]) error {
	since := r.Msg.GetSince()
	last := s.supervisor.Snapshot().GetSequence()
	if !r.Msg.GetFollow() && since >= last {
		return nil
	}
	// The headers, so that a client sees at once that it is connected.
	if err := stream.Send(nil); err != nil {
		return err
	}
	for event := range s.supervisor.Events(ctx, since) {
		if err := stream.Send(event); err != nil {
			return err
		}
		if !r.Msg.GetFollow() && event.GetSequence() >= last {
			return nil
		}
	}
	return nil
}

// Start starts a capsule that has stopped or failed.
func (s *service) Start(ctx context.Context, r *connect.Request[messages.StartCapsule]) (*connect.Response[messages.CommandReply], error) {
	return done(s.supervisor.Start(ctx, r.Msg.GetId()))
}

// Stop ends a capsule.
func (s *service) Stop(ctx context.Context, r *connect.Request[messages.StopCapsule]) (*connect.Response[messages.CommandReply], error) {
	return done(s.supervisor.Stop(ctx, r.Msg.GetId()))
}

// Restart replaces a capsule's instance.
func (s *service) Restart(ctx context.Context, r *connect.Request[messages.RestartCapsule]) (*connect.Response[messages.CommandReply], error) {
	return done(s.supervisor.Restart(ctx, r.Msg.GetId()))
}

// Kill makes a capsule crash.
func (s *service) Kill(ctx context.Context, r *connect.Request[messages.KillCapsule]) (*connect.Response[messages.CommandReply], error) {
	return done(s.supervisor.Kill(ctx, r.Msg.GetId()))
}

func done(err error) (*connect.Response[messages.CommandReply], error) {
	if err != nil {
		return nil, coded(err)
	}
	return connect.NewResponse(&messages.CommandReply{}), nil
}

// coded gives an error of the supervisor's the code that control.proto promises.
func coded(err error) error {
	for _, c := range []struct {
		target error
		code   connect.Code
	}{
		{supervisor.ErrInvalid, connect.CodeInvalidArgument},
		{supervisor.ErrNotFound, connect.CodeNotFound},
		{supervisor.ErrRefused, connect.CodeFailedPrecondition},
		{supervisor.ErrNotUp, connect.CodeAborted},
		{supervisor.ErrOverloaded, connect.CodeResourceExhausted},
		{supervisor.ErrNotServing, connect.CodeUnavailable},
		{supervisor.ErrStopping, connect.CodeUnavailable},
		{context.DeadlineExceeded, connect.CodeDeadlineExceeded},
		{context.Canceled, connect.CodeCanceled},
	} {
		if errors.Is(err, c.target) {
			return connect.NewError(c.code, err)
		}
	}
	return connect.NewError(connect.CodeInternal, err)
}
