package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// client returns a client that is closed at the test's end.
func client(t *testing.T, cfg Config) *Client {
	t.Helper()
	c := New(cfg)
	t.Cleanup(c.Close)
	return c
}

// get returns an answer's body, or the error's text.
func get(t *testing.T, c *Client, url string) string {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return "error: " + err.Error()
	}
	answer, err := c.Do(q)
	if err != nil {
		return "error: " + err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(body)
}

// internal is a service of this machine, which no capsule may reach. It counts who does.
func internal(t *testing.T) (port string, reached *atomic.Int32) {
	t.Helper()
	reached = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		_, _ = io.WriteString(w, "internal")
	}))
	t.Cleanup(server.Close)
	_, port, _ = net.SplitHostPort(server.Listener.Addr().String())
	return port, reached
}

// Each of these URLs tries to reach a service of the machine or of its network, from a
// capsule whose manifest grants every host.
func TestServerSideRequestForgery(t *testing.T) {
	port, reached := internal(t)
	const (
		notPublic = "is not public"
		number    = "is a number"
	)
	attacks := map[string]struct{ url, want string }{
		"loopback":                        {"http://127.0.0.1:PORT/", notPublic},
		"another loopback address":        {"http://127.8.9.10:PORT/", notPublic},
		"localhost":                       {"http://localhost:PORT/", notPublic},
		"localhost with a dot":            {"http://localhost.:PORT/", notPublic},
		"localhost in capitals":           {"http://LOCALHOST:PORT/", notPublic},
		"loopback with a dot":             {"http://127.0.0.1.:PORT/", notPublic},
		"unspecified":                     {"http://0.0.0.0:PORT/", notPublic},
		"zero":                            {"http://0:PORT/", number},
		"decimal":                         {"http://2130706433:PORT/", number},
		"hexadecimal":                     {"http://0x7f000001:PORT/", number},
		"hexadecimal in capitals":         {"http://0X7F000001:PORT/", number},
		"octal":                           {"http://017700000001:PORT/", number},
		"octal parts":                     {"http://0177.0.0.1:PORT/", number},
		"hexadecimal parts":               {"http://0x7f.0x0.0x0.0x1:PORT/", number},
		"two parts":                       {"http://127.1:PORT/", number},
		"three parts":                     {"http://127.0.1:PORT/", number},
		"zeros in front":                  {"http://127.000.000.001:PORT/", number},
		"overflowing part":                {"http://127.0.0.257:PORT/", number},
		"IPv6 loopback":                   {"http://[::1]:PORT/", notPublic},
		"IPv6 loopback, in full":          {"http://[0:0:0:0:0:0:0:1]:PORT/", notPublic},
		"IPv6 unspecified":                {"http://[::]:PORT/", notPublic},
		"IPv4 mapped to IPv6":             {"http://[::ffff:127.0.0.1]:PORT/", notPublic},
		"IPv4 mapped, hexadecimal":        {"http://[::ffff:7f00:1]:PORT/", notPublic},
		"IPv4 compatible":                 {"http://[::127.0.0.1]:PORT/", notPublic},
		"IPv4 by NAT64":                   {"http://[64:ff9b::7f00:1]:PORT/", notPublic},
		"IPv4 by 6to4":                    {"http://[2002:7f00:1::]:PORT/", notPublic},
		"IPv4 by Teredo":                  {"http://[2001:0:4136:e378:8000:63bf:80ff:fffe]:PORT/", notPublic},
		"IPv6 link-local":                 {"http://[fe80::1]:PORT/", notPublic},
		"IPv6 with a zone":                {"http://[fe80::1%25lo]:PORT/", "neither zones nor escapes"},
		"IPv6 unique local":               {"http://[fd00::1]:PORT/", notPublic},
		"IPv6 multicast":                  {"http://[ff02::1]:PORT/", notPublic},
		"IPv6 documentation":              {"http://[2001:db8::1]:PORT/", notPublic},
		"private 10":                      {"http://10.0.0.1:PORT/", notPublic},
		"private 172":                     {"http://172.31.255.255:PORT/", notPublic},
		"private 192":                     {"http://192.168.0.1:PORT/", notPublic},
		"carrier's":                       {"http://100.64.0.1:PORT/", notPublic},
		"cloud metadata":                  {"http://169.254.169.254/latest/meta-data/", notPublic},
		"cloud metadata, IPv6":            {"http://[fd00:ec2::254]/latest/meta-data/", notPublic},
		"broadcast":                       {"http://255.255.255.255/", notPublic},
		"multicast":                       {"http://224.0.0.1/", notPublic},
		"benchmark":                       {"http://198.18.0.1/", notPublic},
		"documentation":                   {"http://203.0.113.7/", notPublic},
		"userinfo that looks like a host": {"http://example.com@127.0.0.1:PORT/", notPublic},
		"userinfo with a password":        {"http://example.com:80@127.0.0.1:PORT/", notPublic},
		"userinfo with an escaped slash":  {"http://example.com%2f@127.0.0.1:PORT/", notPublic},
		"backslash":                       {`http://example.com\@127.0.0.1:PORT/`, "error"},
		"backslash at the end":            {`http://127.0.0.1\.example.com:PORT/`, "error"},
		"fullwidth digits":                {"http://１２７.０.０.１:PORT/", notPublic},
		"ideographic dots":                {"http://127。0。0。1:PORT/", notPublic},
		"circled letters":                 {"http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:PORT/", notPublic},
		"soft hyphen":                     {"http://local\u00adhost:PORT/", notPublic},
		"escaped host":                    {"http://%31%32%37.0.0.1:PORT/", "invalid URL escape"},
		"escaped dot":                     {"http://127%2e0%2e0%2e1:PORT/", "invalid URL escape"},
		"space":                           {"http://127.0.0.1 .example.com/", "error"},
		"line break":                      {"http://example.com\r\nHost: 127.0.0.1/", "error"},
		"no host":                         {"http:///path", "no host"},
		"no slashes":                      {"http:127.0.0.1", "no host"},
		"file":                            {"file:///etc/passwd", "neither http nor https"},
		"gopher":                          {"gopher://127.0.0.1:6379/_INFO", "neither http nor https"},
		"unix socket":                     {"unix:///var/run/docker.sock", "neither http nor https"},
		"mail port":                       {"http://198.41.0.4:25/", "another protocol"},
		"SSH port":                        {"http://198.41.0.4:22/", "another protocol"},
		"IRC port":                        {"http://198.41.0.4:6667/", "another protocol"},
		"port over the maximum":           {"http://198.41.0.4:65558/", "port"},
		"negative port":                   {"http://198.41.0.4:-1/", "error"},
	}
	if len(attacks) < 30 {
		t.Fatalf("only %d attacks", len(attacks))
	}
	for name, a := range attacks {
		t.Run(name, func(t *testing.T) {
			url := strings.ReplaceAll(a.url, "PORT", port)
			got := get(t, client(t, Config{Hosts: []string{"*"}}), url)
			if !strings.HasPrefix(got, "error: ") || !strings.Contains(got, a.want) {
				t.Errorf("%s: got %q, want %q", url, got, a.want)
			}
		})
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("the internal service was reached %d times", n)
	}
}

