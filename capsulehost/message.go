package capsulehost

import (
	"strconv"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// Message is one event on the bus. It is immutable, and shared by all receivers.
type Message struct {
	Topic   string
	Payload Payload
	// SourceID is the session of the capsule that published it, or another UUID.
	SourceID string
	// Timestamp is when it was published.
	Timestamp time.Time
	// Sequence counts the bus's messages, from 1.
	Sequence uint64
	// Principal on whose behalf it was published; "" for none.
	Principal string
}

// AppendJSON appends the message as guests receive it: the reference's JSON.
func (m *Message) AppendJSON(out []byte) []byte {
	out = m.Payload.appendTagged(append(out, `{"payload":`...))
	if m.Principal != "" {
		out = serdejson.AppendString(append(out, `,"principal":`...), m.Principal)
	}
	out = strconv.AppendUint(append(out, `,"seq":`...), m.Sequence, 10)
	out = serdejson.AppendString(append(out, `,"signature":null,"source_id":`...), m.SourceID)
	out = serdejson.AppendString(append(out, `,"timestamp":`...), timestamp(m.Timestamp, "Z"))
	out = serdejson.AppendString(append(out, `,"topic":`...), m.Topic)
	return append(out, '}')
}

// Batch is what a subscription had for its guest.
type Batch struct {
	Messages []*Message
	// Dropped counts the messages that did not fit into the batch, and are lost.
	Dropped uint64
	// Lagged counts those that the subscription has lost since the last batch, because
	// it was read too slowly.
	Lagged uint64
}

// appendJSON appends the envelope of astrid_ipc_poll and astrid_ipc_recv.
func (b *Batch) appendJSON(out []byte) []byte {
	out = strconv.AppendUint(append(out, `{"dropped":`...), b.Dropped, 10)
	out = strconv.AppendUint(append(out, `,"lagged":`...), b.Lagged, 10)
	out = append(out, `,"messages":[`...)
	for n, m := range b.Messages {
		if n > 0 {
			out = append(out, ',')
		}
		out = m.AppendJSON(out)
	}
	return append(out, `]}`...)
}
