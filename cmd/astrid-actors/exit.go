package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// The exit statuses of all commands.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 3
	exitNoDaemon = 4
)

var exitMeanings = map[int]string{
	exitDone:     "done",
	exitFailed:   "failed",
	exitUsage:    "usage: a flag, an argument or a payload that can't be taken",
	exitNotFound: "no such capsule",
	exitNoDaemon: "no daemon at that socket, or it does not answer",
}

// exitStatus returns the section of a command's help that lists its exit statuses.
func exitStatus(statuses ...int) string {
	var b strings.Builder
	b.WriteString("\n\nExit status:\n")
	for _, s := range statuses {
		fmt.Fprintf(&b, "  %d  %s\n", s, exitMeanings[s])
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// failure is an error with its exit status and, if one helps, a hint. If err is nil,
// everything has been printed already.
type failure struct {
	status int
	err    error
	hint   string
}

// Error returns the error's text.
func (f *failure) Error() string {
	if f.err == nil {
		return fmt.Sprintf("exit status %d", f.status)
	}
	return f.err.Error()
}

// Unwrap returns the wrapped error.
func (f *failure) Unwrap() error { return f.err }

// usage returns a failure for a mistake on the command line.
func usage(format string, args ...any) *failure {
	return &failure{status: exitUsage, err: fmt.Errorf(format, args...)}
}

// report prints an error on the standard error, and returns the exit status.
func (a *app) report(cmd *cobra.Command, err error) int {
	if err == nil {
		return exitDone
	}
	f := asFailure(err)
	if f.err == nil {
		return f.status
	}
	for line := range strings.SplitSeq(f.err.Error(), "\n") {
		fmt.Fprintf(a.stderr, "error: %s\n", printable(line))
	}
	hint := f.hint
	if hint == "" && f.status == exitUsage {
		hint = fmt.Sprintf("see `%s --help`", cmd.CommandPath())
	}
	if hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", printable(hint))
	}
	return f.status
}
