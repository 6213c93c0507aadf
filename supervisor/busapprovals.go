package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/approvals"
)

// Where front ends on the event bus learn of requests for approval, and answer them: on the
// second topic, followed by the request's id.
const (
	topicApproval       = "astrid.v1.approval"
	approvalAnswers     = "astrid.v1.approval.response."
	kindApproval        = "approval_required"
	kindApprovalAnswers = "approval_response"
)

// approvalRequired is the payload of topicApproval, and approvalResponse that of its answer.
type (
	approvalRequired struct {
		Type      string `json:"type"`
		RequestID string `json:"request_id"`
		Action    string `json:"action"`
		Resource  string `json:"resource"`
		Reason    string `json:"reason"`
		RiskLevel string `json:"risk_level"`
	}
	approvalResponse struct {
		Type     string `json:"type"`
		Decision string `json:"decision"`
	}
)

// announceApproval publishes a request that waits.
func (t *tree) announceApproval(a messages.Approval) {
	text, err := json.Marshal(approvalRequired{
		Type: kindApproval, RequestID: a.ID, Action: a.Action, Resource: a.Resource, RiskLevel: a.Risk,
		Reason: fmt.Sprintf("capsule %q asks, for %s", a.Capsule, a.Principal),
	})
	if err != nil { // never: it is a plain struct
		return
	}
	payload, err := capsulehost.ParsePayload(text)
	if err == nil {
		err = t.bus.Publish(context.Background(), &actors.Publication{Topic: topicApproval, Payload: payload, SourceID: actors.KernelSource})
	}
	if err != nil { // the topic is durable: it can still be answered elsewhere
		t.cfg.Log.Warn("announcing a request for approval failed", "id", a.ID, "err", err)
	}
}

// answerApprovals reads the answers of front ends until ctx ends.
func (t *tree) answerApprovals(ctx context.Context, answers *actors.Subscription) {
	var all []*capsulehost.Message
	for answers.Wait(ctx, nil) {
		all, _ = answers.Take(all[:0])
		for _, m := range all {
			id := strings.TrimPrefix(m.Topic, approvalAnswers)
			err := t.answerApproval(ctx, id, m)
			if err != nil && ctx.Err() == nil && !errors.Is(err, ErrNoApproval) { // somebody else may have been faster
				t.cfg.Log.Warn("an answer on the bus to a request for approval does not count", "id", id, "source", m.SourceID, "err", err)
			}
		}
	}
}

// answerApproval decides on a request as a message says. The message is a person's if it
// comes from outside, or through an uplink: those are what people write to. It is none if it
// comes from the capsule that asks, or on behalf of somebody whom the request is not for.
func (t *tree) answerApproval(ctx context.Context, id string, m *capsulehost.Message) error {
	var answer approvalResponse
	if err := json.Unmarshal(m.Payload.Bytes(), &answer); err != nil || answer.Type != kindApprovalAnswers {
		return fmt.Errorf("its payload is not of the type %s", kindApprovalAnswers)
	}
	decision := approvals.Decision(answer.Decision)
	switch decision {
	case ApproveOnce, ApproveSession, ApproveAlways:
	default: // whatever else it says, it does not approve
		decision = Deny
	}
	by, through := "a person, on the bus", ""
	if m.SourceID != t.owner.source {
		capsule, err := t.findSession(ctx, m.SourceID)
		if err != nil {
			return fmt.Errorf("find the capsule that sent it: %w", err)
		}
		if v := t.version(capsule); v == nil || !v.entry.Manifest.Capabilities.Uplink {
			return fmt.Errorf("capsule %q is no uplink", capsule)
		}
		by, through = fmt.Sprintf("a person, through capsule %s", capsule), capsule
	}
	return t.approvals.Answer(ctx, id, decision, by, func(q messages.Approval) error {
		switch {
		case q.Capsule == through:
			return errors.New("it comes from the capsule that asks")
		case m.Principal != "" && m.Principal != t.cfg.Principal && m.Principal != q.Principal:
			return fmt.Errorf("it is on behalf of %q, and the request is not", m.Principal)
		}
		return nil
	})
}
