package control

import (
	"context"
	"errors"
	"math"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/messages/actorspb"
	"github.com/astrid-actors/astrid-actors/messages/actorspb/actorspbconnect"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// The limits of a request on the wire, in bytes: the largest payload with each of its
// bytes escaped, as JSON may write it. The supervisor limits the fields.
const (
	maxRequest = 6*supervisor.MaxPayload + 64<<10
	maxPublish = 6*supervisor.MaxMessage + 64<<10
)

// readLimit returns the limit of a procedure's requests.
func readLimit(s connect.Spec) []connect.HandlerOption {
	if s.Procedure == actorspbconnect.ControlPublishProcedure {
		return []connect.HandlerOption{connect.WithReadMaxBytes(maxPublish)}
	}
	return []connect.HandlerOption{connect.WithReadMaxBytes(maxRequest)}
}

// Handler serves the services Control, State and People for s. Each request ends with its context; so does
// an event stream.
func Handler(s *supervisor.Supervisor) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(actorspbconnect.NewControlHandler(&service{s},
		connect.WithConditionalHandlerOptions(readLimit),
		connect.WithCompression("gzip", nil, nil), // compression has no benefit within one machine
		connect.WithInterceptors(newBounds()),
	))
	mux.Handle(actorspbconnect.NewStateHandler(&stateService{s},
		connect.WithReadMaxBytes(maxStateRequest),
		connect.WithCompression("gzip", nil, nil),
		connect.WithInterceptors(newBounds()),
	))
	mux.Handle(actorspbconnect.NewPeopleHandler(&peopleService{s},
		connect.WithReadMaxBytes(maxPeopleRequest),
		connect.WithCompression("gzip", nil, nil),
		connect.WithInterceptors(newBounds()),
	))
	return mux
}

// service converts requests into calls of the supervisor, its answers into protobuf, and
// its errors into Connect's codes. Plain types become protobuf only here.
type service struct{ supervisor *supervisor.Supervisor }

// Trigger sends a trigger. Its timeout, if it has one, sets the deadline.
func (s *service) Trigger(ctx context.Context, r *connect.Request[actorspb.TriggerRequest]) (*connect.Response[actorspb.TriggerReply], error) {
	if timeout := r.Msg.GetTimeout(); timeout != nil {
		if err := timeout.CheckValid(); err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, err)
		}
		d := timeout.AsDuration()
		if d <= 0 {
			return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("invalid request: the timeout must be positive"))
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
	return connect.NewResponse(actorspb.FromReply(reply)), nil
}

// Traces returns the traces that are kept, or one of them.
func (s *service) Traces(_ context.Context, r *connect.Request[actorspb.TracesRequest]) (*connect.Response[actorspb.TracesReply], error) {
	if id := r.Msg.GetId(); id != 0 {
		trace, err := s.supervisor.Trace(id)
		if err != nil {
			return nil, coded(err)
		}
		return connect.NewResponse(&actorspb.TracesReply{Traces: []*actorspb.Trace{actorspb.FromTrace(trace)}}), nil
	}
	reply := &actorspb.TracesReply{}
	for _, trace := range s.supervisor.Traces() {
		reply.Traces = append(reply.Traces, actorspb.FromTrace(trace))
	}
	return connect.NewResponse(reply), nil
}

// Snapshot returns the tree; if the request asks for it, once the tree has started.
func (s *service) Snapshot(ctx context.Context, r *connect.Request[actorspb.SnapshotRequest]) (*connect.Response[actorspb.Tree], error) {
	if r.Msg.GetWaitUntilStarted() {
		if err := s.supervisor.AwaitStarted(ctx); err != nil {
			return nil, coded(err)
		}
	}
	return connect.NewResponse(actorspb.FromTree(s.supervisor.Snapshot())), nil
}

// Capsule returns one capsule in detail.
func (s *service) Capsule(_ context.Context, r *connect.Request[actorspb.CapsuleRequest]) (*connect.Response[actorspb.CapsuleDetail], error) {
	detail, err := s.supervisor.Capsule(r.Msg.GetId())
	if err != nil {
		return nil, coded(err)
	}
	return connect.NewResponse(actorspb.FromCapsuleDetail(detail)), nil
}

// Logs streams the end of a capsule's log and, with follow, new lines.
func (s *service) Logs(ctx context.Context, r *connect.Request[actorspb.LogsRequest], stream *connect.ServerStream[actorspb.LogLine]) error {
	lines, err := s.supervisor.Logs(ctx, r.Msg.GetId(), r.Msg.GetSince(), r.Msg.GetFollow())
	if err != nil {
		return coded(err)
	}
	// Sends the headers, so that a client learns at once that it is connected.
	if err := stream.Send(nil); err != nil {
		return err
	}
	for line := range lines {
		if err := stream.Send(actorspb.FromLogLine(line)); err != nil {
			return err
		}
	}
	return nil
}

