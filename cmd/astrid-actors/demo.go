package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

// demoLimit limits the duration of the whole story.
const demoLimit = 20 * time.Second

func newDemo(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Run a short demonstration",
		Long: `Start the demo capsules in a temporary home, and tell a story with them: a trigger, a
crash, the recovery, two capsules that trigger each other, and a restart budget that is
spent. Every command that it shows is executed, and every output is real.

To type the commands yourself, use astrid-actors run --demo.` + exitStatus(exitDone, exitFailed, exitUsage),
		Args: arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if a.homeFlag != "" || a.socketFlag != "" {
				return usage("demo has a home of its own: leave --home and --socket out")
			}
			return a.demo()
		},
	}
}

// demo runs a daemon with the demo capsules, and runs the story against it.
func (a *app) demo() (err error) {
	home, err := os.MkdirTemp("", "astrid-actors-demo-")
	if err != nil {
		return fmt.Errorf("make a home for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(home)) }()
	capsules, err := extractDemo(home)
	if err != nil {
		return err
	}
	signalled, stop := untilSignal(slog.New(slog.DiscardHandler))
	defer stop()
	ctx, cancel := context.WithTimeoutCause(signalled, demoLimit, fmt.Errorf("the demo did not end within %v", demoLimit))
	defer cancel()

	socket, log := filepath.Join(home, "run", "actors.sock"), &logLines{}
	ready, served := make(chan struct{}), make(chan error, 1)
	go func() {
		served <- serve(ctx, supervisor.Config{
			Home: home, CapsuleDirs: []string{capsules}, SocketPath: socket,
			Log: slog.New(zerolog.NewSlogHandler(zerolog.New(zerolog.ConsoleWriter{
				Out: log, NoColor: true, PartsExclude: []string{zerolog.TimestampFieldName},
			}))),
		}, httpOptions{}, nil, func(context.Context, *supervisor.Supervisor) { close(ready) })
	}()
	select {
	case err := <-served:
		return errors.Join(errors.New("the demo's daemon did not start"), err)
	case <-ready:
	}
	s := &story{app: a, ctx: ctx, home: home, client: control.Dial(socket), log: log}
	s.tell()
	if s.err != nil && ctx.Err() != nil {
		s.err = context.Cause(ctx)
	}
	cancel()
	return errors.Join(s.err, <-served)
}

// story runs commands and explains them. After its first error it does nothing more.
type story struct {
	app    *app
	ctx    context.Context //nolint:containedctx // the story's own
	home   string
	client *control.Client
	log    *logLines // the daemon's
	err    error
}

func (s *story) tell() {
	s.say(`Six capsules, each a WebAssembly module of its own, run under one supervisor.`)
	s.do("ps")

	s.say(`A trigger asks every capsule that wants its topic. The answers come in the
order of the capsules' priorities, whichever is faster.`)
	s.do("trigger", "greet.world", `{"name": "Ada"}`)

	s.say(`The crasher counts the calls that it has served, in its own memory.`)
	s.do("trigger", "demo.ping")
	s.do("trigger", "demo.ping")

	s.say(`Now it crashes in the middle of a call. The caller hears so at once.`)
	s.do("trigger", "demo.crash", "--json")

	s.say(`Its supervisor has put a fresh instance in its place. No other capsule noticed, and
the memory of the old instance is gone: it counts from 1 again.`)
	await[messages.CapsuleReady](s, 2)
	s.do("trigger", "demo.ping")

	s.say(`Ping asks pong in the middle of a call, and pong asks ping, which waits. That
would take for ever, so that last question is answered "deadlock", at once.`)
	s.do("trigger", "rally.ping", "--json")
	s.say(`In the daemon's log:`)
	s.logged("outcome=deadlock")

	s.say(`A capsule that crashes again and again gets three restarts a minute, each after
a longer pause; then its supervisor gives it up.`)
	since := s.sequence()
	s.do("kill", "crasher")
	await[messages.CapsuleReady](s, 3)
	s.do("kill", "crasher")
	await[messages.CapsuleReady](s, 4)
	s.do("kill", "crasher")
	await[messages.CapsuleFailed](s, 4)
	s.do("events", "--since", fmt.Sprint(since))

	s.say(`It stays in the tree as failed, and a trigger is answered so.`)
	s.do("tree")
	s.do("trigger", "demo.ping", "--json")

	s.say(`Until an operator starts it again.`)
	s.do("start", "crasher")
	s.do("trigger", "demo.ping")

	s.say(`That was the demo. To type these commands yourself: astrid-actors run --demo`)
}

// say prints an explanation of the next step.
func (s *story) say(text string) {
	if s.err == nil {
		s.err = s.app.print("\n" + text + "\n")
	}
}

// do prints a command and executes it.
func (s *story) do(args ...string) {
	if s.err != nil {
		return
	}
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = shellQuoted(arg)
	}
	line := strings.Join(quoted, " ")
	if s.err = s.app.print("\n  $ astrid-actors " + line + "\n"); s.err != nil {
		return
	}
	var output bytes.Buffer
	inner := &app{stdin: strings.NewReader(""), stdout: &output, stderr: &output}
	status := inner.execute(s.ctx, append(args, "--home", s.home))
	for text := range strings.Lines(output.String()) {
		s.err = errors.Join(s.err, s.app.print("  "+text))
	}
	if status != exitDone {
		s.err = errors.Join(s.err, fmt.Errorf("the demo's `%s` ended with exit status %d", line, status))
	}
}

// logged prints the lines of the daemon's log that contain a text.
func (s *story) logged(text string) {
	lines := s.log.with(text)
	if s.err == nil && lines == "" {
		s.err = fmt.Errorf("the demo's daemon logged nothing with %q", text)
	}
	if s.err == nil {
		s.err = s.app.print("\n" + lines)
	}
}

// logLines keeps the lines written to it. It may be used from any goroutine.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

// Write takes one line, as zerolog writes them.
func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(line))
	return len(line), nil
}

// with returns the lines that contain a text, indented.
func (l *logLines) with(text string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			b.WriteString("  " + line)
		}
	}
	return b.String()
}

// sequence returns the number of the last event.
func (s *story) sequence() uint64 {
	if s.err != nil {
		return 0
	}
	tree, err := s.client.Snapshot(s.ctx, false)
	if err != nil {
		s.err = fmt.Errorf("ask the demo's daemon: %w", err)
		return 0
	}
	return tree.Sequence
}

// await waits for an event of one kind for a generation of the crasher.
func await[Kind messages.Detail](s *story, generation uint64) {
	if s.err != nil {
		return
	}
	for e, err := range s.client.Events(s.ctx, control.EventsRequest{Follow: true}) {
		if err != nil {
			s.err = fmt.Errorf("follow the demo's events: %w", err)
			return
		}
		if _, ok := e.Detail.(Kind); ok && e.Path == "capsules/crasher" && e.Generation == generation {
			return
		}
	}
	s.err = errors.New("the demo's events ended too early")
}

var plainArgument = regexp.MustCompile(`^[A-Za-z0-9_./=:@%+,-]+$`)

// shellQuoted quotes an argument for a shell, if needed.
func shellQuoted(arg string) string {
	if plainArgument.MatchString(arg) {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}
