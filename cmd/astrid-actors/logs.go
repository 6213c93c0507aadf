package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newLogs(a *app) *cobra.Command {
	var (
		q      logQuery
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "logs ID",
		Short: "Show the log of a capsule",
		Long: `Show the last lines of a capsule's log: the time, the level, the principal on whose
behalf it ran, if any, and the message. These are the lines that it has logged, what it
has written to its standard output ("stdout: ...") and error ("stderr: ..."), and why it
crashed ("host: ..."). The daemon keeps the last 200 of each capsule in memory; all of them
are in the files below <home>/home/<principal>/.local/log/<id>.

With --tail, show only the last lines of those. With --since, only those after the one
with a number, of the last while (10m), or from a time on (2026-01-02T15:04:05Z). With
--follow, continue with new lines until the daemon ends.

With --json, each line is

  {"sequence": N, "at": TIME, "level": WORD, "principal": TEXT, "message": TEXT, "lost": N}

"lost" is the number of lines before this one that are no longer kept.` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNotFound, exitNoDaemon),
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := q.parse(cmd.Flags().Changed("tail"), time.Now()); err != nil {
				return err
			}
			return a.ask(func(c *control.Client) error {
				for line, err := range q.lines(cmd.Context(), c, args[0]) {
					if err == nil {
						err = a.printLogLine(&line, asJSON)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
		ValidArgsFunction: a.completeIDs,
	}
	flags := cmd.Flags()
	flags.BoolVar(&asJSON, "json", false, "print JSON, one object a line")
	flags.BoolVarP(&q.follow, "follow", "f", false, "continue with new lines")
	flags.IntVar(&q.tail, "tail", 0, "only the last `N` of the lines that are kept")
	flags.StringVar(&q.since, "since", "", "only lines after a `number`, of the last while, or from a time on")
	return cmd
}

// logQuery selects lines of a log.
type logQuery struct {
	follow bool
	tail   int // -1 for all
	since  string

	after uint64    // the number of the last line that is left out
	from  time.Time // lines before it are left out
}

// parse reads the flags. It is called once, at the time of the request.
func (q *logQuery) parse(hasTail bool, now time.Time) error {
	switch {
	case !hasTail:
		q.tail = -1
	case q.tail < 0:
		return usage("--tail is %d: it can't be negative", q.tail)
	}
	if q.since == "" {
		return nil
	}
	if n, err := strconv.ParseUint(q.since, 10, 64); err == nil {
		q.after = n
		return nil
	}
	if d, err := time.ParseDuration(q.since); err == nil && d > 0 {
		q.from = now.Add(-d)
		return nil
	}
	at, err := time.Parse(time.RFC3339, q.since)
	if err != nil {
		return usage(`--since is %q: it must be a line's number, a time span such as "10m", or a time such as "2026-01-02T15:04:05Z"`, q.since)
	}
	q.from = at
	return nil
}

// lines yields the lines. Those that are kept come first, since only their number says
// which are the last.
func (q *logQuery) lines(ctx context.Context, c *control.Client, id string) iter.Seq2[messages.LogLine, error] {
	return func(yield func(messages.LogLine, error) bool) {
		var kept []messages.LogLine
		last := q.after
		for line, err := range c.Logs(ctx, id, q.after, false) {
			if err != nil {
				yield(messages.LogLine{}, err)
				return
			}
			last = line.Sequence
			if !line.At.Before(q.from) {
				kept = append(kept, line)
			}
		}
		if q.tail >= 0 {
			kept = kept[max(0, len(kept)-q.tail):]
		}
		for _, line := range kept {
			if !yield(line, nil) {
				return
			}
		}
		if !q.follow {
			return
		}
		for line, err := range c.Logs(ctx, id, last, true) {
			if !yield(line, err) {
				return
			}
		}
	}
}

// printLogLine prints one line, and before it the number of missing ones.
func (a *app) printLogLine(l *messages.LogLine, asJSON bool) error {
	if asJSON {
		text, err := json.Marshal(struct {
			Sequence  uint64 `json:"sequence"`
			At        string `json:"at"`
			Level     string `json:"level"`
			Principal string `json:"principal"`
			Message   string `json:"message"`
			Lost      uint64 `json:"lost"`
		}{l.Sequence, l.At.UTC().Format(time.RFC3339Nano), l.Level, l.Principal, l.Message, l.Lost})
		if err != nil {
			return fmt.Errorf("write line %d: %w", l.Sequence, err)
		}
		return a.print(string(text) + "\n")
	}
	text := ""
	if l.Lost > 0 {
		text = fmt.Sprintf("... lines that are no longer kept: %d\n", l.Lost)
	}
	return a.print(text + fmt.Sprintf("%s  %-5s  %s%s\n", l.At.Local().Format("15:04:05.000"),
		l.Level, bracketed(l.Principal), printable(l.Message)))
}

// bracketed formats a principal as a prefix of its message.
func bracketed(principal string) string {
	if principal == "" {
		return ""
	}
	return "[" + printable(principal) + "] "
}
