package catalog

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// hook calls the capsule's own part of an installation, if it has one: astrid_install the
// first time, astrid_upgrade with the version that was installed before at an upgrade. It
// runs in an instance of its own, which then is closed.
func (t *installation) hook(ctx context.Context, module *capsulehost.Module) (err error) {
	export, input := capsulehost.ExportInstall, ""
	if t.old != nil {
		export, input = capsulehost.ExportUpgrade, t.old.version
	}
	if err := t.step("hook"); err != nil || !module.HasExport(export) {
		return err
	}
	id := t.manifest.ID()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := newStopwatch(t.HookTimeout, func() { cancel(context.DeadlineExceeded) })
	defer limit.stop()
	values, warnings := t.manifest.Configuration(t.Home, t.Principal, t.SocketPath)
	for _, w := range warnings {
		t.Log.Warn(w.String())
	}
	api := &hookAPI{id: id, values: values, log: t.Log}
	if t.Services != nil {
		services, release := t.Services(t.manifest)
		defer release()
		if services.Prompts != nil {
			services.Prompts = timelessPrompts{services.Prompts, limit}
		}
		api.services = services
	}
	instance, err := module.Instantiate(ctx, api)
	if err == nil {
		defer func() { _ = instance.Close(context.WithoutCancel(ctx)) }() // it only frees memory
		_, err = instance.Call(ctx, export, []byte(input))
	}
	if err != nil {
		return fmt.Errorf("capsule %q refuses, in %s: %w", id, export, err)
	}
	return nil
}

// hookAPI is the host API of a hook. Like Astrid's, a hook has no caller and no peers: a
// trigger asks nobody, and every capability is denied.
type hookAPI struct {
	id       string
	values   map[string]string
	services *capsulehost.Services
	log      *slog.Logger
}

func (a *hookAPI) Name() string                    { return a.id }
func (a *hookAPI) Config(key string) string        { return a.values[key] }
func (a *hookAPI) Caller() *capsulehost.Caller     { return nil }
func (a *hookAPI) SignalReady()                    {}
func (a *hookAPI) Now() time.Time                  { return time.Now() }
func (a *hookAPI) Services() *capsulehost.Services { return a.services }

// Log writes what the hook logs to the log of whoever installs: the capsule may never get
// a log of its own.
func (a *hookAPI) Log(level capsulehost.LogLevel, message string) {
	levels := map[capsulehost.LogLevel]slog.Level{
		capsulehost.LevelTrace: slog.LevelDebug - 4, capsulehost.LevelDebug: slog.LevelDebug,
		capsulehost.LevelWarn: slog.LevelWarn, capsulehost.LevelError: slog.LevelError,
	}
	a.log.Log(context.Background(), levels[level], message, "capsule", a.id)
}

// stopwatch calls late when it has run for the limit. It can be paused, so that people may
// take their time.
type stopwatch struct {
	timer *time.Timer
	since time.Time
	left  time.Duration
}

func newStopwatch(limit time.Duration, late func()) *stopwatch {
	return &stopwatch{timer: time.AfterFunc(limit, late), since: time.Now(), left: limit}
}

// pause runs f in no time. It is called on one goroutine.
func (s *stopwatch) pause(f func()) {
	if s.timer.Stop() { // else it is late already
		s.left -= time.Since(s.since)
		defer func() {
			s.since = time.Now()
			s.timer.Reset(s.left)
		}()
	}
	f()
}

func (s *stopwatch) stop() { s.timer.Stop() }

// elicitTimeout limits how long a person may think about one question.
const elicitTimeout = 2 * time.Minute

// timelessPrompts are prompts whose time does not count as the hook's.
type timelessPrompts struct {
	capsulehost.Prompts
	limit *stopwatch
}

// Elicit implements capsulehost.Prompts.
func (p timelessPrompts) Elicit(ctx context.Context, q capsulehost.Question) (a capsulehost.Answer, err error) {
	p.limit.pause(func() {
		asked, cancel := context.WithTimeoutCause(ctx, elicitTimeout, fmt.Errorf("nobody has answered %q within %v", q.Key, elicitTimeout))
		defer cancel()
		a, err = p.Prompts.Elicit(asked, q)
	})
	return a, err
}
