package web_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rs/zerolog"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
	"github.com/astrid-actors/astrid-actors/supervisor/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = time.Minute
	token    = "correct-horse-battery"
)

// site is a page that is served for a test.
type site struct {
	t    *testing.T
	sys  *supervisortest.System
	url  string
	host string
	log  *bytes.Buffer
}

func echo(_ context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
	return capsulehost.Result{Data: c.Payload}, nil
}

func serve(t *testing.T, cfg web.Config) *site {
	t.Helper()
	return serveSystem(t, supervisortest.Start(t, supervisor.Config{}, supervisortest.Func("echo", "test.*", echo)), cfg)
}

// serveSystem serves the page of a system.
func serveSystem(t *testing.T, sys *supervisortest.System, cfg web.Config) *site {
	t.Helper()
	s := &site{t: t, sys: sys, log: &bytes.Buffer{}}
	cfg.Log = slog.New(zerolog.NewSlogHandler(zerolog.New(zerolog.SyncWriter(s.log))))
	ctx, cancel := context.WithCancel(context.Background())
	l, err := web.Listen(ctx, "127.0.0.1:0", cfg)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	s.host = l.Addr().String()
	s.url = "http://" + s.host
	served := make(chan error, 1)
	go func() { served <- web.Serve(ctx, l, s.sys.Supervisor, cfg) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-served:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("Serve did not end")
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

// ask sends one request. Header has pairs of name and value; "Host" is the request's.
func (s *site) ask(method, path, body string, header ...string) (answer, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{
		Timeout:       10 * time.Second, // a stream that should have been refused does not end
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, response.Cookies()}, string(text)
}

// answer is a response that has been read.
type answer struct {
	StatusCode int
	Header     http.Header
	Cookies    []*http.Cookie
}

var csrfField = regexp.MustCompile(`name="csrf" value="([A-Z0-9]+)"`)

// csrf returns the secret of the page's forms.
func (s *site) csrf(header ...string) string {
	s.t.Helper()
	_, text := s.ask(http.MethodGet, "/trigger", "", header...)
	found := csrfField.FindStringSubmatch(text)
	if found == nil {
		s.t.Fatalf("no secret in %s", text)
	}
	return found[1]
}

func TestListen(t *testing.T) {
	for _, test := range []struct {
		address, token string
		want           string // in the error; "" for none
	}{
		{"127.0.0.1:0", "", ""},
		{"localhost:0", "", ""},
		{"0.0.0.0:0", "", web.ErrOpen.Error()},
		{":0", "", web.ErrOpen.Error()},
		{"[::]:0", "", web.ErrOpen.Error()},
		{"192.0.2.1:0", "", web.ErrOpen.Error()},
		{"127.0.0.1", "", "it is not HOST:PORT"},
		{"0.0.0.0:0", token, ""},
		{"127.0.0.1:0", "short", "the token has 5 bytes: it must have at least 16"},
		{"127.0.0.1:0", "0123456789abcdef ", "the token must be visible ASCII"},
	} {
		t.Run(test.address+" "+test.token, func(t *testing.T) {
			l, err := web.Listen(t.Context(), test.address, web.Config{Token: test.token})
			if err == nil {
				_ = l.Close()
			}
			switch {
			case test.want == "" && err != nil:
				t.Fatal(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Fatalf("error %v, want %q in it", err, test.want)
			case test.want == web.ErrOpen.Error() && !errors.Is(err, web.ErrOpen):
				t.Errorf("error %v does not match ErrOpen", err)
			}
		})
	}
}

// TestWhoMayLook sends requests as browsers, programs and other pages do.
func TestWhoMayLook(t *testing.T) {
	open, locked := serve(t, web.Config{}), serve(t, web.Config{Token: token, Hosts: []string{"Actors.Example"}})
	for _, test := range []struct {
		name   string
		site   *site
		path   string
		header []string
		want   int
	}{
		{"plain", open, "/", nil, 200},
		{"by localhost, through a tunnel", open, "/", []string{"Host", "localhost:8000"}, 200},
		{"by another loopback address", open, "/", []string{"Host", "[::1]:80"}, 200},
		{"by another name: DNS rebinding", open, "/", []string{"Host", "attacker.example:7711"}, 421},
		{"a name that looks like ours", open, "/", []string{"Host", "localhost.attacker.example"}, 421},
		{"another address", open, "/", []string{"Host", "192.0.2.1"}, 421},
		{"a host that is none", open, "/", []string{"Host", "::"}, 421},
		{"another page's script", open, "/", []string{"Origin", "http://attacker.example"}, 403},
		{"another page's image", open, "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, 403},
		{"another page's frame", open, "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		{"another port's script", open, "/stream?view=overview", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"}, 403},
		{"another page's link", open, "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		{"a bookmark", open, "/", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		{"a stream of nothing", open, "/stream?view=nonsense", nil, 404},
		{"a stream of nobody", open, "/stream?view=capsule&id=nobody", nil, 404},
		{"nobody", open, "/capsules/nobody", nil, 404},
		{"metrics from another page", open, "/metrics", []string{"Origin", "null"}, 403},

		{"a program without the token", locked, "/", nil, 401},
		{"a browser without it", locked, "/capsules?q=a", []string{"Accept", "text/html"}, 303},
		{"the stream", locked, "/stream?view=overview", nil, 401},
		{"metrics", locked, "/metrics", nil, 401},
		{"readiness", locked, "/readyz", nil, 401},
		{"liveness", locked, "/healthz", nil, 200},
		{"style", locked, "/static/page.css", nil, 200},
		{"a wrong token", locked, "/", []string{"Authorization", "Bearer " + token + "x"}, 401},
		{"no token", locked, "/", []string{"Authorization", "Bearer "}, 401},
		{"the token as a password", locked, "/", []string{"Authorization", "Basic " + token}, 401},
		{"the token", locked, "/", []string{"Authorization", "Bearer " + token}, 200},
		{"the token, by any name", locked, "/metrics", []string{"Authorization", "bearer " + token, "Host", "prometheus.example"}, 200},
		{"a wrong cookie", locked, "/", []string{"Cookie", "astrid_actors_session=" + token}, 401},
		{"an address, with a token", locked, "/login", []string{"Host", "192.0.2.1"}, 200},
		{"a name that is configured", locked, "/login", []string{"Host", "actors.example:7711"}, 200},
		{"one that is not", locked, "/login", []string{"Host", "attacker.example"}, 421},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := *test.site
			s.t = t
			response, text := s.ask(http.MethodGet, test.path, "", test.header...)
			if response.StatusCode != test.want {
				t.Errorf("%d %s, want %d", response.StatusCode, text, test.want)
			}
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
				"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
			} {
				if got := response.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			policy := response.Header.Get("Content-Security-Policy")
			if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
				t.Errorf("the policy is %q", policy)
			}
		})
	}
}

// TestWhoMayAct kills a capsule, or is refused.
func TestWhoMayAct(t *testing.T) {
	const kill = "/capsules/echo/kill"
	acting, looking, locked := serve(t, web.Config{Actions: true}), serve(t, web.Config{}), serve(t, web.Config{Actions: true, Token: token})
	form := func(csrf string) string { return url.Values{"csrf": {csrf}}.Encode() }
	secret := acting.csrf()
	cookie := locked.logIn()
	lockedSecret := locked.csrf("Cookie", cookie)
	same := func(s *site) []string { return []string{"Origin", s.url, "Sec-Fetch-Site", "same-origin"} }
	for _, test := range []struct {
		name         string
		site         *site
		method, path string
		body         string
		header       []string
		want         int
	}{
		{"by a link", acting, http.MethodGet, kill, "", nil, 200}, // it asks for confirmation
		{"without a form", acting, http.MethodPost, kill, "", same(acting), 403},
		{"a made-up secret", acting, http.MethodPost, kill, form("AAAA"), same(acting), 403},
		{"an empty secret", acting, http.MethodPost, kill, form(""), same(acting), 403},
		{"another process's secret", acting, http.MethodPost, kill, form(lockedSecret), same(acting), 403},
		{"the secret in the address only", acting, http.MethodPost, kill + "?csrf=" + secret, "a=b", same(acting), 403},
		{"from nowhere", acting, http.MethodPost, kill, form(secret), nil, 403},
		{"typed", acting, http.MethodPost, kill, form(secret), []string{"Sec-Fetch-Site", "none"}, 403},
		{"another origin", acting, http.MethodPost, kill, form(secret), []string{"Origin", "http://attacker.example"}, 403},
		{"another port", acting, http.MethodPost, kill, form(secret), []string{"Origin", "http://127.0.0.1:1"}, 403},
		{"a hidden origin", acting, http.MethodPost, kill, form(secret), []string{"Origin", "null"}, 403},
		{"same site", acting, http.MethodPost, kill, form(secret), []string{"Origin", acting.url, "Sec-Fetch-Site", "same-site"}, 403},
		{"another host", acting, http.MethodPost, kill, form(secret), []string{"Host", "attacker.example", "Origin", "http://attacker.example"}, 421},
		{"a trigger without a secret", acting, http.MethodPost, "/trigger", "topic=test.a", same(acting), 403},
		{"nobody", acting, http.MethodPost, "/capsules/nobody/kill", form(secret), same(acting), 404},
		{"no such command", acting, http.MethodPost, "/capsules/echo/delete", form(secret), same(acting), 404},
		{"well", acting, http.MethodPost, kill, form(secret), same(acting), 303},
		{"well, with an old browser", acting, http.MethodPost, kill, form(secret), []string{"Origin", acting.url}, 303},

		{"where one may only look", looking, http.MethodGet, kill, "", nil, 403},
		{"without the token", locked, http.MethodPost, kill, form(lockedSecret), same(locked), 401},
		{"logged in", locked, http.MethodPost, kill, form(lockedSecret), append(same(locked), "Cookie", cookie), 303},
		{"logged in, without a secret", locked, http.MethodPost, kill, "", append(same(locked), "Cookie", cookie), 403},
		{"a program", locked, http.MethodPost, kill, "", []string{"Authorization", "Bearer " + token}, 303},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := *test.site
			s.t = t
			before := s.sys.AwaitReady("echo", 1).Generation
			response, text := s.ask(test.method, test.path, test.body, test.header...)
			if response.StatusCode != test.want {
				t.Errorf("%d %s, want %d", response.StatusCode, text, test.want)
			}
			if test.want == http.StatusSeeOther {
				s.sys.AwaitReady("echo", before+1)
				if err := s.sys.Restart(t.Context(), "echo"); err != nil { // its budget is full again
					t.Fatal(err)
				}
			} else if now := s.sys.Capsule("echo").Generation; now != before {
				t.Errorf("the capsule was killed all the same")
			}
		})
	}
	t.Run("not even with its own secret", func(t *testing.T) {
		s := *looking
		s.t = t
		_, page := s.ask(http.MethodGet, "/trigger", "")
		if want := `<datalist id="topics"><option value="test.`; !strings.Contains(page, want) {
			t.Errorf("the trigger box suggests no topics: no %s in\n%s", want, page)
		}
		own := csrfField.FindStringSubmatch(page)[1]
		for _, path := range []string{kill, "/trigger"} {
			response, text := s.ask(http.MethodPost, path, url.Values{"csrf": {own}, "topic": {"test.a"}}.Encode(), same(&s)...)
			if response.StatusCode != http.StatusForbidden || !strings.Contains(text, "--http-actions") {
				t.Errorf("%s: %d %s", path, response.StatusCode, text)
			}
		}
	})
}

// logIn returns the cookie of a browser that has sent the token.
func (s *site) logIn() string {
	s.t.Helper()
	response, text := s.ask(http.MethodPost, "/login", url.Values{"token": {token}, "to": {"/events?q=a"}}.Encode(), "Origin", s.url)
	if response.StatusCode != http.StatusSeeOther || response.Header.Get("Location") != "/events?q=a" {
		s.t.Fatalf("the login got %d %s to %q", response.StatusCode, text, response.Header.Get("Location"))
	}
	cookies := response.Cookies
	if len(cookies) != 1 {
		s.t.Fatalf("cookies %v", cookies)
	}
	if c := cookies[0]; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || strings.Contains(c.Value, token) {
		s.t.Errorf("the cookie is %v", c)
	}
	return cookies[0].Name + "=" + cookies[0].Value
}

func TestLogin(t *testing.T) {
	s := serve(t, web.Config{Token: token})
	response, text := s.ask(http.MethodPost, "/login", url.Values{"token": {"wrong"}}.Encode(), "Origin", s.url)
	if response.StatusCode != http.StatusForbidden || len(response.Cookies) != 0 || !strings.Contains(text, "not the token") {
		t.Errorf("a wrong token got %d %s", response.StatusCode, text)
	}
	response, _ = s.ask(http.MethodPost, "/login", url.Values{"token": {token}}.Encode(), "Origin", "http://attacker.example")
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("another page logged us in: %d", response.StatusCode)
	}
	cookie := s.logIn()
	if response, text := s.ask(http.MethodGet, "/", "", "Cookie", cookie); response.StatusCode != http.StatusOK || !strings.Contains(text, "Log out") {
		t.Errorf("logged in: %d %s", response.StatusCode, text)
	}
	if strings.Contains(s.log.String(), token) {
		t.Error("the token is in the log")
	}
	for _, to := range []string{"//attacker.example", "http://attacker.example/", `/\attacker.example`, "/\t/attacker.example", "javascript:alert(1)", "attacker"} {
		response, _ := s.ask(http.MethodPost, "/login", url.Values{"token": {token}, "to": {to}}.Encode(), "Origin", s.url)
		if got := response.Header.Get("Location"); got != "/" {
			t.Errorf("after the login %q leads to %q", to, got)
		}
	}
	_, page := s.ask(http.MethodGet, "/", "", "Cookie", cookie)
	csrf := csrfField.FindStringSubmatch(page)[1]
	response, _ = s.ask(http.MethodPost, "/logout", url.Values{"csrf": {csrf}}.Encode(), "Origin", s.url, "Cookie", cookie)
	if c := response.Cookies; len(c) != 1 || c[0].MaxAge >= 0 {
		t.Errorf("the logout left the cookie: %v", c)
	}
}

// TestLargeForm checks that the size of a form is limited.
func TestLargeForm(t *testing.T) {
	s := serve(t, web.Config{Actions: true})
	body := url.Values{"csrf": {s.csrf()}, "topic": {"test.a"}, "payload": {strings.Repeat("a", 4<<20)}}.Encode()
	response, _ := s.ask(http.MethodPost, "/trigger", body, "Origin", s.url)
	if response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("4 MiB got %d", response.StatusCode)
	}
}

// TestServeClosedListener checks that Serve returns an error of the listener.
func TestServeClosedListener(t *testing.T) {
	s := serve(t, web.Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := web.Serve(t.Context(), l, s.sys.Supervisor, web.Config{}); err == nil {
		t.Error("no error")
	}
	if err := web.Serve(t.Context(), l, s.sys.Supervisor, web.Config{Token: "short"}); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("error %v, want one about the token", err)
	}
}
