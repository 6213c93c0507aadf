package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"
)

// The limits of a message: exceeding one kills the capsule, as a topic does that the
// manifest does not grant.
const (
	maxTopic   = 256
	maxPublish = 5 << 20
)

// Publish publishes a message on the event bus: every subscription to the topic receives
// it, and every capsule with an interceptor for it is called with it, one after another.
// Publish does not wait for them. The manifest must grant the topic in `ipc_publish`.
//
// The error concerns the request: a topic longer than 256 bytes, a payload that can't be
// encoded as JSON, or one larger than 5 MiB. A capsule that publishes more than 10 MiB in
// a second is killed.
func Publish(topic string, payload any) error {
	text, err := json.Marshal(payload)
	switch {
	case err != nil:
		return fmt.Errorf("publish %q: %w", topic, err)
	case len(topic) > maxTopic:
		return fmt.Errorf("publish: the topic has %d bytes, the host takes %d", len(topic), maxTopic)
	case len(text) > maxPublish:
		return fmt.Errorf("publish %q: the payload has %d bytes, the host takes %d", topic, len(text), maxPublish)
	}
	abi.Publish(topic, string(text))
	return nil
}

// Message is a message on the event bus.
type Message struct {
	Topic string
	// Type is "custom" for a payload without a type that the host knows.
	Type string
	// Payload is JSON: what was published, if Type is custom; else an object with its
	// type and fields.
	Payload json.RawMessage
	// SourceID is the session UUID of the capsule that published it; Principal, "" for
	// none, is on whose behalf.
	SourceID  string
	Principal string
	Timestamp time.Time
	Sequence  uint64 // counts the messages on the bus
}

// UnmarshalJSON reads a message of an envelope.
func (m *Message) UnmarshalJSON(text []byte) error {
	var in struct {
		Topic     string          `json:"topic"`
		Payload   json.RawMessage `json:"payload"`
		SourceID  string          `json:"source_id"`
		Principal string          `json:"principal"`
		Timestamp time.Time       `json:"timestamp"`
		Sequence  uint64          `json:"seq"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	var payload struct {
		Type string          `json:"type"`
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(in.Payload, &payload); err != nil {
		return err
	}
	if payload.Type == "custom" {
		in.Payload = payload.Data
	}
	*m = Message{in.Topic, payload.Type, in.Payload, in.SourceID, in.Principal, in.Timestamp, in.Sequence}
	return nil
}

// Batch is what a subscription had.
type Batch struct {
	Messages []Message `json:"messages"`
	// Dropped counts messages that did not fit into a batch of 10 MiB, and Lagged those
	// that the subscription has lost because it was read too slowly: it holds 1,024.
	Dropped uint64 `json:"dropped"`
	Lagged  uint64 `json:"lagged"`
}

// Subscription receives the messages whose topic matches its pattern, until the capsule's
// instance ends.
type Subscription struct{ handle string }

// Subscribe subscribes to the topics that match a pattern: a `*` as its last segment is one
// segment or more. A capsule may have 128 subscriptions. The manifest must grant the
// pattern itself in `ipc_subscribe`; one that it does not grant, or that is malformed,
// kills the capsule.
func Subscribe(pattern string) Subscription { return Subscription{abi.Subscribe(pattern)} }

// Poll returns what waits.
func (s Subscription) Poll() (Batch, error) { return batch(abi.Poll(s.handle)) }

// Receive waits for a message, at most a minute, and returns all that wait then. A batch
// without messages is no error. Only run loops should wait: a call of the capsule that
// waits keeps all others waiting.
func (s Subscription) Receive(wait time.Duration) (Batch, error) {
	return batch(abi.Receive(s.handle, strconv.FormatInt(max(0, wait.Milliseconds()), 10)))
}

// Unsubscribe ends the subscription. That of an interceptor can't be ended.
func (s Subscription) Unsubscribe() { abi.Unsubscribe(s.handle) }

func batch(envelope string) (b Batch, err error) {
	if err := json.Unmarshal([]byte(envelope), &b); err != nil {
		return Batch{}, fmt.Errorf("read the messages: %w", err)
	}
	return b, nil
}

// Interceptor is an interceptor of a run loop: its messages arrive at a subscription,
// since a run loop is never called.
type Interceptor struct {
	Action       string
	Topic        string // the interceptor's pattern
	Subscription Subscription
}

// Interceptors returns the interceptors of a run-loop capsule's manifest, in their order;
// none for any other capsule.
func Interceptors() ([]Interceptor, error) {
	var handles []struct {
		Handle json.Number `json:"handle_id"`
		Action string      `json:"action"`
		Topic  string      `json:"topic"`
	}
	if err := json.Unmarshal([]byte(abi.InterceptorHandles()), &handles); err != nil {
		return nil, errors.New("read the interceptors: " + err.Error())
	}
	var out []Interceptor
	for _, h := range handles {
		out = append(out, Interceptor{h.Action, h.Topic, Subscription{h.Handle.String()}})
	}
	return out, nil
}
