package topiclog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost"
)

const (
	topicPrefix  = "topic/"
	eventPrefix  = "event/"
	cursorPrefix = "cursor/"
)

// eventKey sorts as the positions do.
func eventKey(topic string, position uint64) string {
	return fmt.Sprintf("%s%s/%016x", eventPrefix, topic, position)
}

// cursorKey has the action last: it may have a slash, and the others can't.
func cursorKey(s actors.DurableSubscription) string {
	return cursorPrefix + s.Capsule + "/" + s.Topic + "/" + s.Action
}

// header is the first line of a stored message; its payload follows.
type header struct {
	At        time.Time `json:"at"`
	Depth     int       `json:"depth,omitempty"`
	Principal string    `json:"principal,omitempty"`
	Publisher string    `json:"publisher,omitempty"`
	Source    string    `json:"source"`
}

func encodeMessage(k *actors.Kept) ([]byte, error) {
	text, err := json.Marshal(header{
		At: k.Timestamp.UTC(), Depth: k.Depth, Principal: k.Principal, Publisher: k.Publisher, Source: k.SourceID,
	})
	if err != nil {
		return nil, err
	}
	return k.Payload.AppendKept(append(text, '\n')), nil
}

func decodeHeader(value []byte) (h header, payload []byte, err error) {
	text, payload, ok := bytes.Cut(value, []byte{'\n'})
	if !ok {
		return h, nil, errors.New("a stored message has no header")
	}
	err = json.Unmarshal(text, &h)
	return h, payload, err
}

func decodeMessage(topic string, position uint64, value []byte) (*actors.Kept, error) {
	h, kept, err := decodeHeader(value)
	if err != nil {
		return nil, err
	}
	payload, err := capsulehost.KeptPayload(kept)
	if err != nil {
		return nil, err
	}
	return &actors.Kept{
		Message: &capsulehost.Message{
			Topic: topic, Payload: payload, SourceID: h.Source, Timestamp: h.At, Principal: h.Principal,
		},
		Publisher: h.Publisher, Depth: h.Depth, Position: position,
	}, nil
}

// head is what the store has of a topic: the messages from First to Last, of Bytes
// together. It has none if First is above Last.
type head struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	Bytes uint64 `json:"bytes"`
	Keep  Keep   `json:"keep"`
}

// progress is what the store has of a subscription: the position that was answered last,
// and how many attempts have failed with the next one.
type progress struct {
	Position uint64 `json:"position"`
	Attempts int    `json:"attempts,omitempty"`
}

func encode(value any) []byte {
	text, _ := json.Marshal(value) // plain structs never fail
	return text
}