// Events streams past events and, with follow, new ones.
func (s *service) Events(ctx context.Context, r *connect.Request[actorspb.EventsRequest], stream *connect.ServerStream[actorspb.Event]) error {
	since, follow, epoch := r.Msg.GetSince(), r.Msg.GetFollow(), r.Msg.GetEpoch()
	tree := s.supervisor.Snapshot()
	if since > tree.Sequence || epoch != "" && epoch != tree.Epoch {
		since = math.MaxUint64 // a number of another journal, which no event of this one has
	}
	if !follow && since == tree.Sequence {
		return nil
	}
	// Sends the headers, so that a client learns at once that it is connected.
	if err := stream.Send(nil); err != nil {
		return err
	}
	for event := range s.supervisor.Events(ctx, since) {
		if err := stream.Send(actorspb.FromEvent(event)); err != nil {
			return err
		}
		if !follow && event.Sequence >= tree.Sequence {
			return nil
		}
	}
	return nil
}

// Publish publishes a message.
func (s *service) Publish(ctx context.Context, r *connect.Request[actorspb.PublishRequest]) (*connect.Response[actorspb.CommandReply], error) {
	var caller *supervisor.Caller
	if principal := r.Msg.GetPrincipal(); principal != "" {
		caller = &supervisor.Caller{Principal: principal}
	}
	return done(s.supervisor.Publish(ctx, r.Msg.GetTopic(), []byte(r.Msg.GetPayload()), caller))
}

// Subscribe streams messages until the client or the daemon ends.
func (s *service) Subscribe(ctx context.Context, r *connect.Request[actorspb.SubscribeRequest], stream *connect.ServerStream[actorspb.BusMessage]) error {
	messages := s.supervisor.Subscribe(ctx, r.Msg.GetPattern())
	// Sends the headers, so that a client learns that messages wait for it from now on.
	if err := stream.Send(nil); err != nil {
		return err
	}
	for m, err := range messages {
		if err != nil {
			return coded(err)
		}
		if err := stream.Send(fromMessage(m)); err != nil {
			return err
		}
	}
	return nil
}

// fromMessage converts a message.
func fromMessage(m supervisor.Message) *actorspb.BusMessage {
	envelope, _ := m.MarshalJSON() // never fails
	return &actorspb.BusMessage{
		Topic: m.Topic, Payload: string(m.Payload), SourceId: m.SourceID, Principal: m.Principal,
		Timestamp: timestamppb.New(m.Timestamp), Sequence: m.Sequence, Lost: m.Lost, Envelope: string(envelope),
	}
}

// Start starts a capsule that has stopped or failed.
func (s *service) Start(ctx context.Context, r *connect.Request[actorspb.StartCapsule]) (*connect.Response[actorspb.CommandReply], error) {
	return done(s.supervisor.Start(ctx, r.Msg.GetId()))
}

// Stop stops a capsule.
func (s *service) Stop(ctx context.Context, r *connect.Request[actorspb.StopCapsule]) (*connect.Response[actorspb.CommandReply], error) {
	return done(s.supervisor.Stop(ctx, r.Msg.GetId()))
}

// Restart replaces a capsule's instance.
func (s *service) Restart(ctx context.Context, r *connect.Request[actorspb.RestartCapsule]) (*connect.Response[actorspb.CommandReply], error) {
	return done(s.supervisor.Restart(ctx, r.Msg.GetId()))
}

// Kill crashes a capsule.
func (s *service) Kill(ctx context.Context, r *connect.Request[actorspb.KillCapsule]) (*connect.Response[actorspb.CommandReply], error) {
	return done(s.supervisor.Kill(ctx, r.Msg.GetId()))
}

// Reload discovers the capsules again, and applies what has changed, also of the
// configuration if the request says so.
func (s *service) Reload(ctx context.Context, r *connect.Request[actorspb.ReloadRequest]) (*connect.Response[actorspb.ReloadReply], error) {
	var settings []messages.SettingChange
	var changes []messages.Change
	var err error
	if r.Msg.GetConfig() {
		settings, changes, err = s.supervisor.ReloadConfig(ctx)
	} else {
		changes, err = s.supervisor.Reload(ctx, r.Msg.GetIds()...)
	}
	if err != nil {
		return nil, coded(err)
	}
	reply := actorspb.FromChanges(changes)
	reply.Settings = actorspb.FromSettings(settings)
	return connect.NewResponse(reply), nil
}

// Remove stops a capsule and takes it out of the tree.
func (s *service) Remove(ctx context.Context, r *connect.Request[actorspb.RemoveCapsule]) (*connect.Response[actorspb.CommandReply], error) {
	if r.Msg.GetKeepFiles() {
		return done(s.supervisor.Remove(ctx, r.Msg.GetId()))
	}
	return done(s.supervisor.Uninstall(ctx, r.Msg.GetId()))
}

func done(err error) (*connect.Response[actorspb.CommandReply], error) {
	if err != nil {
		return nil, coded(err)
	}
	return connect.NewResponse(&actorspb.CommandReply{}), nil
}

// coded gives an error of the supervisor the code that control.proto promises.
func coded(err error) error {
	for _, c := range []struct {
		target error
		code   connect.Code
	}{
		{supervisor.ErrInvalid, connect.CodeInvalidArgument},
		{supervisor.ErrConfig, connect.CodeInvalidArgument},
		{supervisor.ErrInvalidKey, connect.CodeInvalidArgument},
		{supervisor.ErrNoKey, connect.CodeFailedPrecondition},
		{supervisor.ErrNotFound, connect.CodeNotFound},
		{supervisor.ErrRefused, connect.CodeFailedPrecondition},
		{supervisor.ErrNotUp, connect.CodeAborted},
		{supervisor.ErrUpgradeFailed, connect.CodeAborted},
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
