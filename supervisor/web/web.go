package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/health"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/httpserver"
	"github.com/astrid-actors/astrid-actors/supervisor/metrics"
)

// maxForm limits the size of a form, in bytes: the largest payload, with each of its
// bytes escaped.
const maxForm = 3*supervisor.MaxPayload + 64<<10

//go:embed static templates
var files embed.FS

// Config sets who may look, and whether they may act. Its zero value is a read-only page
// for this machine's users.
type Config struct {
	// Token must be sent by every browser or program; "" means that none is needed. It
	// has at least 16 visible ASCII characters.
	Token string
	// Hosts are further names of this server in browsers, beside localhost, the
	// machine's own name and all its IP addresses. They are used with a token only.
	Hosts []string
	// Actions allows everyone who may look to trigger hooks, to start, stop, restart, kill,
	// reload, install and remove capsules, to have the configuration read again, to see the values that they keep, and to approve what they
	// ask for.
	Actions bool
	// Command is the program's name in the command lines that the page shows; "" means
	// "astrid-actors".
	Command string
	// Log receives problems and the commands given; nil logs nothing.
	Log *slog.Logger
}

// Serve serves on l until ctx ends, and closes l: the page at /, and /metrics, /healthz
// and /readyz. Requests that are still open a second later are closed. It returns nil
// after such an end; an error is the listener's or the configuration's.
//
// A request must arrive within a minute, and at most 512 connections are open.
func Serve(ctx context.Context, l net.Listener, s *supervisor.Supervisor, cfg Config) error {
	return serve(ctx, l, s, cfg, defaultLimits)
}

// limits are the limits of clients. Answers, including streams, have no time limit.
type limits struct {
	headers, request time.Duration // for a request's headers, and for all of it
	idle             time.Duration // between requests
	connections      int64
}

var defaultLimits = limits{headers: 10 * time.Second, request: time.Minute, idle: 2 * time.Minute, connections: 512}

func serve(ctx context.Context, l net.Listener, s *supervisor.Supervisor, cfg Config, limits limits) error {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	p, err := newPage(s, cfg)
	if err != nil {
		_ = l.Close()
		return err
	}
	server := &http.Server{
		Handler:           p.guard.wrap(p.routes()),
		ReadHeaderTimeout: limits.headers,
		ReadTimeout:       limits.request,
		IdleTimeout:       limits.idle,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
	}
	server.RegisterOnShutdown(p.endStreams)
	return httpserver.Serve(ctx, newCrowded(l, limits.connections, cfg.Log), server, p.watch.run)
}

// page is shared by all requests. Only the watch in it changes.
type page struct {
	supervisor *supervisor.Supervisor
	cfg        Config
	guard      *guard
	watch      *watch
	still      templates // for pages: their clocks do not tick
	moving     templates // for streams: the script writes the clocks
	version    string    // of the files in static/
	boot       string    // identifies this process: a browser that knows another one loads its page again
	ended      chan struct{}
	endStreams func()
}

func newPage(s *supervisor.Supervisor, cfg Config) (*page, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Command == "" {
		cfg.Command = "astrid-actors"
	}
	p := &page{supervisor: s, cfg: cfg, guard: newGuard(&cfg), watch: newWatch(s), ended: make(chan struct{})}
	p.endStreams = sync.OnceFunc(func() { close(p.ended) })
	sum := sha256.New()
	for _, name := range []string{"static/page.css", "static/page.js", "static/icon.svg"} {
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		sum.Write(data)
	}
	p.version = hex.EncodeToString(sum.Sum(nil))[:12]
	p.boot = rand.Text()[:8]
	var err error
	if p.still, err = parse(false); err != nil {
		return nil, err
	}
	p.moving, err = parse(true)
	return p, err
}

func (p *page) routes() http.Handler {
	mux := http.NewServeMux()
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // it is a valid path
	}
	assets := http.StripPrefix("/static/", http.FileServerFS(static))
	mux.HandleFunc("GET /static/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("v") == p.version {
			w.Header().Set("Cache-Control", "max-age=31536000, immutable")
		}
		assets.ServeHTTP(w, r)
	})
	for name, path := range map[string]string{
		"overview": "/{$}", "capsules": "/capsules", "capsule": "/capsules/{id}", "state": "/capsules/{id}/state",
		"group": "/groups/{id}", "bus": "/bus", "approvals": "/approvals", "events": "/events", "traces": "/traces", "trace": "/traces/{id}", "trigger": "/trigger",
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { p.show(w, r, name) })
	}
	mux.HandleFunc("GET /stream", p.stream)
	mux.HandleFunc("POST /trigger", p.trigger)
	for _, command := range []string{"/capsules/{id}/{verb}", "/groups/{id}/{verb}", "/reload", "/reload/config"} {
		mux.HandleFunc("GET "+command, p.confirm)
		mux.HandleFunc("POST "+command, p.act)
	}
	mux.HandleFunc("GET /install", p.chooseFile)
	mux.HandleFunc("POST /install", p.install)
	mux.HandleFunc("POST /approvals/{id}/{decision}", p.decide)
	mux.HandleFunc("GET /login", p.logIn)
	mux.HandleFunc("POST /login", p.logIn)
	mux.HandleFunc("POST /logout", p.logOut)
	mux.Handle("GET /metrics", metrics.Handler(p.supervisor))
	checks := health.Handler(p.supervisor)
	mux.Handle("GET /healthz", checks)
	mux.Handle("GET /readyz", checks)
	return mux
}
