package sockets

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/astrid-actors/astrid-actors/internal/unixsocket"
)

const (
	tokenSize       = 32   // bytes
	maxHandshake    = 4096 // bytes
	protocolVersion = 1
)

// hello is the first message of a client.
type hello struct {
	Token           *string `json:"token"`
	ProtocolVersion *uint8  `json:"protocol_version"`
	ClientVersion   *string `json:"client_version"`
}

// welcome is the answer.
type welcome struct {
	Status          string `json:"status"`
	ProtocolVersion uint8  `json:"protocol_version"`
	ServerVersion   string `json:"server_version"`
	Reason          string `json:"reason,omitempty"`
}

// check returns an error unless the client is of this process's user, and knows the token.
// The version of the protocol is checked first, so that no answer tells of a token.
func (d *Door) check(ctx context.Context, c *net.UnixConn, token []byte) error {
	if uid, err := unixsocket.PeerUID(c); err != nil || int(uid) != os.Geteuid() {
		return errors.Join(fmt.Errorf("it is of user %d, not of %d", uid, os.Geteuid()), err)
	}
	if err := c.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) }) // the last one to set it
	defer stop()
	text, err := readHello(c)
	if err != nil {
		return fmt.Errorf("it has not said who it is: %w", err)
	}
	var h hello
	if err := json.Unmarshal(text, &h); err != nil || h.Token == nil || h.ProtocolVersion == nil || h.ClientVersion == nil {
		return errors.New("its first message is not a handshake")
	}
	if *h.ProtocolVersion != protocolVersion {
		reason := fmt.Sprintf("the server speaks version %d of the protocol, not %d", protocolVersion, *h.ProtocolVersion)
		return errors.Join(errors.New(reason), d.answer(c, reason))
	}
	given, err := hex.DecodeString(*h.Token)
	if err != nil || subtle.ConstantTimeCompare(given, token) != 1 {
		return errors.Join(errors.New("it does not know the token"), d.answer(c, "authentication failed"))
	}
	if err := d.answer(c, ""); err != nil {
		return err
	}
	if !stop() {
		return context.Cause(ctx)
	}
	return c.SetDeadline(time.Time{})
}

func readHello(c io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxHandshake {
		return nil, fmt.Errorf("a first message of %d bytes is over the limit of %d", n, maxHandshake)
	}
	text := make([]byte, n)
	_, err := io.ReadFull(c, text)
	return text, err
}

// answer sends the result of the handshake; no reason is success.
func (d *Door) answer(c io.Writer, reason string) error {
	w := welcome{Status: "ok", ProtocolVersion: protocolVersion, ServerVersion: d.cfg.Version, Reason: reason}
	if reason != "" {
		w.Status = "error"
	}
	text, err := json.Marshal(w)
	if err != nil {
		return err
	}
	_, err = c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)) //nolint:gosec // it is short
	return err
}
