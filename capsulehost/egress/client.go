package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"syscall"
	"time"
)

// Limits of a Client.
const (
	// MaxRedirects is how many one request follows.
	MaxRedirects = 10
	maxHeader    = 256 << 10 // bytes of an answer's headers
	// MaxRequests is the number of requests whose bodies are not closed yet.
	MaxRequests = 8

	connectTimeout = 30 * time.Second
	idleTimeout    = 30 * time.Second // of a connection between two requests
)

// Config configures a Client.
type Config struct {
	// Hosts are what is granted: the list net of a manifest. A name grants itself and the
	// names below it, `*` everything; an address grants itself.
	Hosts []string
	// Networks are what may be reached although it is not public.
	Networks []netip.Prefix
	// Transport, if not nil, sends the requests instead of one that checks addresses when
	// it connects. It must return when a request's context ends.
	Transport http.RoundTripper
	// Resolver looks up names; nil means net.DefaultResolver.
	Resolver *net.Resolver
}

// Client sends the requests of one instance of a capsule. It is safe for concurrent use.
type Client struct {
	cfg    Config
	client http.Client
	own    *http.Transport // nil if it was replaced
	places chan struct{}   // one element for each open request
	life   context.Context // ends with Close
	end    context.CancelCauseFunc
}

// errClosed ends the requests of an instance that has ended.
var errClosed = errors.New("the capsule has ended")

// New returns a Client. Close it when the instance has ended.
func New(cfg Config) *Client {
	c := &Client{cfg: cfg, places: make(chan struct{}, MaxRequests)}
	c.life, c.end = context.WithCancelCause(context.Background())
	c.client = http.Client{Transport: cfg.Transport, CheckRedirect: c.redirect}
	if cfg.Transport == nil {
		c.own = c.transport()
		c.client.Transport = c.own
	}
	return c
}

// transport returns a transport that checks every address when it connects.
func (c *Client) transport() *http.Transport {
	dialer := &net.Dialer{Timeout: connectTimeout, Resolver: c.cfg.Resolver, Control: c.checkConnection}
	return &http.Transport{
		Proxy: nil, // see the package's comment
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithCancel(ctx) // the transport's, which outlives the request
			defer cancel()
			defer context.AfterFunc(c.life, cancel)()
			connected, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			// Also in the middle of a handshake, which no request ends.
			stop := context.AfterFunc(c.life, func() { _ = connected.Close() })
			return &conn{connected, stop}, nil
		},
		TLSHandshakeTimeout: connectTimeout, IdleConnTimeout: idleTimeout, ExpectContinueTimeout: time.Second,
		MaxConnsPerHost: MaxRequests, MaxResponseHeaderBytes: maxHeader, ForceAttemptHTTP2: true,
	}
}

// checkConnection is called with the address that is about to be connected to.
func (c *Client) checkConnection(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("read the address %q: %w", address, err)
	}
	return checkAddress(to.Addr(), c.cfg.Networks)
}

// redirect checks where a redirect leads.
func (c *Client) redirect(q *http.Request, via []*http.Request) error {
	if len(via) > MaxRedirects {
		return fmt.Errorf("more than %d redirects", MaxRedirects)
	}
	if last := via[len(via)-1]; last.URL.Scheme == "https" && q.URL.Scheme != "https" {
		return errors.New("redirected from https to http")
	}
	if err := c.checkURL(q.URL); err != nil {
		return fmt.Errorf("redirected: %w", err)
	}
	return nil
}

// Do sends a request and follows its redirects. It implements capsulehost.HTTP. It waits
// while too many requests are open.
func (c *Client) Do(q *http.Request) (*http.Response, error) {
	select {
	case c.places <- struct{}{}:
	case <-q.Context().Done():
		return nil, context.Cause(q.Context())
	case <-c.life.Done():
		return nil, errClosed
	}
	if c.life.Err() != nil { // both were possible
		<-c.places
		return nil, errClosed
	}
	ctx, cancel := context.WithCancelCause(q.Context())
	stop := context.AfterFunc(c.life, func() { cancel(errClosed) })
	release := sync.OnceFunc(func() {
		stop()
		cancel(nil)
		<-c.places
	})
	answer, err := c.send(q.Clone(ctx))
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		release()
		return nil, err
	}
	answer.Body = &body{answer.Body, release}
	return answer, nil
}

func (c *Client) send(q *http.Request) (*http.Response, error) {
	if err := c.checkURL(q.URL); err != nil {
		return nil, fmt.Errorf("%s %q: %w", q.Method, q.URL.Redacted(), err)
	}
	q.Host = ""
	if q.Header.Get("User-Agent") == "" {
		q.Header.Set("User-Agent", "astrid-actors")
	}
	answer, err := c.client.Do(q)
	if err == nil {
		return answer, nil
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		err = fmt.Errorf("connect: %w", e.Err) // without the address
	}
	return nil, fmt.Errorf("%s %q: %w", q.Method, q.URL.Redacted(), err)
}

// Close ends all requests, and closes the connections.
func (c *Client) Close() {
	c.end(errClosed)
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// conn is closed when its client is.
type conn struct {
	net.Conn
	stop func() bool
}

// Close closes the connection.
func (c *conn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// body releases its request when it is closed.
type body struct {
	io.ReadCloser
	release func()
}

// Close closes the body.
func (b *body) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}
