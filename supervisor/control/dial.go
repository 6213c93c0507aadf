package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"syscall"

	"connectrpc.com/connect"

	"github.com/astrid-actors/astrid-actors/messages/messagesconnect"
)

// ErrNoDaemon: nobody listens at that socket.
var ErrNoDaemon = errors.New("no daemon at that socket")

// Dial returns a client of the daemon that listens at path. It connects with
// the first request, so errors are the requests': they match [ErrNoDaemon], or
// have the code that the service gave them (connect.CodeOf).
func Dial(path string) messagesconnect.ControlClient {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "unix", path)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
				return nil, fmt.Errorf("%w: %s", ErrNoDaemon, path)
			}
			return c, err
		},
		DisableCompression: true,
		DisableKeepAlives:  true, // nothing to gain, and nothing to close
	}
	return messagesconnect.NewControlClient(&http.Client{Transport: transport}, "http://astrid",
		connect.WithAcceptCompression("gzip", nil, nil))
}
