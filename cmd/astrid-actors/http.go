package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/web"
)

// httpOptions are the flags of run that configure the page.
type httpOptions struct {
	address   string
	tokenFile string
	actions   bool
	noToken   bool
	// command is the start of a command line that reaches this daemon, for the page.
	command string
}

// reachBy sets the command line that reaches the daemon of a.
func (o *httpOptions) reachBy(a *app, socket string) {
	o.command = "astrid-actors"
	if a.socketFlag != "" || a.homeFlag != "" {
		o.command += " --socket " + shellQuoted(socket)
	}
}

func (o *httpOptions) flags(flags *pflag.FlagSet) {
	flags.StringVar(&o.address, "http", "", "also serve a web page, /metrics, /healthz and /readyz at this `address`, for example 127.0.0.1:7711")
	flags.StringVar(&o.tokenFile, "http-token", "", "a `file` with the token that the page requires; needed for addresses that are not loopback")
	flags.BoolVar(&o.actions, "http-actions", false, "allow the page to trigger hooks, to steer, reload and remove capsules, and to show what they keep; needs --http-token or --http-no-token")
	flags.BoolVar(&o.noToken, "http-no-token", false, "allow --http-actions without a token: every user of this machine may act")
}

// makeToken is a hint.
const makeToken = "(umask 077; openssl rand -hex 32 >token), then --http-token token" //nolint:gosec // a command, not a token

// problems returns what the flags of the page can't mean.
func (o *httpOptions) problems() []flagProblem {
	if o.address == "" {
		for _, f := range []struct {
			flag string
			set  bool
		}{{"http-token", o.tokenFile != ""}, {"http-actions", o.actions}, {"http-no-token", o.noToken}} {
			if f.set {
				return []flagProblem{{f.flag, usage("--http-token, --http-no-token and --http-actions are about the page: --http says where it is")}}
			}
		}
		return nil
	}
	var found []flagProblem
	if _, _, err := net.SplitHostPort(o.address); err != nil {
		f := usage("--http is %q: it must be HOST:PORT", o.address)
		f.hint = "--http 127.0.0.1:7711 is for this machine only"
		found = append(found, flagProblem{"http", f})
	}
	switch {
	case o.noToken && o.tokenFile != "":
		found = append(found, flagProblem{"http-no-token", usage("--http-token and --http-no-token exclude each other")})
	case o.actions && o.tokenFile == "" && !o.noToken:
		f := usage("--http-actions without --http-token: every user of this machine could stop capsules and trigger hooks")
		f.hint = "make a token: " + makeToken + "; or say --http-no-token if they all may"
		found = append(found, flagProblem{"http-actions", f})
	}
	return found
}

// listen opens the page's address; it returns nil if no page is wanted.
func (o *httpOptions) listen(ctx context.Context, log *slog.Logger) (*httpPage, error) {
	if o.address == "" {
		return nil, nil //nolint:nilnil // no page is no error
	}
	host, _, err := net.SplitHostPort(o.address)
	if err != nil {
		return nil, fmt.Errorf("--http: %w", err)
	}
	p := &httpPage{cfg: web.Config{Actions: o.actions, Command: o.command, Hosts: []string{host}, Log: log}}
	if o.tokenFile != "" {
		if p.cfg.Token, err = readToken(o.tokenFile, log); err != nil {
			return nil, err
		}
	}
	if p.listener, err = web.Listen(ctx, o.address, p.cfg); err != nil {
		f := &failure{status: exitFailed, err: fmt.Errorf("--http: %w", err)}
		if errors.Is(err, web.ErrOpen) {
			f.status = exitUsage
			f.hint = "listen at 127.0.0.1 and reach it through `ssh -L`, or make a token: " + makeToken
		}
		return nil, f
	}
	if o.actions && o.noToken {
		log.Warn("every user of this machine may act through the page: it has no token")
	}
	log.Info("listening", "page", "http://"+p.listener.Addr().String()+"/", "actions", o.actions)
	return p, nil
}

// readToken reads the page's token. A file that others may read is allowed, since some
// secret stores create only such files, but logs a warning.
func readToken(path string, log *slog.Logger) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", usage("--http-token: %w", err)
	}
	if about, err := os.Stat(path); err == nil && about.Mode().Perm()&0o077 != 0 {
		log.Warn("others than its owner may read the page's token; chmod 600 it", "file", path, "mode", about.Mode().Perm().String())
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", usage("--http-token: %s is empty", path)
	}
	return token, nil
}

// httpPage is the page, once its address is open.
type httpPage struct {
	listener net.Listener
	cfg      web.Config
}

// serve serves the page until ctx ends.
func (p *httpPage) serve(ctx context.Context, sup *supervisor.Supervisor) error {
	return web.Serve(ctx, p.listener, sup, p.cfg)
}
