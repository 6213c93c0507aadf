package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/capsulehost"
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

A second table has the durable topics: what they keep, and how many messages each durable
interceptor has not answered yet.

With --json, print an array of

  {"topic": TEXT, "capsule": ID, "action": TEXT, "priority": N}

and for a durable interceptor, for each durable topic that it matches,

  {"topic": TEXT, "capsule": ID, "action": TEXT, "priority": N, "durable": TOPIC,
   "lag": N, "attempts": N}` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNoDaemon),
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(func(c *control.Client) error {
				tree, err := c.Snapshot(cmd.Context(), false)
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(withDurable(tree))
				}
				return a.printTopics(listeners(tree), tree.Bus.Durable)
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

	Durable  string  `json:"durable,omitempty"` // a topic that it matches
	Lag      *uint64 `json:"lag,omitempty"`
	Attempts *uint32 `json:"attempts,omitempty"`
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

// withDurable returns the listeners, a durable one for each of its topics.
func withDurable(tree *messages.Tree) []listener {
	all := []listener{}
	for _, l := range listeners(tree) {
		before := len(all)
		for _, topic := range tree.Bus.Durable {
			for _, s := range topic.Subscriptions {
				if s.Capsule == l.Capsule && s.Action == l.Action && capsulehost.TopicMatches(topic.Name, l.Topic) {
					of := l
					of.Durable, of.Lag, of.Attempts = topic.Name, &s.Lag, &s.Attempts
					all = append(all, of)
				}
			}
		}
		if len(all) == before {
			all = append(all, l)
		}
	}
	return all
}

func (a *app) printTopics(all []listener, durable []messages.DurableTopic) error {
	rows := [][]string{{"TOPIC", "CAPSULE", "ACTION", "PRIORITY"}}
	for _, l := range all {
		rows = append(rows, []string{printable(l.Topic), printable(l.Capsule), printable(l.Action), strconv.FormatUint(uint64(l.Priority), 10)})
	}
	if err := a.print(table(rows)); err != nil || len(durable) == 0 {
		return err
	}
	rows = [][]string{{"DURABLE TOPIC", "KEEPS", "MESSAGES", "BYTES", "CAPSULE", "ACTION", "LAG"}}
	for _, t := range durable {
		keeps := "nothing new"
		if t.Declared {
			keeps = bytesText(t.KeepBytes)
			if t.KeepAge > 0 {
				keeps = duration(t.KeepAge) + ", " + keeps
			}
		}
		row := []string{printable(t.Name), keeps, strconv.FormatUint(t.Messages, 10), bytesText(t.Bytes), "", "", ""}
		for _, s := range t.Subscriptions {
			rows = append(rows, append(row[:4:4], printable(s.Capsule), printable(s.Action), strconv.FormatUint(s.Lag, 10)))
			row = []string{"", "", "", "", "", "", ""}
		}
		if len(t.Subscriptions) == 0 {
			rows = append(rows, row)
		}
	}
	return a.print("\n" + table(rows))
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