// A server that redirects leads nowhere that a URL could not.
func TestRedirects(t *testing.T) {
	port, reached := internal(t)
	var target atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/end" {
			_, _ = io.WriteString(w, "end")
			return
		}
		w.Header().Set("Location", target.Load().(string))
		w.WriteHeader(http.StatusFound)
	}))
	defer server.Close()
	for name, tt := range map[string]struct{ to, want string }{
		"to the same host":     {server.URL + "/end", "end"},
		"relative":             {"/end", "end"},
		"to a private address": {"http://10.0.0.1:" + port + "/", "is not granted"},
		"to localhost":         {"http://localhost:" + port + "/", "is not granted"},
		"to a decimal address": {"http://2130706433:" + port + "/", "is a number"},
		"to a mapped address":  {"http://[::ffff:127.0.0.2]:" + port + "/", "is not granted"},
		"to a name by userinfo": {
			"http://127.0.0.1@localhost:" + port + "/", "is not granted",
		},
		"to another scheme":  {"file:///etc/passwd", "neither http nor https"},
		"to another port":    {"http://127.0.0.1:22/", "another protocol"},
		"without end":        {server.URL + "/again", "more than 10 redirects"},
		"to another granted": {"http://192.168.1.1/", "is not public"},
	} {
		t.Run(name, func(t *testing.T) {
			target.Store(tt.to)
			c := client(t, Config{Hosts: []string{"127.0.0.1", "192.168.1.1"}, Networks: loopback})
			if got := get(t, c, server.URL); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("the internal service was reached %d times", n)
	}
	secure := httptest.NewTLSServer(http.RedirectHandler(server.URL+"/end", http.StatusFound))
	defer secure.Close()
	c := client(t, Config{Hosts: []string{"*"}, Networks: loopback})
	c.own.TLSClientConfig = secure.Client().Transport.(*http.Transport).TLSClientConfig
	if got := get(t, c, secure.URL); !strings.Contains(got, "redirected from https to http") {
		t.Errorf("from https to http: %q", got)
	}
}

// A resolver that answers with a public address first and with a private one afterwards
// gains nothing: what is checked is the address of the connection.
func TestRebinding(t *testing.T) {
	port, reached := internal(t)
	answers := [][4]byte{{198, 41, 0, 4}, {127, 0, 0, 1}, {10, 0, 0, 1}, {169, 254, 169, 254}}
	for n := range answers {
		var asked atomic.Int32
		resolver := resolverOf(t, func() [4]byte {
			return answers[min(int(asked.Add(1))-1+n, len(answers)-1)]
		})
		if n == 0 { // the first answer would be connected to: it only shows that the check is later
			a, err := resolver.LookupHost(t.Context(), "rebind.example.com")
			if err != nil || len(a) != 1 || a[0] != "198.41.0.4" {
				t.Fatalf("the resolver answers %v, %v", a, err)
			}
		}
		c := client(t, Config{Hosts: []string{"example.com"}, Resolver: resolver})
		got := get(t, c, "http://rebind.example.com:"+port+"/")
		if !strings.Contains(got, "is not public") {
			t.Errorf("answer %d: %q", n, got)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("the internal service was reached %d times", n)
	}
}

// resolverOf returns a resolver whose server answers each question for an IPv4 address.
func resolverOf(t *testing.T, answer func() [4]byte) *net.Resolver {
	t.Helper()
	server, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = server.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			q := buf[:n]
			end := 12
			for q[end] != 0 {
				end += int(q[end]) + 1
			}
			end += 5 // the zero, type and class
			kind := binary.BigEndian.Uint16(q[end-4:])
			reply := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
			if kind == 1 {
				reply[7] = 1
				ip := answer()
				reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ip[0], ip[1], ip[2], ip[3])
			}
			_, _ = server.WriteTo(reply, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

func TestGrantedHosts(t *testing.T) {
	for _, tt := range []struct {
		hosts, host string
		want        bool
	}{
		{"*", "anything.example", true},
		{"example.com", "example.com", true},
		{"example.com", "EXAMPLE.com.", true},
		{"Example.COM.", "api.example.com", true},
		{"example.com", "badexample.com", false},
		{"example.com", "example.com.evil.org", false},
		{"example.com", "com", false},
		{"example.com", "example.com@evil.org", false},
		{"bücher.example", "xn--bcher-kva.example", true},
		{"xn--bcher-kva.example", "BÜCHER.example", true},
		{"198.41.0.4", "198.41.0.4", true},
		{"0.4", "198.41.0.4", false},
		{"", "example.com", false},
		{"*.example.com", "api.example.com", false}, // as in the reference
		{"2001:500::1", "[2001:500::1]", true},
		{"[2001:500::1]", "[2001:500:0::1]", false},
		{"", "", false},
	} {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+tt.host+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		c := client(t, Config{Hosts: []string{tt.hosts}})
		if err := c.checkURL(q.URL); (err == nil) != tt.want {
			t.Errorf("%q with %q granted: %v", tt.host, tt.hosts, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]bool{
		"198.41.0.4": true, "8.8.8.8": true, "172.32.0.1": true, "100.128.0.1": true, "2001:500:200::b": true,
		"::ffff:8.8.8.8": true, "64:ff9b::808:808": true,
		"127.0.0.1": false, "64:ff9b::a00:1": false, "::ffff:10.0.0.1": false, "64:ff9b:1::1": false, "5f00::1": false,
		"fe80::1%eth0": false, "2001:20::1": false, "3fff::1": false, "192.0.0.8": false,
	} {
		if err := checkAddress(netip.MustParseAddr(address), nil); (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
	}
	allowed := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32")}
	for address, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "64:ff9b::a01:203": true, "fd00:1::1": true, "10.2.0.1": false, "fd00:2::1": false, "127.0.0.1": false,
	} {
		if err := checkAddress(netip.MustParseAddr(address), allowed); (err == nil) != want {
			t.Errorf("%s with %v allowed: %v", address, allowed, err)
		}
	}
}

// This machine's own addresses are refused, public or not.
func TestOwnAddresses(t *testing.T) {
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		if !isOwn(netip.MustParsePrefix(a.String()).Addr().Unmap()) {
			t.Errorf("%v is not known as the machine's own", a)
		}
	}
	if isOwn(netip.MustParseAddr("198.41.0.4")) {
		t.Error("a foreign address is taken for the machine's own")
	}
}

// The environment's proxies are not asked, not even one that could be reached.
func TestNoProxy(t *testing.T) {
	port, reached := internal(t)
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:"+port)
	t.Setenv("http_proxy", "http://127.0.0.1:"+port)
	private := resolverOf(t, func() [4]byte { return [4]byte{10, 0, 0, 1} })
	c := client(t, Config{Hosts: []string{"example.com"}, Networks: loopback, Resolver: private})
	if c.own.Proxy != nil { // net/http reads the environment once in a process
		t.Error("the transport asks for a proxy")
	}
	if got := get(t, c, "http://example.com/"); !strings.Contains(got, "is not public") || reached.Load() != 0 {
		t.Errorf("got %q; the proxy was asked %d times", got, reached.Load())
	}
}

// Close ends a request at each of its stages, and closes its connection.
func TestCloseEndsRequests(t *testing.T) {
	entered := make(chan struct{}, 1)
	left := make(chan struct{}, 1)
	hangs := func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/body" {
			_, _ = io.WriteString(w, "begun")
			_ = http.NewResponseController(w).Flush()
		}
		entered <- struct{}{}
		<-q.Context().Done()
		left <- struct{}{}
	}
	server := httptest.NewServer(http.HandlerFunc(hangs))
	defer server.Close()
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, url := range map[string]string{
		"headers": server.URL, "body": server.URL + "/body", "handshake": "https://" + silent.Addr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			c := New(Config{Hosts: []string{"*"}, Networks: loopback})
			got := make(chan string)
			go func() { got <- get(t, c, url) }()
			var peer net.Conn
			if name == "handshake" {
				var err error
				if peer, err = silent.Accept(); err != nil {
					t.Fatal(err)
				}
				_, _ = io.ReadFull(peer, make([]byte, 1)) // of the client's hello
			} else {
				<-entered
			}
			c.Close()
			if text := <-got; !strings.HasPrefix(text, "error") {
				t.Errorf("got %q", text)
			}
			if peer == nil {
				<-left
			} else {
				_, _ = io.Copy(io.Discard, peer) // until the client has closed it
				_ = peer.Close()
			}
		})
	}
	if got := get(t, func() *Client { c := New(Config{Hosts: []string{"*"}, Networks: loopback}); c.Close(); return c }(), server.URL); !strings.Contains(got, errClosed.Error()) {
		t.Errorf("after Close: %q", got)
	}
}

