package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/internal/tomlfile"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// maxConfigFile limits the size of a configuration file, in bytes.
const maxConfigFile = 1 << 20

// configFile is what the operator's configuration file says: the flags of run, and
// decisions about single capsules. The zero value is that of a file that is missing.
type configFile struct {
	path     string
	flags    map[string]fileFlag // by the flag's name
	capsules map[string]supervisor.CapsuleSettings
	groups   []supervisor.Group
	topics   []supervisor.Topic
	lines    map[string]int // of each capsule's table
	settings []setting      // of capsules and topics, for config show
	warnings tomlfile.Problems
}

// fileFlag is a flag's value in the file.
type fileFlag struct {
	values []string // one, except for a list
	line   int
}

// setting is one effective value, and where it comes from.
type setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	From  string `json:"from"`

	unmasked string // of a value that is masked
}

// notInFile are the flags of run that a file can't set: they say which file it is, or are
// for the other commands.
var notInFile = []string{"config", "home", "daemon-timeout"}

// keyOf returns the key that sets a flag in the file.
func keyOf(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// configPath returns the path of the configuration file, and whether it must exist: it
// need not where no flag names it.
func configPath(h home.Home, flag string) (path string, named bool, err error) {
	if flag == "" {
		return filepath.Join(h.Dir(), "etc", "actors.toml"), false, nil
	}
	if path, err = filepath.Abs(flag); err != nil {
		return "", true, fmt.Errorf("resolve --config %q: %w", flag, err)
	}
	return path, true, nil
}

// readConfigFile reads a configuration file whose keys are the given flags. It returns
// every problem of the file, and what could be read in spite of them.
func readConfigFile(path string, named bool, flags *pflag.FlagSet) (*configFile, tomlfile.Problems) {
	f := &configFile{path: path}
	text, err := readLimited(path, maxConfigFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		return f, nil
	case err != nil:
		return f, tomlfile.Problems{{File: path, Message: "can't be read: " + err.Error()}}
	}
	root, syntax := tomlfile.Parse(text)
	if syntax != nil {
		syntax.File = path
		return f, tomlfile.Problems{*syntax}
	}
	r := &tomlfile.Reader{File: path, Lines: map[string]int{}}
	f.readFlags(r, root, flags)
	f.readCapsules(r, root)
	f.readGroups(r, root)
	f.readTopics(r, root)
	return f, append(r.Problems, r.Unknown(root)...)
}

// readLimited reads a regular file: a pipe would block, and a device may have no end.
func readLimited(path string, limit int64) ([]byte, error) {
	about, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, withoutPath(err)
	case !about.Mode().IsRegular():
		return nil, errors.New("it is no regular file")
	case about.Size() > limit:
		return nil, fmt.Errorf("it has more than %d bytes, the limit", limit)
	}
	text, err := os.ReadFile(path)
	return text, withoutPath(err)
}

// withoutPath returns the cause of an error about a path that its reader knows.
func withoutPath(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}

// readFlags reads the value of each flag that the file sets.
func (f *configFile) readFlags(r *tomlfile.Reader, root *tomlfile.Node, flags *pflag.FlagSet) {
	f.flags = map[string]fileFlag{}
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Name == "help" {
			return
		}
		key := keyOf(flag.Name)
		n := root.Key(key)
		switch {
		case n == nil:
			return
		case slices.Contains(notInFile, flag.Name):
			r.Wrong(n, "can't be set in this file: it is a flag only")
			return
		}
		before := len(r.Problems)
		values := flagValues(r, root, key, flag.Value.Type())
		if len(r.Problems) > before {
			return
		}
		if isPath(flag) {
			for i, path := range values {
				values[i] = f.resolve(path)
			}
		}
		f.flags[flag.Name] = fileFlag{values: values, line: n.Line}
	})
}

// flagValues reads the value of a flag of some type, as text for its Set.
func flagValues(r *tomlfile.Reader, root *tomlfile.Node, key, kind string) []string {
	switch kind {
	case "bool":
		return []string{fmt.Sprint(r.Flag(root, key))}
	case "duration":
		if d := r.Duration(root, key); d != nil {
			return []string{d.String()}
		}
		return nil
	case "stringArray":
		return r.Texts(root, key)
	case "string":
		return []string{r.Text(root, key)}
	default: // numbers, whose Set checks their range
		if n := r.Get(root, key, unstable.Integer); n != nil {
			return []string{n.Text}
		}
		return nil
	}
}

// isPath reports whether a flag holds a path: then the shell completes file names for it.
func isPath(flag *pflag.Flag) bool {
	_, dir := flag.Annotations[cobra.BashCompSubdirsInDir]
	_, file := flag.Annotations[cobra.BashCompFilenameExt]
	return dir || file
}

// resolve returns a path of the file. A relative one begins at the file's directory: a
// daemon may be started anywhere.
func (f *configFile) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(f.path), path)
}

