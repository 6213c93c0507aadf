package guest

import (
	"fmt"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"
)

// maxSocketMessage is the size of the largest message of a client, in bytes.
const maxSocketMessage = 10 << 20

// Listener is the system's socket, at which one capsule serves clients.
type Listener struct{ handle string }

// Client is the connection of a client.
type Client struct{ handle string }

// Listen binds the socket. The manifest grants it with net_bind.
func Listen() Listener { return Listener{abi.NetBindUnix("")} }

// Accept waits for a client. At most 8 are open: one more kills the capsule.
func (l Listener) Accept() Client { return Client{abi.NetAccept(l.handle)} }

// Poll returns a client that waits; ok is false if there is none, or 8 are open.
func (l Listener) Poll() (c Client, ok bool) {
	handle := abi.NetPollAccept(l.handle)
	return Client{handle}, handle != ""
}

// Receive returns the next message. It waits for up to 50 ms: ok is false if there is none
// yet, and gone is true if the client has gone: close it then.
func (c Client) Receive() (message []byte, ok, gone bool) {
	answer := abi.NetRead(c.handle)
	switch {
	case answer == "" || answer[0] == 1:
		return nil, false, true
	case answer[0] == 0:
		return []byte(answer[1:]), true, false
	default:
		return nil, false, false
	}
}

// Send sends a message of at most 10 MiB. That the client has gone is no error: Receive
// tells of it.
func (c Client) Send(message []byte) error {
	if len(message) > maxSocketMessage {
		return fmt.Errorf("send to a client: %d bytes: the host takes %d", len(message), maxSocketMessage)
	}
	abi.NetWrite(c.handle, string(message))
	return nil
}

// Close ends the connection; one that has ended is no error.
func (c Client) Close() { abi.NetCloseStream(c.handle) }
