package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

const sessionCookie = "astrid_actors_session"

// guard runs before every handler, and decides which requests are allowed.
type guard struct {
	hosts   hosts
	token   string // "" means none
	session string // the value of a browser's cookie after it has sent the token
	secret  string // the forms of our own pages send it; new for each process
	uploads bool   // files may be uploaded
}

func newGuard(cfg *Config) *guard {
	g := &guard{hosts: cfg.hosts(), token: cfg.Token, secret: rand.Text(), uploads: cfg.Actions}
	if g.token != "" {
		// Derived from the token, so that a cookie, which other ports of the same host
		// can read, does not reveal it; and stable, so that a browser stays logged in.
		mac := hmac.New(sha256.New, []byte(g.token))
		mac.Write([]byte("astrid-actors page session"))
		g.session = hex.EncodeToString(mac.Sum(nil))
	}
	return g
}

// wrap refuses requests that are not allowed, and adds the headers that all answers
// have.
func (g *guard) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		limit := int64(maxForm)
		if uploads(r) && g.uploads {
			limit = maxUpload + 64<<10
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		if g.bearer(r) { // browsers never send it by themselves, so no page can make one do so
			next.ServeHTTP(w, r)
			return
		}
		if !g.hosts.allow(r.Host) {
			refuse(w, http.StatusMisdirectedRequest, "this server is not known as "+text(r.Host)+
				": ask for it by localhost, or by its address where it has a token")
			return
		}
		if !sameOrigin(r) {
			refuse(w, http.StatusForbidden, "the request comes from a page of another origin")
			return
		}
		if !g.public(r) && !g.loggedIn(r) {
			if r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html") {
				http.Redirect(w, r, "/login?to="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="astrid-actors"`)
			refuse(w, http.StatusUnauthorized, "log in at /login, or send the token: Authorization: Bearer TOKEN")
			return
		}
		if err := parseForm(r); err != nil {
			status := http.StatusBadRequest
			if _, large := errors.AsType[*http.MaxBytesError](err); large {
				status = http.StatusRequestEntityTooLarge
			}
			refuse(w, status, "the form can't be read: "+err.Error())
			return
		}
		if changes(r) && r.URL.Path != "/login" {
			if !equal(r.PostFormValue("csrf"), g.secret) {
				refuse(w, http.StatusForbidden, "the page is out of date: load it again")
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// secure sets the headers of every answer.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	// Not no-referrer: with it, browsers hide the Origin of our own forms.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store")
}

func refuse(w http.ResponseWriter, status int, why string) {
	http.Error(w, why, status)
}

// changes reports whether a request may change something.
func changes(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead
}

// sameOrigin reports whether a request comes from a page of ours or from no page at all.
// A request that changes something must name its origin. Another port of this host,
// "same-site" to a browser, is another origin.
func sameOrigin(r *http.Request) bool {
	origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
	if origin != "" {
		u, err := url.Parse(origin)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || !strings.EqualFold(u.Host, r.Host) {
			return false
		}
	}
	switch site {
	case "same-origin":
		return true
	case "none": // typed, or a bookmark
		return !changes(r)
	case "":
		return !changes(r) || origin != ""
	}
	// Another page may link to ours, but nothing else.
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// public reports whether a request needs no token.
func (g *guard) public(r *http.Request) bool {
	return g.token == "" || r.URL.Path == "/login" || r.URL.Path == "/healthz" || strings.HasPrefix(r.URL.Path, "/static/")
}

func (g *guard) loggedIn(r *http.Request) bool {
	c, err := r.Cookie(sessionCookie)
	return err == nil && equal(c.Value, g.session)
}

// bearer reports whether a program has sent the token.
func (g *guard) bearer(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return g.token != "" && strings.EqualFold(scheme, "Bearer") && equal(token, g.token)
}

// equal compares in a time that depends on neither argument.
func equal(got, want string) bool {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return want != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// logIn answers /login.
func (p *page) logIn(w http.ResponseWriter, r *http.Request) {
	to := local(r.FormValue("to"))
	if p.guard.token == "" || p.guard.loggedIn(r) {
		http.Redirect(w, r, to, http.StatusSeeOther) //nolint:gosec // local has looked at it
		return
	}
	status := http.StatusOK
	if r.Method == http.MethodPost {
		if equal(strings.TrimSpace(r.PostFormValue("token")), p.guard.token) {
			http.SetCookie(w, p.guard.cookie(p.guard.session, 0))
			http.Redirect(w, r, to, http.StatusSeeOther) //nolint:gosec // local has looked at it
			return
		}
		p.cfg.Log.Warn("a login with a wrong token was refused", "from", r.RemoteAddr)
		status = http.StatusForbidden
	}
	p.render(w, status, "login", map[string]any{"To": to, "Wrong": status != http.StatusOK})
}

// local returns the address to visit after the login: one of ours, or the first page.
func local(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || !strings.HasPrefix(to, "/") ||
		strings.HasPrefix(to, "//") || strings.Contains(to, `\`) {
		return "/"
	}
	return to
}

func (p *page) logOut(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, p.guard.cookie("", -1))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// cookie is not Secure: this server has no TLS itself.
func (g *guard) cookie(value string, age int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // see above
		Name: sessionCookie, Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
}
