package main

import (
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// configReader reads the configuration of a running daemon again, and compares it with
// what is in effect.
type configReader struct {
	given    []*pflag.Flag // on the command line: they win over the file
	inEffect []setting
	groups   []supervisor.Group // in effect
	log      *slog.Logger
}

// reader returns what reads the daemon's configuration again. It is called after load.
func (o *runOptions) reader(a *app, flags *pflag.FlagSet, log *slog.Logger) (*configReader, error) {
	r := &configReader{groups: o.file.groups, log: log}
	flags.VisitAll(func(f *pflag.Flag) {
		if _, inFile := o.file.flags[f.Name]; f.Changed && !inFile {
			r.given = append(r.given, f)
		}
	})
	var err error
	r.inEffect, err = o.effective(a, flags)
	return r, err
}

// read is supervisor.Config.ReadConfig.
func (r *configReader) read() (supervisor.Configuration, error) {
	var a app
	var next runOptions
	cmd := &cobra.Command{}
	next.flags(cmd)
	flags := cmd.Flags()
	a.flags(flags)
	for _, given := range r.given {
		if err := copyFlag(flags, given); err != nil {
			return supervisor.Configuration{}, err
		}
	}
	if err := next.load(&a, flags); err != nil {
		return supervisor.Configuration{}, err
	}
	settings, err := next.effective(&a, flags)
	if err != nil {
		return supervisor.Configuration{}, err
	}
	for _, w := range next.file.warnings {
		r.log.Warn(w.String())
	}
	changes := r.compare(settings, next.file.groups)
	return supervisor.Configuration{
		CapsuleSettings: next.file.capsules, Topics: next.file.topics, Changes: changes,
		Adopted: func() { r.adopt(settings, next.logLevel) },
	}, nil
}

// live reports whether a setting can be changed while the daemon runs.
func live(key string) bool {
	return key == "log_level" || strings.HasPrefix(key, "capsule.") || strings.HasPrefix(key, topicKey)
}

// adopt records what is in effect now.
func (r *configReader) adopt(settings []setting, logLevel string) {
	isLive := func(s setting) bool { return live(s.Key) }
	r.inEffect = slices.DeleteFunc(r.inEffect, isLive)
	for _, s := range settings {
		if isLive(s) {
			r.inEffect = append(r.inEffect, s)
		}
	}
	if level, err := zerolog.ParseLevel(logLevel); err == nil { // load has checked it
		zerolog.SetGlobalLevel(level)
	}
}

// compare returns how settings differ from those in effect, sorted by key.
func (r *configReader) compare(settings []setting, groups []supervisor.Group) []messages.SettingChange {
	var changes []messages.SettingChange
	add := func(key, previous, value string) {
		changes = append(changes, messages.SettingChange{Key: key, Applied: live(key), Previous: previous, Value: value})
	}
	before := map[string]setting{}
	for _, s := range r.inEffect {
		before[s.Key] = s
	}
	for _, s := range settings {
		old := before[s.Key]
		delete(before, s.Key)
		if old.Value != s.Value || old.unmasked != s.unmasked {
			add(s.Key, old.Value, s.Value)
		}
	}
	for key, old := range before {
		add(key, old.Value, "")
	}
	if before, now := withoutSource(r.groups), withoutSource(groups); !reflect.DeepEqual(before, now) {
		add("supervisor", groupNames(before), groupNames(now))
	}
	slices.SortFunc(changes, func(a, b messages.SettingChange) int { return strings.Compare(a.Key, b.Key) })
	return changes
}

// withoutSource returns groups without their lines in the file.
func withoutSource(groups []supervisor.Group) []supervisor.Group {
	out := slices.Clone(groups)
	for i := range out {
		out[i].Source = ""
	}
	return out
}

func groupNames(groups []supervisor.Group) string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.Name
	}
	return strings.Join(names, ",")
}

// copyFlag sets a flag as another set has it.
func copyFlag(to *pflag.FlagSet, from *pflag.Flag) error {
	flag := to.Lookup(from.Name)
	if flag == nil {
		return fmt.Errorf("there is no flag --%s", from.Name)
	}
	flag.Changed = true
	list, isList := flag.Value.(pflag.SliceValue)
	if values, ok := from.Value.(pflag.SliceValue); ok && isList {
		return list.Replace(values.GetSlice())
	}
	return flag.Value.Set(from.Value.String())
}
