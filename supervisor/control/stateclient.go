package control

import (
	"context"
	"errors"
	"io"
	"iter"

	"connectrpc.com/connect"

	"github.com/astrid-actors/astrid-actors/messages/actorspb"
)

// StateOf names the durable state of a capsule.
type StateOf struct {
	Capsule   string
	Principal string // "" means the principal that owns the capsules
}

// StateEntry is one key of a capsule's state.
type StateEntry struct {
	Key   string
	Value []byte
	Size  uint64 // of the value, in bytes
}

// StateGet returns a value of a capsule's state.
func (c *Client) StateGet(ctx context.Context, of StateOf, key string) ([]byte, error) {
	answer, err := c.state.Get(ctx, connect.NewRequest(&actorspb.StateKey{Capsule: of.Capsule, Principal: of.Principal, Key: key}))
	if err != nil {
		return nil, err
	}
	return answer.Msg.GetValue(), nil
}

// StateSet sets a value of a capsule's state. It is durable when StateSet returns nil.
func (c *Client) StateSet(ctx context.Context, of StateOf, key string, value []byte) error {
	_, err := c.state.Set(ctx, connect.NewRequest(&actorspb.StateEntry{Capsule: of.Capsule, Principal: of.Principal, Key: key, Value: value}))
	return err
}

// StateDelete deletes a key of a capsule's state, and reports whether there was one.
func (c *Client) StateDelete(ctx context.Context, of StateOf, key string) (existed bool, err error) {
	answer, err := c.state.Delete(ctx, connect.NewRequest(&actorspb.StateKey{Capsule: of.Capsule, Principal: of.Principal, Key: key}))
	if err != nil {
		return false, err
	}
	return answer.Msg.GetExisted(), nil
}

// StateList yields the entries whose keys have a prefix, ordered by key. An error comes
// last, with a zero entry.
func (c *Client) StateList(ctx context.Context, of StateOf, prefix string, values bool) iter.Seq2[StateEntry, error] {
	request := &actorspb.StateRange{Capsule: of.Capsule, Principal: of.Principal, Prefix: prefix, WithValues: values}
	return stream(ctx, c.state.List, request, func(e *actorspb.StateEntry) StateEntry {
		return StateEntry{Key: e.GetKey(), Value: e.GetValue(), Size: e.GetSize()}
	})
}

// Backup writes the daemon's state to w, as a file for Restore.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	parts := stream(ctx, c.state.Backup, &actorspb.BackupRequest{}, func(p *actorspb.FilePart) []byte { return p.GetData() })
	for part, err := range parts {
		if err == nil {
			_, err = w.Write(part)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Restore replaces the daemon's state by a backup, and returns the capsules that were
// restarted.
func (c *Client) Restore(ctx context.Context, r io.Reader) (restarted []string, err error) {
	stream := c.state.Restore(ctx)
	_, err = io.Copy(sentParts(func(p []byte) error { return stream.Send(&actorspb.FilePart{Data: p}) }), r)
	if err != nil && !errors.Is(err, io.EOF) { // EOF: the answer says why
		_, _ = stream.CloseAndReceive() // the first error matters
		return nil, err
	}
	answer, err := stream.CloseAndReceive()
	if err != nil {
		return nil, err
	}
	return answer.Msg.GetRestarted(), nil
}
