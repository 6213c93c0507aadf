package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/astrid-actors/astrid-actors/capsulehost/files"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

func newWorkspace(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "workspace",
		Short: "Look at, commit or discard what capsules wrote",
		Long: `Look at, commit or discard what capsules wrote in a workspace.

A capsule under run --workspace DIR sees DIR as cwd://. What it writes there goes into a
layer of its own, which only this capsule sees, and which outlives it. These commands need
no daemon; with one, a capsule's calls for files wait until they have ended.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return usage("%s has no command %q", cmd.CommandPath(), args[0])
		},
	}
	for _, c := range []*cobra.Command{newWorkspaceDiff(a), newWorkspaceCommit(a), newWorkspaceDiscard(a)} {
		c.Flags().SortFlags = false
		cmd.AddCommand(c)
	}
	return cmd
}

// workspaceOptions are the flags that all commands of workspace have.
type workspaceOptions struct {
	dir, principal string
	json           bool
}

func (o *workspaceOptions) flags(flags *pflag.FlagSet) {
	flags.StringVar(&o.dir, "workspace", ".", "the workspace's `directory`")
	flags.StringVar(&o.principal, "principal", home.DefaultPrincipal, "the `name` of the principal that owns the capsules")
	flags.BoolVar(&o.json, "json", false, "print JSON, one change a line")
}

// space opens the workspace, and returns the given capsules, or those that have changed
// something.
func (o *workspaceOptions) space(a *app, given []string) (*files.Space, []string, error) {
	principal, err := home.ParsePrincipal(o.principal)
	if err != nil {
		return nil, nil, usage("--principal: %w", err)
	}
	for _, id := range given {
		if !home.ValidCapsule(id) {
			return nil, nil, usage("%q is not the id of a capsule", id)
		}
	}
	h, err := a.home()
	if err != nil {
		return nil, nil, err
	}
	if o.dir == "" {
		return nil, nil, usage("--workspace is empty: it must be a directory")
	}
	space, err := files.New(files.Config{Home: h, Principal: principal, Workspace: o.dir})
	if err != nil {
		return nil, nil, err
	}
	if len(given) == 0 {
		given, err = space.Capsules()
	}
	return space, given, err
}

func newWorkspaceDiff(a *app) *cobra.Command {
	var o workspaceOptions
	var names bool
	cmd := &cobra.Command{
		Use:   "diff [CAPSULE...]",
		Short: "Show what capsules changed",
		Long: `Show what capsules, or all of them, have changed in a workspace: A for added, M for
modified, D for removed, and for text the changed lines. An exclamation mark is a
conflict: the workspace has changed there, too.` + exitStatus(exitDone, exitFailed, exitUsage),
		Args: arguments(0, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			space, capsules, err := o.space(a, args)
			if err != nil {
				return err
			}
			none := true
			err = eachChange(cmd.Context(), space, capsules, func(c files.Change) error {
				none = false
				if err := o.printChange(a, c); err != nil || names || o.json || c.Dir {
					return err
				}
				before, after, err := space.Contents(cmd.Context(), c)
				if err != nil {
					return err
				}
				return a.print(textDiff(c.Path, before, after))
			})
			if err == nil && none {
				o.noteNothing(a, space, args)
			}
			return err
		},
	}
	o.flags(cmd.Flags())
	cmd.Flags().BoolVar(&names, "names", false, "print only the names")
	return cmd
}

// noteNothing says that there is no change: in this directory, which may be another one than
// the daemon's workspace, or of these capsules.
func (o *workspaceOptions) noteNothing(a *app, space *files.Space, capsules []string) {
	who := "no capsule has"
	switch {
	case o.json:
		return
	case len(capsules) == 1:
		who = "capsule " + strconv.Quote(capsules[0]) + " has not"
	case len(capsules) > 1:
		who = "these capsules have not"
	}
	fmt.Fprintf(a.stderr, "note: %s changed anything in %s\n", who, space.Workspace())
}

// eachChange calls do for every change of the capsules.
func eachChange(ctx context.Context, space *files.Space, capsules []string, do func(files.Change) error) error {
	for _, id := range capsules {
		changes, err := space.Changes(ctx, id)
		if err != nil {
			return err
		}
		for _, c := range changes {
			if err := do(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// printChange prints one line: capsule, kind, path.
func (o *workspaceOptions) printChange(a *app, c files.Change) error {
	if o.json {
		return a.printJSON(c)
	}
	kind := map[files.ChangeKind]string{files.Added: "A", files.Modified: "M", files.Removed: "D"}[c.Kind]
	mark := " "
	if c.Conflict {
		mark = "!"
	}
	path := c.Path
	if c.Dir {
		path += "/"
	}
	return a.print(fmt.Sprintf("%s %s%s %s\n", printable(c.Capsule), kind, mark, printable(path)))
}

// maxDiff is the size of the largest text that is compared, in bytes.
const maxDiff = 1 << 20

// textDiff returns the changed lines of a text.
func textDiff(path string, before, after []byte) string {
	for _, side := range [][]byte{before, after} {
		if len(side) > maxDiff || !utf8.Valid(side) || bytes.IndexByte(side, 0) >= 0 {
			return ""
		}
	}
	var text strings.Builder
	for line := range strings.Lines(string(diff.Diff("workspace/"+path, before, "capsule/"+path, after))) {
		if strings.HasPrefix(line, "diff ") {
			continue
		}
		text.WriteString(printable(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return text.String()
}

func newWorkspaceCommit(a *app) *cobra.Command {
	var o workspaceOptions
	var force bool
	cmd := &cobra.Command{
		Use:   "commit CAPSULE...",
		Short: "Write what capsules changed into the workspace",
		Long: `Write what capsules have changed into the workspace, and print it. A path that the
workspace has changed, too, stays as it is and is printed as an error, unless --force
writes it all the same.` + exitStatus(exitDone, exitFailed, exitUsage),
		Args: arguments(1, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			space, capsules, err := o.space(a, args)
			if err != nil {
				return err
			}
			var problems []error
			for _, id := range capsules {
				done, left, err := space.Commit(cmd.Context(), id, force)
				for _, c := range done {
					if err := o.printChange(a, c); err != nil {
						return err
					}
				}
				if len(done)+len(left) == 0 && err == nil {
					o.noteNothing(a, space, []string{id})
				}
				for _, c := range left {
					problems = append(problems, fmt.Errorf("%s of capsule %q has changed in the workspace, too", c.Path, id))
				}
				problems = append(problems, err)
			}
			if err := errors.Join(problems...); err != nil {
				return &failure{status: exitFailed, err: err, hint: "look at it with `workspace diff`; --force writes what the capsule has"}
			}
			return nil
		},
	}
	o.flags(cmd.Flags())
	cmd.Flags().BoolVar(&force, "force", false, "also write paths that the workspace has changed")
	return cmd
}

func newWorkspaceDiscard(a *app) *cobra.Command {
	var o workspaceOptions
	cmd := &cobra.Command{
		Use:   "discard CAPSULE...",
		Short: "Drop what capsules changed",
		Long: `Drop what capsules have changed, and print it: they see the workspace as it is. This
can't be undone.` + exitStatus(exitDone, exitFailed, exitUsage),
		Args: arguments(1, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			space, capsules, err := o.space(a, args)
			if err != nil {
				return err
			}
			for _, id := range capsules {
				changes, err := space.Discard(cmd.Context(), id)
				if err != nil {
					return err
				}
				for _, c := range changes {
					if err := o.printChange(a, c); err != nil {
						return err
					}
				}
				if len(changes) == 0 {
					o.noteNothing(a, space, []string{id})
				}
			}
			return nil
		},
	}
	o.flags(cmd.Flags())
	return cmd
}
