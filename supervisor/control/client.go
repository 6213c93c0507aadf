package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/messages/actorspb"
	"github.com/astrid-actors/astrid-actors/messages/actorspb/actorspbconnect"
)

// ErrNoDaemon: no process listens on that socket.
var ErrNoDaemon = errors.New("no daemon at that socket")

// Client sends requests to a running daemon. Create one with [Dial]. Its methods may be
// called from any goroutine. Their errors match [ErrNoDaemon] or [ErrNoAnswer], or have the
// code that the service returned (connect.CodeOf).
type Client struct {
	path   string
	rpc    actorspbconnect.ControlClient
	state  actorspbconnect.StateClient
	people actorspbconnect.PeopleClient
}

// Dial returns a client of the daemon that listens on path. It connects with the first
// request, and needs no close. A request may last, but only while the daemon shows signs of
// life: a daemon that hangs is given up on after DefaultPatience.
func Dial(path string) *Client { return newClient(path, DefaultPatience) }

// WithPatience returns a client that waits that long for a daemon that hangs. It must be
// positive.
func (c *Client) WithPatience(patience time.Duration) *Client { return newClient(c.path, patience) }

func newClient(path string, patience time.Duration) *Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "unix", path)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
				return nil, fmt.Errorf("%w: %s", ErrNoDaemon, path)
			}
			return c, err
		},
		DisableCompression: true,
		DisableKeepAlives:  true, // so that there is nothing to close
	}
	client := &http.Client{Transport: &watched{Transport: transport, patience: patience}}
	uncompressed := connect.WithAcceptCompression("gzip", nil, nil)
	return &Client{
		path: path, rpc: actorspbconnect.NewControlClient(client, "http://astrid", uncompressed),
		state:  actorspbconnect.NewStateClient(client, "http://astrid", uncompressed),
		people: actorspbconnect.NewPeopleClient(client, "http://astrid", uncompressed),
	}
}

// TriggerRequest invokes every interceptor that matches a topic.
type TriggerRequest struct {
	// Topic has dot-separated segments, none empty.
	Topic string
	// Payload is JSON of at most supervisor.MaxPayload bytes; empty means null.
	Payload json.RawMessage
	// Principal on whose behalf the trigger is sent; empty for none.
	Principal string
	// Timeout for all answers; 0 means the daemon's default.
	Timeout time.Duration
}

// Trigger sends a trigger and returns its reply. Cancelling ctx cancels it.
func (c *Client) Trigger(ctx context.Context, r TriggerRequest) (*messages.Reply, error) {
	request := &actorspb.TriggerRequest{Topic: r.Topic, Payload: string(r.Payload), Principal: r.Principal}
	if r.Timeout != 0 {
		request.Timeout = durationpb.New(r.Timeout)
	}
	return ask(ctx, c.rpc.Trigger, request, actorspb.ToReply)
}

// Traces returns the last 100 triggers and messages with all that followed from them, the
// oldest first; or, unless id is 0, the trace with that id.
func (c *Client) Traces(ctx context.Context, id uint64) ([]messages.Trace, error) {
	answer, err := c.rpc.Traces(ctx, connect.NewRequest(&actorspb.TracesRequest{Id: id}))
	if err != nil {
		return nil, err
	}
	var traces []messages.Trace
	for _, t := range answer.Msg.GetTraces() {
		traces = append(traces, actorspb.ToTrace(t))
	}
	return traces, nil
}

// Publish publishes a message on the event bus, on behalf of a principal, empty for none.
// The payload is JSON of at most supervisor.MaxMessage bytes; empty means null.
func (c *Client) Publish(ctx context.Context, topic string, payload json.RawMessage, principal string) error {
	return command(ctx, c.rpc.Publish, &actorspb.PublishRequest{Topic: topic, Payload: string(payload), Principal: principal})
}

// Message is a message on the event bus.
type Message struct {
	Topic     string
	Payload   json.RawMessage // as interceptors receive it
	SourceID  string
	Principal string // empty for none
	Timestamp time.Time
	Sequence  uint64
	// Lost counts the messages before this one that the reader was too slow for.
	Lost uint64
	// Envelope is the message as capsules receive it in an envelope: a JSON object.
	Envelope json.RawMessage
}

// Subscribe returns when the daemon has subscribed to a pattern, with the messages from
// then on, until the daemon or ctx ends. An error comes last, with a zero message.
func (c *Client) Subscribe(ctx context.Context, pattern string) (iter.Seq2[Message, error], error) {
	answers, err := c.rpc.Subscribe(ctx, connect.NewRequest(&actorspb.SubscribeRequest{Pattern: pattern}))
	if err != nil {
		return nil, err
	}
	return received(answers, toMessage), nil
}

func toMessage(m *actorspb.BusMessage) Message {
	return Message{
		Topic: m.GetTopic(), Payload: json.RawMessage(m.GetPayload()), SourceID: m.GetSourceId(), Principal: m.GetPrincipal(),
		Timestamp: m.GetTimestamp().AsTime(), Sequence: m.GetSequence(), Lost: m.GetLost(), Envelope: json.RawMessage(m.GetEnvelope()),
	}
}

// Snapshot returns the tree. With waitUntilStarted it waits until the first start of
// every capsule has a result, or ctx ends.
func (c *Client) Snapshot(ctx context.Context, waitUntilStarted bool) (*messages.Tree, error) {
	return ask(ctx, c.rpc.Snapshot, &actorspb.SnapshotRequest{WaitUntilStarted: waitUntilStarted}, actorspb.ToTree)
}

