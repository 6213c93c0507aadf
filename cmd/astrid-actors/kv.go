package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newKV(a *app) *cobra.Command {
	k := kv{app: a}
	cmd := &cobra.Command{
		Use:   "kv ID list|get|set|rm|export|import [ARGUMENT ...]",
		Short: "Show and change the durable state of a capsule",
		Long: `Show and change the durable state of a capsule, which it keeps for the principal that
owns it, or for the one of --principal:

  kv ID list [PREFIX]     the keys that begin with PREFIX, with the sizes of their values
  kv ID get KEY           the value, exactly as it is
  kv ID set KEY [VALUE]   VALUE, of at most 10 MiB; without it, the standard input
  kv ID rm KEY            delete the key; fails if there is none
  kv ID export            every key with its value, one JSON object a line
  kv ID import            what export has printed, from the standard input

A line of export is {"key": TEXT, "value": TEXT}, or {"key": TEXT, "base64": TEXT} for a
value that is not UTF-8. With --json, a line of list is {"key": TEXT, "size": N}.

What set has written is durable when the command ends. The capsule runs on: what it
has read already, it may write again, so stop it first if it matters. The daemon must
run; backup and restore work without one.` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNotFound, exitNoDaemon),
		Example: `  astrid-actors kv counter get count
  astrid-actors kv counter export --principal alice > alice.jsonl`,
		Args: arguments(2, 4),
		RunE: k.run,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []cobra.Completion{"list", "get", "set", "rm", "export", "import"}, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeIDs(cmd, args, word)
		},
	}
	cmd.Flags().StringVar(&k.of.Principal, "principal", "", "the `name` of the principal whose state it is (default the owner of the capsules)")
	cmd.Flags().BoolVar(&k.json, "json", false, "with list: print JSON, one object a line")
	return cmd
}

// kv is one execution of the command.
type kv struct {
	*app
	of   control.StateOf
	json bool
}

func (k *kv) run(cmd *cobra.Command, args []string) error {
	verb, rest := args[1], args[2:]
	k.of.Capsule = args[0]
	ctx := cmd.Context()
	verbs := map[string]struct {
		least, most int
		do          func(c *control.Client) error
	}{
		"list":   {0, 1, func(c *control.Client) error { return k.list(ctx, c, append(slices.Clone(rest), "")[0]) }},
		"get":    {1, 1, func(c *control.Client) error { return k.get(ctx, c, rest[0]) }},
		"set":    {1, 2, func(c *control.Client) error { return k.set(ctx, c, rest) }},
		"rm":     {1, 1, func(c *control.Client) error { return k.remove(ctx, c, rest[0]) }},
		"export": {0, 0, func(c *control.Client) error { return k.export(ctx, c) }},
		"import": {0, 0, func(c *control.Client) error { return k.importLines(ctx, c) }},
	}
	v, ok := verbs[verb]
	switch {
	case !ok:
		return usage("unknown command %q: it must be list, get, set, rm, export or import", verb)
	case len(rest) < v.least:
		return usage("kv ID %s needs a KEY", verb)
	case len(rest) > v.most:
		return usage("kv ID %s takes no argument %q", verb, rest[v.most])
	}
	return k.ask(v.do)
}

func (k *kv) list(ctx context.Context, c *control.Client, prefix string) error {
	rows := [][]string{{"KEY", "SIZE"}}
	for e, err := range c.StateList(ctx, k.of, prefix, false) {
		if err != nil {
			return err
		}
		if !k.json {
			rows = append(rows, []string{printable(e.Key), fmt.Sprint(e.Size)})
			continue
		}
		err := k.printLine(struct {
			Key  string `json:"key"`
			Size uint64 `json:"size"`
		}{e.Key, e.Size})
		if err != nil {
			return err
		}
	}
	if k.json {
		return nil
	}
	return k.print(k.painter().table(rows, func(_, _ int, text string) string { return text }))
}

func (k *kv) get(ctx context.Context, c *control.Client, key string) error {
	value, err := c.StateGet(ctx, k.of, key)
	if err != nil {
		return err
	}
	return k.print(string(value))
}

func (k *kv) set(ctx context.Context, c *control.Client, args []string) error {
	if len(args) == 2 {
		return c.StateSet(ctx, k.of, args[0], []byte(args[1]))
	}
	value, err := io.ReadAll(io.LimitReader(k.stdin, capsulehost.MaxStateValue+1)) // the daemon refuses one more
	if err != nil {
		return fmt.Errorf("read the value: %w", err)
	}
	return c.StateSet(ctx, k.of, args[0], value)
}

func (k *kv) remove(ctx context.Context, c *control.Client, key string) error {
	existed, err := c.StateDelete(ctx, k.of, key)
	if err == nil && !existed {
		err = fmt.Errorf("there is no key %q", key)
	}
	return err
}

// kvLine is a line of export.
type kvLine struct {
	Key    string  `json:"key"`
	Value  *string `json:"value,omitempty"`
	Base64 *string `json:"base64,omitempty"`
}

func (k *kv) export(ctx context.Context, c *control.Client) error {
	for e, err := range c.StateList(ctx, k.of, "", true) {
		if err != nil {
			return err
		}
		line := kvLine{Key: e.Key}
		if utf8.Valid(e.Value) {
			line.Value = new(string(e.Value))
		} else {
			line.Base64 = new(base64.StdEncoding.EncodeToString(e.Value))
		}
		if err := k.printLine(line); err != nil {
			return err
		}
	}
	return nil
}

// printLine prints one JSON object on a line, with < and > as they are.
func (k *kv) printLine(object any) error {
	encoder := json.NewEncoder(k.stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(object); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}

// importLines sets every key of an export. It ends at the first line that it can't take.
func (k *kv) importLines(ctx context.Context, c *control.Client) error {
	lines := bufio.NewScanner(k.stdin)
	lines.Buffer(nil, 8*capsulehost.MaxStateValue) // the largest value, each byte escaped
	for n := 1; lines.Scan(); n++ {
		key, value, err := parseKVLine(lines.Bytes())
		if err != nil {
			return usage("line %d: %w; the lines before it were imported", n, err)
		}
		if err := c.StateSet(ctx, k.of, key, value); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the standard input: %w", err)
	}
	return nil
}

func parseKVLine(text []byte) (key string, value []byte, err error) {
	var line kvLine
	if err := json.Unmarshal(text, &line); err != nil {
		return "", nil, err
	}
	switch {
	case line.Key == "":
		return "", nil, errors.New(`it has no "key"`)
	case (line.Value == nil) == (line.Base64 == nil):
		return "", nil, errors.New(`it must have either a "value" or a "base64"`)
	case line.Value != nil:
		return line.Key, []byte(*line.Value), nil
	}
	value, err = base64.StdEncoding.DecodeString(*line.Base64)
	return line.Key, value, err
}
