package manifest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
)

// reader reads typed values from a tree, and collects all problems with them. A missing or
// invalid value is read as the zero value.
type reader struct {
	file     string
	problems Problems
	warnings Problems
	lines    map[string]int // first line of each key that was read
}

// at returns a problem with a node.
func (r *reader) at(n *node, format string, args ...any) Problem {
	return Problem{File: r.file, Line: n.line, Key: n.path(), Message: fmt.Sprintf(format, args...)}
}

func (r *reader) wrong(n *node, format string, args ...any) {
	r.problems = append(r.problems, r.at(n, format, args...))
}

// missing adds a problem for a key that a table lacks.
func (r *reader) missing(table *node, name, format string, args ...any) {
	r.wrong(&node{parent: table, name: name, line: table.line}, format, args...)
}

// kindWords are the names of the kinds in messages.
var kindWords = map[unstable.Kind]string{
	unstable.Table: "a table", unstable.Array: "a list", unstable.String: "text",
	unstable.Bool: "true or false", unstable.Integer: "a whole number", unstable.Float: "a number with a fraction",
	unstable.DateTime: "a date", unstable.LocalDateTime: "a date", unstable.LocalDate: "a date", unstable.LocalTime: "a time",
}

// get returns a key's value if it exists and has the given kind, else nil.
func (r *reader) get(table *node, name string, kind unstable.Kind) *node {
	n := table.keys[name]
	if n == nil {
		return nil
	}
	if key := n.path(); r.lines[key] == 0 {
		r.lines[key] = n.line
	}
	if !r.is(n, kind) {
		return nil
	}
	return n
}

func (r *reader) is(n *node, kind unstable.Kind) bool {
	if n.kind != kind {
		r.wrong(n, "is %s, and must be %s", kindWords[n.kind], kindWords[kind])
	}
	return n.kind == kind
}

// text returns a string, or "" if there is none.
func (r *reader) text(table *node, name string) string {
	if n := r.get(table, name, unstable.String); n != nil {
		return n.text
	}
	return ""
}

// required returns a string that must exist; nil if it does not, or is not a string.
func (r *reader) required(table *node, name, purpose string) *node {
	if table.keys[name] == nil {
		r.missing(table, name, "is missing: %s", purpose)
	}
	return r.get(table, name, unstable.String)
}

// oneOf returns a string that must be one of words.
func (r *reader) oneOf(table *node, name string, words ...string) string {
	n := r.get(table, name, unstable.String)
	if n == nil {
		return ""
	}
	if !slices.Contains(words, n.text) {
		r.wrong(n, "is %q, and must be one of %s", n.text, strings.Join(words, ", "))
		return ""
	}
	return n.text
}

func (r *reader) flag(table *node, name string) bool {
	n := r.get(table, name, unstable.Bool)
	return n != nil && n.text == "true"
}

// nodes returns the elements of a list that have the given kind.
func (r *reader) nodes(table *node, name string, kind unstable.Kind) []*node {
	if n := table.keys[name]; n != nil && n.kind == kind && kind == unstable.Table {
		r.wrong(n, "is one table, and must be a list of them: write [[%s]]", n.path())
		return nil
	}
	list := r.get(table, name, unstable.Array)
	if list == nil {
		return nil
	}
	var out []*node
	for _, n := range list.items {
		if r.is(n, kind) {
			out = append(out, n)
		}
	}
	return out
}

// texts returns the strings of a list.
func (r *reader) texts(table *node, name string) []string {
	var out []string
	for _, n := range r.nodes(table, name, unstable.String) {
		out = append(out, n.text)
	}
	return out
}

// table returns a table, or an empty one if it is missing.
func (r *reader) table(parent *node, name string) *node {
	if n := r.get(parent, name, unstable.Table); n != nil {
		return n
	}
	return &node{parent: parent, name: name, line: parent.line, kind: unstable.Table}
}

// whole returns an integer between low and high, both inclusive; nil if there is none.
func (r *reader) whole(table *node, name string, low, high int64) *int64 {
	n := r.get(table, name, unstable.Integer)
	if n == nil {
		return nil
	}
	i, err := integer(n.text)
	if err != nil || i < low || i > high {
		r.wrong(n, "is %s, and must be between %d and %d", n.text, low, high)
		return nil
	}
	return &i
}

// integer parses an integer in TOML's notation.
func integer(text string) (int64, error) {
	return strconv.ParseInt(text, 0, 64) // Go accepts 0x, 0o, 0b and underscores as well
}

// duration returns a positive duration; nil if there is none.
func (r *reader) duration(table *node, name string) *time.Duration {
	n := table.keys[name]
	if n == nil {
		return nil
	}
	if n.kind == unstable.Integer || n.kind == unstable.Float {
		r.wrong(n, `has no unit: write it as text, such as "30s" or "1m30s"`)
		return nil
	}
	if n = r.get(table, name, unstable.String); n == nil {
		return nil
	}
	d, err := time.ParseDuration(n.text)
	switch {
	case err != nil:
		r.wrong(n, `is %q, which is no time span: write one such as "30s" or "1m30s"`, n.text)
		return nil
	case d <= 0:
		r.wrong(n, "is %q, and must be more than nothing", n.text)
		return nil
	}
	return &d
}
