package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Listen opens a TCP address, HOST:PORT, for [Serve]. Without a token in cfg, HOST must
// resolve to loopback addresses only; otherwise the error matches [ErrOpen]. Port 0
// means any free port.
func Listen(ctx context.Context, address string, cfg Config) (net.Listener, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen at %q: it is not HOST:PORT: %w", address, err)
	}
	if cfg.Token == "" {
		if err := mustBeLoopback(ctx, host); err != nil {
			return nil, fmt.Errorf("listen at %q: %w", address, err)
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if bound, ok := l.Addr().(*net.TCPAddr); cfg.Token == "" && (!ok || !bound.IP.IsLoopback()) {
		_ = l.Close()
		return nil, fmt.Errorf("listen at %q: %w", address, ErrOpen)
	}
	return l, nil
}

// ErrOpen: other machines could reach it, and no token is set.
var ErrOpen = errors.New("it is reachable from other machines, and there is no token")

func mustBeLoopback(ctx context.Context, host string) error {
	if host == "" {
		return ErrOpen
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if !a.Unmap().IsLoopback() {
			return fmt.Errorf("%w (%s)", ErrOpen, a)
		}
	}
	return nil
}

// minToken is the shortest length of a token, in bytes, that can't be guessed.
const minToken = 16

func (c *Config) check() error {
	if n := len(c.Token); n > 0 && n < minToken {
		return fmt.Errorf("the token has %d bytes: it must have at least %d", n, minToken)
	}
	if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the token must be visible ASCII, without spaces")
	}
	return nil
}

// hosts are the names of this server in requests. A request with another name may come
// from a page whose own name resolves to this server (DNS rebinding).
type hosts struct {
	open  bool // IP addresses other than loopback are allowed
	names []string
}

func (c *Config) hosts() hosts {
	h := hosts{names: []string{"localhost"}}
	if c.Token == "" {
		return h
	}
	h.open = true
	for _, name := range c.Hosts {
		if name != "" {
			h.names = append(h.names, strings.ToLower(name))
		}
	}
	if name, err := os.Hostname(); err == nil {
		h.names = append(h.names, strings.ToLower(name))
	}
	return h
}

// allow reports whether a request's Host is ours. Its port does not matter: an ssh
// tunnel has another one.
func (h hosts) allow(host string) bool {
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if ip, err := netip.ParseAddr(name); err == nil {
		return h.open || ip.Unmap().IsLoopback()
	}
	return slices.Contains(h.names, strings.ToLower(strings.TrimSuffix(name, ".")))
}

// crowded is a listener that closes connections over a limit at once: the process needs
// its file descriptors for other things.
type crowded struct {
	net.Listener
	most int64
	open atomic.Int64
	log  *slog.Logger
	// warned is the time when the last refusal was logged: at most one a minute is.
	warned time.Time
}

func newCrowded(l net.Listener, most int64, log *slog.Logger) *crowded {
	return &crowded{Listener: l, most: most, log: log}
}

// Accept waits for a connection within the limit. Only one goroutine calls it.
func (l *crowded) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			return &crowdedConn{Conn: c, leave: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
		}
		l.open.Add(-1)
		if now := time.Now(); now.Sub(l.warned) >= time.Minute {
			l.warned = now
			l.log.Warn("the page has too many connections: one is refused", "open", l.most, "from", c.RemoteAddr().String())
		}
		_ = c.Close()
	}
}

type crowdedConn struct {
	net.Conn
	leave func()
}

// Close closes the connection, which makes room for another one.
func (c *crowdedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