// Only so many requests are open at once; a further one waits, and its context ends that.
func TestOpenRequestsAreBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	c := client(t, Config{Hosts: []string{"*"}, Networks: loopback})
	var open []io.Closer
	for range MaxRequests {
		q, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		answer, err := c.Do(q) //nolint:bodyclose // below
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, answer.Body)
	}
	full := errors.New("no place")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(full)
	q, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	if _, err := c.Do(q); !errors.Is(err, full) { //nolint:bodyclose // there is none
		t.Errorf("err = %v", err)
	}
	for _, body := range open {
		_ = body.Close()
	}
	if got := get(t, c, server.URL); got != "" {
		t.Errorf("after that: %q", got)
	}
}

// An embedder's transport is used instead, and the grants are still checked.
func TestReplacedTransport(t *testing.T) {
	var asked []string
	c := client(t, Config{Hosts: []string{"example.com"}, Transport: roundTripper(func(q *http.Request) (*http.Response, error) {
		asked = append(asked, q.URL.String())
		header := http.Header{"Location": {"http://evil.org/"}}
		return &http.Response{StatusCode: http.StatusFound, Header: header, Body: http.NoBody, Request: q}, nil
	})})
	if got := get(t, c, "http://api.example.com/x"); !strings.Contains(got, `"evil.org" is not granted`) {
		t.Errorf("got %q", got)
	}
	if got := get(t, c, "http://10.0.0.1/"); !strings.Contains(got, "is not granted") {
		t.Errorf("got %q", got)
	}
	if fmt.Sprint(asked) != "[http://api.example.com/x]" {
		t.Errorf("asked for %v", asked)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }
