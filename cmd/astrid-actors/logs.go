package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newLogs(a *app) *cobra.Command {
	var (
		asJSON, follow bool
		since          uint64
	)
	cmd := &cobra.Command{
		Use:   "logs ID",
		Short: "Show the log of a capsule",
		Long: `Show the last lines that a capsule has logged: the time, the level, the principal
on whose behalf it ran, if any, and the message. The daemon keeps the last 200 of
each capsule in memory; all of them are in the files below
<home>/home/<principal>/.local/log/<id>.

With --follow, continue with new lines until the daemon ends.

With --json, each line is

  {"sequence": N, "at": TIME, "level": WORD, "principal": TEXT, "message": TEXT, "lost": N}

"lost" is the number of lines before this one that are no longer kept.` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNotFound, exitNoDaemon),
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(func(c *control.Client) error {
				for line, err := range c.Logs(cmd.Context(), args[0], since, follow) {
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
	flags.BoolVarP(&follow, "follow", "f", false, "continue with new lines")
	flags.Uint64Var(&since, "since", 0, "only lines after the one with this `number`")
	return cmd
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
