package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/term"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// prompter asks the person at the terminal what a capsule's hook wants to know.
type prompter struct {
	app   *app
	lines *bufio.Reader // of the standard input; a terminal gives one line at a time
}

// prompts returns what asks the person at the terminal.
func (a *app) prompts() func(ctx context.Context, capsule string, q supervisor.Question) (supervisor.Answer, error) {
	return (&prompter{app: a, lines: bufio.NewReader(a.stdin)}).ask
}

// ask asks until the answer fits. It fails if the standard input is no terminal.
func (p *prompter) ask(ctx context.Context, capsule string, q supervisor.Question) (supervisor.Answer, error) {
	out := p.app.stderr
	if !isTerminal(p.app.stdin) {
		return supervisor.Answer{}, fmt.Errorf("it asks for %q%s, and the standard input is no terminal: install it at one", q.Key, described(q))
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	fmt.Fprintf(out, "%s asks for %s%s\n", printable(capsule), printable(q.Key), printable(described(q)))
	for n, option := range q.Options {
		fmt.Fprintf(out, "  %d  %s\n", n+1, printable(option))
	}
	for {
		answer, err := p.once(ctx, q)
		if err != nil {
			return answer, fmt.Errorf("it asks for %q: %w", q.Key, err)
		}
		problem := q.Check(answer)
		if problem == nil {
			return answer, nil
		}
		fmt.Fprintln(out, printable(problem.Error()))
	}
}

// described returns a question's description in brackets.
func described(q supervisor.Question) string {
	if q.Description == "" {
		return ""
	}
	return " (" + q.Description + ")"
}

// once reads one answer.
func (p *prompter) once(ctx context.Context, q supervisor.Question) (supervisor.Answer, error) {
	switch q.Kind {
	case capsulehost.AskSecret:
		value, err := p.read(ctx, "not shown: ", true)
		return supervisor.Answer{Value: value}, err
	case capsulehost.AskArray:
		var values []string
		for {
			value, err := p.read(ctx, "one a line, an empty one ends: ", false)
			if err != nil || value == "" {
				return supervisor.Answer{Values: values}, err
			}
			values = append(values, value)
		}
	case capsulehost.AskSelect:
		value, err := p.read(ctx, "number or text: "+defaultHint(q), false)
		if n, _ := strconv.Atoi(value); !slices.Contains(q.Options, value) && n >= 1 && n <= len(q.Options) {
			value = q.Options[n-1]
		}
		return supervisor.Answer{Value: p.or(value, q)}, err
	default:
		value, err := p.read(ctx, defaultHint(q), false)
		return supervisor.Answer{Value: p.or(value, q)}, err
	}
}

// defaultHint returns the question's default in brackets.
func defaultHint(q supervisor.Question) string {
	if q.Default == nil {
		return ""
	}
	return "[" + printable(*q.Default) + "] "
}

// or returns the question's default for no input.
func (p *prompter) or(value string, q supervisor.Question) string {
	if value == "" && q.Default != nil {
		return *q.Default
	}
	return value
}

// read reads a line; a secret one without echo. If ctx ends first, the terminal is put back
// as it was, and the read is left behind: the program is about to end.
func (p *prompter) read(ctx context.Context, hint string, secret bool) (string, error) {
	fd := -1
	if file, ok := p.app.stdin.(interface{ Fd() uintptr }); ok {
		fd = int(file.Fd())
	}
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("the terminal: %w", err)
	}
	fmt.Fprint(p.app.stderr, "> "+hint)
	type line struct {
		text string
		err  error
	}
	read := make(chan line, 1)
	go func() {
		if secret {
			text, err := term.ReadPassword(fd)
			read <- line{string(text), err}
			return
		}
		text, err := p.lines.ReadString('\n')
		read <- line{strings.TrimRight(text, "\r\n"), err}
	}()
	select {
	case got := <-read:
		if secret {
			fmt.Fprintln(p.app.stderr)
		}
		if errors.Is(got.err, io.EOF) {
			got.err = errors.New("the input has ended")
		}
		return got.text, got.err
	case <-ctx.Done():
		fmt.Fprintln(p.app.stderr)
		if err := term.Restore(fd, before); err != nil {
			return "", errors.Join(context.Cause(ctx), err)
		}
		return "", context.Cause(ctx)
	}
}
