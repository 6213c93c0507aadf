package control

import (
	"context"
	"iter"

	"connectrpc.com/connect"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/messages/actorspb"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// Approvals returns the requests that wait for a person, oldest first, and then, if wanted,
// the decisions that are remembered.
func (c *Client) Approvals(ctx context.Context, remembered bool) ([]messages.Approval, error) {
	answer, err := c.people.Approvals(ctx, connect.NewRequest(&actorspb.ApprovalsRequest{Remembered: remembered}))
	if err != nil {
		return nil, err
	}
	return actorspb.ToApprovals(answer.Msg), nil
}

// WatchApprovals yields the requests that wait: at once, and after each change, until the
// daemon ends. An error comes last.
func (c *Client) WatchApprovals(ctx context.Context) iter.Seq2[[]messages.Approval, error] {
	return stream(ctx, c.people.WatchApprovals, &actorspb.ApprovalsRequest{}, actorspb.ToApprovals)
}

// Decide answers a request that waits.
func (c *Client) Decide(ctx context.Context, id string, d supervisor.Decision) error {
	_, err := c.people.Decide(ctx, connect.NewRequest(&actorspb.ApprovalDecision{Id: id, Decision: string(d)}))
	return err
}

// HookStore returns the state and the secrets of a capsule, in the daemon, for the hook of
// its installation. The capsule need not be known to the daemon.
func (c *Client) HookStore(capsule string) supervisor.HookStore { return &hookStore{c, capsule} }

type hookStore struct {
	client  *Client
	capsule string
}

// Get implements capsulehost.State.
func (h *hookStore) Get(ctx context.Context, principal, key string) ([]byte, error) {
	value, err := h.client.StateGet(ctx, h.of(principal), key)
	switch connect.CodeOf(err) {
	case connect.CodeNotFound, connect.CodeFailedPrecondition: // it keeps nothing, or not this
		return nil, nil
	}
	return value, err
}

func (h *hookStore) of(principal string) StateOf {
	return StateOf{Capsule: h.capsule, Principal: principal}
}

// Set implements capsulehost.State.
func (h *hookStore) Set(ctx context.Context, principal, key string, value []byte) error {
	_, err := h.client.state.Set(ctx, connect.NewRequest(&actorspb.StateEntry{
		Capsule: h.capsule, Principal: principal, Key: key, Value: value, UnknownCapsule: true,
	}))
	return err
}

// Delete implements capsulehost.State.
func (h *hookStore) Delete(ctx context.Context, principal, key string) error {
	_, err := h.client.StateDelete(ctx, h.of(principal), key)
	if connect.CodeOf(err) == connect.CodeNotFound {
		return nil
	}
	return err
}

// ListKeys implements capsulehost.State.
func (h *hookStore) ListKeys(ctx context.Context, principal, prefix string) (keys []string, err error) {
	for e, err := range h.client.StateList(ctx, h.of(principal), prefix, false) {
		switch {
		case connect.CodeOf(err) == connect.CodeNotFound:
			return nil, nil
		case err != nil:
			return nil, err
		}
		keys = append(keys, e.Key)
	}
	return keys, nil
}

// ClearPrefix deletes the keys one after another: no instance of the capsule that is
// installed runs beside its hook, and one of an older version may see a part.
func (h *hookStore) ClearPrefix(ctx context.Context, principal, prefix string) (int, error) {
	keys, err := h.ListKeys(ctx, principal, prefix)
	for n, key := range keys {
		if err := h.Delete(ctx, principal, key); err != nil {
			return n, err
		}
	}
	return len(keys), err
}

// SetSecret implements supervisor.HookStore.
func (h *hookStore) SetSecret(ctx context.Context, name, value string) error {
	_, err := h.client.people.SetSecret(ctx, connect.NewRequest(&actorspb.Secret{Capsule: h.capsule, Name: name, Value: value}))
	return err
}

// HasSecret implements supervisor.HookStore.
func (h *hookStore) HasSecret(ctx context.Context, name string) (bool, error) {
	answer, err := h.client.people.HasSecret(ctx, connect.NewRequest(&actorspb.SecretName{Capsule: h.capsule, Name: name}))
	if err != nil {
		return false, err
	}
	return answer.Msg.GetExists(), nil
}