// Capsule returns one capsule in detail.
func (c *Client) Capsule(ctx context.Context, id string) (*messages.CapsuleDetail, error) {
	return ask(ctx, c.rpc.Capsule, &actorspb.CapsuleRequest{Id: id}, actorspb.ToCapsuleDetail)
}

// Start starts a capsule that has stopped or failed, and returns when the start has
// succeeded or failed; at once if it runs.
func (c *Client) Start(ctx context.Context, id string) error {
	return command(ctx, c.rpc.Start, &actorspb.StartCapsule{Id: id})
}

// Stop stops a capsule, and returns when it has ended; at once if it does not run.
func (c *Client) Stop(ctx context.Context, id string) error {
	return command(ctx, c.rpc.Stop, &actorspb.StopCapsule{Id: id})
}

// Restart replaces a capsule's instance, and returns when the start of the new one has
// succeeded or failed.
func (c *Client) Restart(ctx context.Context, id string) error {
	return command(ctx, c.rpc.Restart, &actorspb.RestartCapsule{Id: id})
}

// Kill crashes a capsule, and returns when it has crashed.
func (c *Client) Kill(ctx context.Context, id string) error {
	return command(ctx, c.rpc.Kill, &actorspb.KillCapsule{Id: id})
}

// Reload discovers the capsules again, or only those with some ids, and applies what has
// changed. It returns one change for each capsule, sorted by id.
func (c *Client) Reload(ctx context.Context, ids ...string) ([]messages.Change, error) {
	answer, err := c.rpc.Reload(ctx, connect.NewRequest(&actorspb.ReloadRequest{Ids: ids}))
	if err != nil {
		return nil, err
	}
	return actorspb.ToChanges(answer.Msg), nil
}

// ReloadConfig makes the daemon read its configuration again, and then do what Reload
// does. It returns the settings, and the capsules, that have changed.
func (c *Client) ReloadConfig(ctx context.Context) ([]messages.SettingChange, []messages.Change, error) {
	answer, err := c.rpc.Reload(ctx, connect.NewRequest(&actorspb.ReloadRequest{Config: true}))
	if err != nil {
		return nil, nil, err
	}
	return actorspb.ToSettings(answer.Msg), actorspb.ToChanges(answer.Msg), nil
}

// Remove stops a capsule, and takes it out of the tree. Its files stay.
func (c *Client) Remove(ctx context.Context, id string) error {
	return command(ctx, c.rpc.Remove, &actorspb.RemoveCapsule{Id: id, KeepFiles: true})
}

// Uninstall is Remove, and removes the capsule's directory if an installation has made it.
func (c *Client) Uninstall(ctx context.Context, id string) error {
	return command(ctx, c.rpc.Remove, &actorspb.RemoveCapsule{Id: id})
}

// Logs yields the lines of a capsule's log after the line numbered since, as far back as
// they are kept, and with follow also new lines until the daemon ends. An error comes
// last, with a zero line.
func (c *Client) Logs(ctx context.Context, id string, since uint64, follow bool) iter.Seq2[messages.LogLine, error] {
	return stream(ctx, c.rpc.Logs, &actorspb.LogsRequest{Id: id, Since: since, Follow: follow}, actorspb.ToLogLine)
}

// EventsRequest selects events.
type EventsRequest struct {
	// Since is the number of the last event that the reader knows; 0 for none.
	Since uint64
	// Epoch of the journal that numbered Since, from messages.Tree or
	// messages.EpochChanged; empty for the daemon's current one.
	Epoch string
	// Follow continues with new events until the daemon ends.
	Follow bool
}

// Events yields the events after Since, as far back as they are kept. If the daemon has
// been restarted and no longer has that event, the first event is a
// messages.EpochChanged, and all kept events follow. An error comes last, with a zero
// event.
func (c *Client) Events(ctx context.Context, r EventsRequest) iter.Seq2[messages.Event, error] {
	request := &actorspb.EventsRequest{Since: r.Since, Epoch: r.Epoch, Follow: r.Follow}
	return stream(ctx, c.rpc.Events, request, actorspb.ToEvent)
}

// ask sends one request and converts its answer.
func ask[Request, Answer, Plain any](
	ctx context.Context, call func(context.Context, *connect.Request[Request]) (*connect.Response[Answer], error),
	r *Request, plain func(*Answer) *Plain,
) (*Plain, error) {
	answer, err := call(ctx, connect.NewRequest(r))
	if err != nil {
		return nil, err
	}
	return plain(answer.Msg), nil
}

func command[Request any](
	ctx context.Context, call func(context.Context, *connect.Request[Request]) (*connect.Response[actorspb.CommandReply], error),
	r *Request,
) error {
	_, err := call(ctx, connect.NewRequest(r))
	return err
}

// stream sends a request and yields its answers, converted.
func stream[Request, Answer, Plain any](
	ctx context.Context, call func(context.Context, *connect.Request[Request]) (*connect.ServerStreamForClient[Answer], error),
	r *Request, plain func(*Answer) Plain,
) iter.Seq2[Plain, error] {
	return func(yield func(Plain, error) bool) {
		var zero Plain
		answers, err := call(ctx, connect.NewRequest(r))
		if err != nil {
			yield(zero, err)
			return
		}
		received(answers, plain)(yield)
	}
}

// received yields the answers of a stream, converted.
func received[Answer, Plain any](answers *connect.ServerStreamForClient[Answer], plain func(*Answer) Plain) iter.Seq2[Plain, error] {
	return func(yield func(Plain, error) bool) {
		defer answers.Close()
		for answers.Receive() {
			if !yield(plain(answers.Msg()), nil) {
				return
			}
		}
		if err := answers.Err(); err != nil {
			var zero Plain
			yield(zero, err)
		}
	}
}