// readCapsules reads [capsule.ID.supervision], [capsule.ID.state] and [capsule.ID.env].
func (f *configFile) readCapsules(r *tomlfile.Reader, root *tomlfile.Node) {
	all := r.Table(root, "capsule")
	f.capsules, f.lines = map[string]supervisor.CapsuleSettings{}, map[string]int{}
	for _, id := range all.Names() {
		t := r.Get(all, id, unstable.Table)
		if t == nil {
			continue
		}
		if !home.ValidCapsule(id) {
			r.Wrong(t, "%q is no capsule's id, which is one or more of a-z 0-9 -", id)
		}
		settings := supervisor.CapsuleSettings{Supervision: manifest.ReadSupervision(r, t), State: manifest.ReadState(r, t)}
		for _, table := range []string{"supervision", "state"} {
			keys := r.Table(t, table)
			for _, name := range keys.Names() {
				f.show(keys.Keys()[name], keys.Keys()[name].Text, "")
			}
		}
		env := r.Table(t, "env")
		for _, name := range env.Names() {
			n := env.Key(name)
			if name == manifest.SocketVariable {
				r.Wrong(n, "can't be set: the host sets it")
				continue
			}
			if settings.Env == nil {
				settings.Env = map[string]string{}
			}
			settings.Env[name] = manifest.ConfigValue(n)
			f.show(n, masked, settings.Env[name])
		}
		f.capsules[id], f.lines[id] = settings, t.Line
	}
	f.warnOfMode(r)
}

// readTopics reads the durable topics, each of which is one setting.
func (f *configFile) readTopics(r *tomlfile.Reader, root *tomlfile.Node) {
	f.topics = manifest.ReadTopics(r, root)
	for _, t := range r.Nodes(root, "topic", unstable.Table) {
		name, durable := t.Key("name"), t.Key("durable")
		if name == nil || durable == nil {
			continue
		}
		value := "not durable"
		if durable.Text == "true" {
			value = "durable"
			if keep := t.Key("keep"); keep != nil {
				value += ", keep " + keep.Text
			}
		}
		f.settings = append(f.settings, setting{Key: topicKey + name.Text, Value: value, From: f.at(name.Line)})
	}
}

// topicKey and a name is the key of the setting of a topic.
const topicKey = "topic."

// masked is shown instead of a value that may be a secret.
const masked = "***"

// show adds a capsule's setting to what config show prints; unmasked is the value of one that
// is masked.
func (f *configFile) show(n *tomlfile.Node, value, unmasked string) {
	f.settings = append(f.settings, setting{Key: n.Path(), Value: value, From: f.at(n.Line), unmasked: unmasked})
}

func (f *configFile) at(line int) string { return fmt.Sprintf("%s:%d", f.path, line) }

// warnOfMode warns of a file with configuration values that others may read.
func (f *configFile) warnOfMode(r *tomlfile.Reader) {
	about, err := os.Stat(f.path)
	if err != nil || about.Mode().Perm()&0o077 == 0 {
		return
	}
	for _, s := range f.capsules {
		if len(s.Env) > 0 {
			f.warnings = append(f.warnings, tomlfile.Problem{File: r.File, Message: fmt.Sprintf(
				"may hold secrets, and others than its owner may open it (mode %04o): chmod 600 it", about.Mode().Perm())})
			return
		}
	}
}

// apply sets each flag that the file has and the command line has not. It returns the
// values that the flags do not accept.
func (f *configFile) apply(flags *pflag.FlagSet) tomlfile.Problems {
	var problems tomlfile.Problems
	flags.VisitAll(func(flag *pflag.Flag) {
		own, ok := f.flags[flag.Name]
		if !ok || flag.Changed {
			delete(f.flags, flag.Name) // so that those that remain are those that count
			return
		}
		var err error
		if list, isList := flag.Value.(pflag.SliceValue); isList {
			err = list.Replace(own.values)
		} else {
			err = flag.Value.Set(own.values[0])
		}
		if err != nil {
			problems = append(problems, f.problem(flag.Name, fmt.Sprintf("is %s: %v", strings.Join(own.values, ", "), err)))
		}
		flag.Changed = true
	})
	return problems
}

// problem returns a problem with a flag that the file sets.
func (f *configFile) problem(flag, message string) tomlfile.Problem {
	return tomlfile.Problem{File: f.path, Line: f.flags[flag].line, Key: keyOf(flag), Message: message}
}

// absent returns a warning for each capsule that has settings and is not known, with the
// nearest id that is.
func (f *configFile) absent(known map[string]bool) tomlfile.Problems {
	var found tomlfile.Problems
	byLine := slices.SortedFunc(maps.Keys(f.capsules), func(a, b string) int { return cmp.Compare(f.lines[a], f.lines[b]) })
	for _, id := range byLine {
		if known[id] {
			continue
		}
		message := "there is no such capsule"
		if near := tomlfile.Nearest(id, known); near != "" {
			message += ": did you mean " + near + "?"
		}
		found = append(found, tomlfile.Problem{File: f.path, Line: f.lines[id], Key: tomlfile.Dotted([]string{"capsule", id}), Message: message})
	}
	return found
}

// configuredSocket returns the socket that the home's configuration file names; "" if it
// names none. Problems of the file are for run and config check to report.
func configuredSocket(h home.Home) string {
	path, _, _ := configPath(h, "")
	text, err := readLimited(path, maxConfigFile)
	if err != nil {
		return ""
	}
	root, _ := tomlfile.Parse(text)
	r := &tomlfile.Reader{Lines: map[string]int{}}
	return (&configFile{path: path}).resolve(r.Text(root, "socket"))
}
