package control

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/astrid-actors/astrid-actors/messages/actorspb"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// maxPeopleRequest limits a request of the People service on the wire, in bytes: the
// longest secret, as JSON may escape it.
const maxPeopleRequest = 6*64<<10 + 4<<10

// peopleService does for the People service what service does for Control.
type peopleService struct{ supervisor *supervisor.Supervisor }

// Approvals returns the requests that wait, and those that are remembered.
func (s *peopleService) Approvals(ctx context.Context, r *connect.Request[actorspb.ApprovalsRequest]) (*connect.Response[actorspb.ApprovalList], error) {
	all, err := s.supervisor.Approvals()
	if err == nil && r.Msg.GetRemembered() {
		var remembered []supervisor.Approval
		remembered, err = s.supervisor.RememberedApprovals(ctx)
		all = append(all, remembered...)
	}
	if err != nil {
		return nil, coded(err)
	}
	return connect.NewResponse(actorspb.FromApprovals(all)), nil
}

// WatchApprovals streams the requests that wait.
func (s *peopleService) WatchApprovals(ctx context.Context, _ *connect.Request[actorspb.ApprovalsRequest], stream *connect.ServerStream[actorspb.ApprovalList]) error {
	lists, err := s.supervisor.WatchApprovals(ctx)
	if err != nil {
		return coded(err)
	}
	for waiting := range lists {
		if err := stream.Send(actorspb.FromApprovals(waiting)); err != nil {
			return err
		}
	}
	return nil
}

// Decide answers a request.
func (s *peopleService) Decide(ctx context.Context, r *connect.Request[actorspb.ApprovalDecision]) (*connect.Response[actorspb.DecisionReply], error) {
	err := s.supervisor.Decide(ctx, r.Msg.GetId(), supervisor.Decision(r.Msg.GetDecision()))
	if errors.Is(err, supervisor.ErrNoApproval) {
		return nil, connect.NewError(connect.CodeNotFound, err)
	}
	if err != nil {
		return nil, coded(err)
	}
	return connect.NewResponse(&actorspb.DecisionReply{}), nil
}

// SetSecret keeps a secret.
func (s *peopleService) SetSecret(ctx context.Context, r *connect.Request[actorspb.Secret]) (*connect.Response[actorspb.SecretReply], error) {
	existed, err := s.supervisor.HasSecret(ctx, r.Msg.GetCapsule(), r.Msg.GetName())
	if err == nil {
		err = s.supervisor.SetSecret(ctx, r.Msg.GetCapsule(), r.Msg.GetName(), r.Msg.GetValue())
	}
	if err != nil {
		return nil, coded(err)
	}
	return connect.NewResponse(&actorspb.SecretReply{Exists: existed}), nil
}

// HasSecret reports whether a secret is kept.
func (s *peopleService) HasSecret(ctx context.Context, r *connect.Request[actorspb.SecretName]) (*connect.Response[actorspb.SecretReply], error) {
	exists, err := s.supervisor.HasSecret(ctx, r.Msg.GetCapsule(), r.Msg.GetName())
	if err != nil {
		return nil, coded(err)
	}
	return connect.NewResponse(&actorspb.SecretReply{Exists: exists}), nil
}
