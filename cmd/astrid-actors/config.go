package main

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

func newConfig(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and show the configuration of run",
		Long: `Check and show the configuration of run. The file is TOML, <home>/etc/actors.toml
unless --config names another one. It has a key for each flag of run but --home and
--config, with _ for -, and tables for single capsules:

  http = "127.0.0.1:7711"
  call_timeout = "30s"
  capsules = ["../capsules"]        # relative to the file's directory

  [capsule.greeter.supervision]     # wins over the capsule's manifest
  budget = 10
  queue = 1000

  [capsule.greeter.env]             # wins over its .env.json
  greeting = "hello"

A flag on the command line wins over the file. The other commands read only "socket"
from it.`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(a.stderr)
			_ = cmd.Help()
			return &failure{status: exitUsage}
		},
	}
	cmd.AddCommand(newConfigCheck(a), newConfigShow(a))
	return cmd
}

func newConfigCheck(a *app) *cobra.Command {
	var (
		o      runOptions
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Report problems of the configuration file",
		Long: `Read the configuration file as run would. Prints one problem a line, with its file,
line and key, and nothing if there is none. A warning, such as one about a capsule that
is not there, goes to the standard error. With --json an object with two lists of texts,
"problems" and "warnings".` + exitStatus(exitDone, exitFailed, exitUsage),
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := o.load(a, runFlags(&o, cmd))
			if err != nil && o.file == nil {
				return err
			}
			found := newFindings()
			if err = errors.Join(append([]error{err}, o.missing()...)...); err != nil {
				found.problem(err)
				return a.printFound(found, asJSON)
			}
			found.warn(o.file.warnings)
			absent, err := a.absent(&o)
			if err != nil {
				return err
			}
			found.warn(absent)
			return a.printFound(found, asJSON)
		},
	}
	configFlag(cmd, &o.configFlag)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// runFlags returns the flags of run, for a command that has none of them but --config.
func runFlags(o *runOptions, cmd *cobra.Command) *pflag.FlagSet {
	run := &cobra.Command{}
	path := o.configFlag
	o.flags(run)
	o.configFlag = path
	run.Flags().AddFlagSet(cmd.InheritedFlags())
	return run.Flags()
}

// absent returns the settings for capsules that run would not find.
func (a *app) absent(o *runOptions) (manifest.Problems, error) {
	if len(o.file.capsules) == 0 {
		return nil, nil
	}
	h, err := a.home()
	if err != nil {
		return nil, err
	}
	return o.file.absent(o.discover(h)), nil
}

// discover returns the ids of the capsules that run would find.
func (o *runOptions) discover(h home.Home) map[string]bool {
	found := map[string]bool{}
	d := manifest.Discover(o.places(h), len(o.capsules) > 0)
	for _, m := range d.Manifests {
		found[m.ID()] = true
	}
	for _, r := range d.Rejected {
		found[r.ID] = true
	}
	return found
}

func newConfigShow(a *app) *cobra.Command {
	var (
		o      runOptions
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the effective configuration, and where each value comes from",
		Long: `Show the configuration that run would have with the same flags: each value, and where
it comes from: "default", FILE:LINE, "environment" or "flag". Values of [capsule.ID.env]
are masked, since they may be secret.

With --json, print an array of {"key": TEXT, "value": TEXT, "from": TEXT}. The value of a
list is its elements with commas between them.` + exitStatus(exitDone, exitFailed, exitUsage),
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags := cmd.Flags()
			if err := o.load(a, flags); err != nil {
				return err
			}
			settings, err := o.effective(a, flags)
			if err != nil {
				return err
			}
			return a.printConfig(settings, asJSON)
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// effective returns the value of each flag and of each capsule's settings, and where it
// comes from.
func (o *runOptions) effective(a *app, flags *pflag.FlagSet) ([]setting, error) {
	cfg, err := o.config(a)
	if err != nil {
		return nil, err
	}
	resolved := map[string]string{"home": cfg.Home, "socket": cfg.SocketPath, "cache": cfg.CacheDir}
	var all []setting
	flags.VisitAll(func(flag *pflag.Flag) {
		if slices.Contains([]string{"config", "daemon-timeout", "help", "json"}, flag.Name) {
			return
		}
		s := setting{Key: keyOf(flag.Name), Value: cmp.Or(resolved[flag.Name], flagText(flag)), From: "default"}
		switch own, inFile := o.file.flags[flag.Name]; {
		case inFile:
			s.From = o.file.at(own.line)
		case flag.Changed:
			s.From = "flag"
		case flag.Name == "home" && os.Getenv(home.Variable) != "":
			s.From = "environment"
		}
		all = append(all, s)
	})
	return append(all, o.file.settings...), nil
}

// flagText returns a flag's value; the elements of a list have commas between them.
func flagText(flag *pflag.Flag) string {
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		return strings.Join(list.GetSlice(), ",")
	}
	return flag.Value.String()
}

func (a *app) printConfig(settings []setting, asJSON bool) error {
	if asJSON {
		return a.printJSON(settings)
	}
	rows := [][]string{{"KEY", "VALUE", "FROM"}}
	for _, s := range settings {
		rows = append(rows, []string{printable(s.Key), orDash(printable(s.Value)), printable(s.From)})
	}
	return a.print(table(rows))
}
