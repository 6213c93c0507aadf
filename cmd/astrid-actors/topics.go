package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newTopics(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "topics",
		Short: "List the topics that capsules listen to",
		Long: `List the topics that capsules listen to, as their manifests name them, in the order in
which a trigger of the topic asks: * matches any one segment. A capsule that does not run
is listed, too.

With --json, print an array of

  {"topic": TEXT, "capsule": ID, "action": TEXT, "priority": N}` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNoDaemon),
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(func(c *control.Client) error {
				tree, err := c.Snapshot(cmd.Context(), false)
				if err != nil {
					return err
				}
				return a.printTopics(listeners(tree), asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// listener is one interceptor of one capsule.
type listener struct {
	Topic    string `json:"topic"`
	Capsule  string `json:"capsule"`
	Action   string `json:"action"`
	Priority uint32 `json:"priority"`
}

// listeners returns all interceptors: by topic, and those of one topic in the order of a
// trigger's legs.
func listeners(tree *messages.Tree) []listener {
	all := []listener{}
	for _, c := range tree.Capsules {
		for _, i := range c.Interceptors {
			all = append(all, listener{Topic: i.Event, Capsule: c.ID, Action: i.Action, Priority: i.Priority})
		}
	}
	slices.SortStableFunc(all, func(a, b listener) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Capsule, b.Capsule))
	})
	return all
}

func (a *app) printTopics(all []listener, asJSON bool) error {
	if asJSON {
		return a.printJSON(all)
	}
	rows := [][]string{{"TOPIC", "CAPSULE", "ACTION", "PRIORITY"}}
	for _, l := range all {
		rows = append(rows, []string{printable(l.Topic), printable(l.Capsule), printable(l.Action), strconv.FormatUint(uint64(l.Priority), 10)})
	}
	return a.print(table(rows))
}

// completeTopics returns the topics that capsules listen to for shell completion. Of a
// pattern it offers the part before the first segment that matches anything.
func (a *app) completeTopics(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault // a payload may be @FILE
	}
	var topics []cobra.Completion
	directive := cobra.ShellCompDirectiveNoFileComp
	_ = a.ask(func(c *control.Client) error {
		tree, err := c.Snapshot(cmd.Context(), false)
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, l := range listeners(tree) {
			topic, _, isPattern := strings.Cut("."+l.Topic+".", ".*.")
			topic = strings.Trim(topic, ".")
			if isPattern && topic != "" {
				topic += "."
				directive |= cobra.ShellCompDirectiveNoSpace
			}
			if topic != "" && !seen[topic] {
				seen[topic] = true
				topics = append(topics, cobra.CompletionWithDesc(topic, l.Capsule))
			}
		}
		return nil
	})
	return topics, directive
}
