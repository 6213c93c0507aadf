package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

// MaxMessage is the size of the largest payload of a message, in bytes.
const MaxMessage = capsulehost.MaxBusPayload

// Message is a message on the event bus.
type Message struct {
	Topic string
	// Payload as interceptors receive it: without its type if that is custom or raw_json. All
	// receivers share it, so it must not be changed.
	Payload json.RawMessage
	// SourceID is the session of the capsule that published it, or another UUID.
	SourceID string
	// Principal on whose behalf it was published; "" for none.
	Principal string
	Timestamp time.Time
	// Sequence counts the messages of one Serve, from 1.
	Sequence uint64
	// Lost counts the messages before this one that the reader was too slow for.
	Lost uint64

	sent *capsulehost.Message
}

// MarshalJSON returns the message as capsules receive it in an envelope: with the fields
// payload (with its type), principal, seq, signature, source_id, timestamp and topic.
func (m Message) MarshalJSON() ([]byte, error) { return m.sent.AppendJSON(nil), nil }

// Publish publishes a message on the event bus. It returns when the message has its
// number and every subscription has it, before any interceptor is called: what
// interceptors do with it is not reported, except as events and counts. The payload is
// JSON of at most MaxMessage bytes; empty means null. A nil caller publishes with the
// supervisor's own source and no principal. Its errors match ErrInvalid, ErrNotServing or
// ErrStopping.
func (s *Supervisor) Publish(ctx context.Context, topic string, payload json.RawMessage, caller *Caller) error {
	var what actors.Publication
	if err := publication(&what, topic, payload, caller); err != nil {
		return err
	}
	if what.SourceID == "" {
		what.SourceID = s.source
	}
	t, err := s.serving()
	switch {
	case err != nil:
	case t.isStopping():
		err = ErrStopping
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	default:
		err = t.bus.Publish(ctx, &what)
	}
	if err != nil {
		return fmt.Errorf("publish %q: %w", topic, err)
	}
	return nil
}

// CheckMessage checks a message as Publish does: its error matches ErrInvalid.
func CheckMessage(topic string, payload json.RawMessage, caller *Caller) error {
	var what actors.Publication
	return publication(&what, topic, payload, caller)
}

// publication checks what is published, and fills it in. It shares no memory with the
// caller, and has no source if the caller names none.
func publication(p *actors.Publication, topic string, payload json.RawMessage, caller *Caller) (err error) {
	if err := capsulehost.CheckTopic(topic); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(payload) > MaxMessage {
		return fmt.Errorf("%w: the payload has %d bytes, over the limit of %d", ErrInvalid, len(payload), MaxMessage)
	}
	text := null
	if len(payload) > 0 {
		text = bytes.Clone(payload)
	}
	p.Topic = topic
	if p.Payload, err = capsulehost.ParsePayload(text); err != nil {
		return fmt.Errorf("%w: the payload is not JSON: %w", ErrInvalid, err)
	}
	if caller == nil {
		return nil
	}
	if caller.Principal != "" {
		if _, err := home.ParsePrincipal(caller.Principal); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	if caller.SourceID != "" {
		id, err := uuid.Parse(caller.SourceID)
		if err != nil {
			return fmt.Errorf("%w: caller's source id %q is not a UUID", ErrInvalid, caller.SourceID)
		}
		p.SourceID = id.String()
	}
	p.Principal, p.Timestamp = caller.Principal, caller.Timestamp
	return nil
}

// Subscribe yields the messages whose topic matches a pattern, from now on, until ctx ends
// or Serve returns. A `*` is any one segment; at the end, after another one, it is one or
// more. A reader that is too slow loses the oldest messages: the next one says how many.
// The messages wait from the call of Subscribe on, so end ctx even if they are never read.
// The only error, as the last pair, is that the pattern is invalid (ErrInvalid) or that
// Serve does not run (ErrNotServing). One goroutine may read.
func (s *Supervisor) Subscribe(ctx context.Context, pattern string) iter.Seq2[Message, error] {
	fails := func(err error) iter.Seq2[Message, error] {
		return func(yield func(Message, error) bool) {
			yield(Message{}, fmt.Errorf("subscribe to %q: %w", pattern, err))
		}
	}
	if err := capsulehost.CheckPattern(pattern); err != nil {
		return fails(fmt.Errorf("%w: %w", ErrInvalid, err))
	}
	t, err := s.serving()
	if err != nil {
		return fails(err)
	}
	subscription := t.bus.Subscribe(pattern)
	end := context.AfterFunc(ctx, subscription.Close)
	return func(yield func(Message, error) bool) {
		defer func() {
			end()
			subscription.Close()
		}()
		var all []*capsulehost.Message // used again for each batch
		for subscription.Wait(ctx, nil) {
			var lost uint64
			all, lost = subscription.Take(all[:0])
			for n, m := range all {
				all[n] = nil // the reader alone keeps it
				if ctx.Err() != nil || !yield(message(m, lost), nil) {
					return
				}
				lost = 0
			}
		}
	}
}

// message returns a message for the caller.
func message(m *capsulehost.Message, lost uint64) Message {
	return Message{
		Topic: m.Topic, Payload: m.Payload.Bytes(), SourceID: m.SourceID, Principal: m.Principal,
		Timestamp: m.Timestamp, Sequence: m.Sequence, Lost: lost, sent: m,
	}
}
