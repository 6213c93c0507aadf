package tomlfile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Reader reads typed values from a tree, and collects all problems with them. A missing or
// invalid value is read as the zero value.
type Reader struct {
	File     string // as problems name it
	Problems Problems
	Warnings Problems
	Lines    map[string]int // the first line of each key that was read; not nil
}

// At returns a problem with a node.
func (r *Reader) At(n *Node, format string, args ...any) Problem {
	return Problem{File: r.File, Line: n.Line, Key: n.Path(), Message: fmt.Sprintf(format, args...)}
}

// Wrong adds a problem with a node.
func (r *Reader) Wrong(n *Node, format string, args ...any) {
	r.Problems = append(r.Problems, r.At(n, format, args...))
}

// Missing adds a problem for a key that a table lacks.
func (r *Reader) Missing(table *Node, name, format string, args ...any) {
	r.Wrong(&Node{parent: table, Name: name, Line: table.Line}, format, args...)
}

// kindWords are the names of the kinds in messages.
var kindWords = map[unstable.Kind]string{
	unstable.Table: "a table", unstable.Array: "a list", unstable.String: "text",
	unstable.Bool: "true or false", unstable.Integer: "a whole number", unstable.Float: "a number with a fraction",
	unstable.DateTime: "a date", unstable.LocalDateTime: "a date", unstable.LocalDate: "a date", unstable.LocalTime: "a time",
}

// Get returns a key's value if it exists and has the given kind, else nil.
func (r *Reader) Get(table *Node, name string, kind unstable.Kind) *Node {
	n := table.Key(name)
	if n == nil {
		return nil
	}
	if key := n.Path(); r.Lines[key] == 0 {
		r.Lines[key] = n.Line
	}
	if !r.Is(n, kind) {
		return nil
	}
	return n
}

// Is reports whether a node has a kind, and adds a problem if it does not.
func (r *Reader) Is(n *Node, kind unstable.Kind) bool {
	if n.Kind != kind {
		r.Wrong(n, "is %s, and must be %s", kindWords[n.Kind], kindWords[kind])
	}
	return n.Kind == kind
}

// Text returns a string, or "" if there is none.
func (r *Reader) Text(table *Node, name string) string {
	if n := r.Get(table, name, unstable.String); n != nil {
		return n.Text
	}
	return ""
}

// Required returns a string that must exist; nil if it does not, or is not a string.
func (r *Reader) Required(table *Node, name, purpose string) *Node {
	if table.Key(name) == nil {
		r.Missing(table, name, "is missing: %s", purpose)
	}
	return r.Get(table, name, unstable.String)
}

// OneOf returns a string that must be one of words.
func (r *Reader) OneOf(table *Node, name string, words ...string) string {
	n := r.Get(table, name, unstable.String)
	if n == nil {
		return ""
	}
	if !slices.Contains(words, n.Text) {
		r.Wrong(n, "is %q, and must be one of %s", n.Text, strings.Join(words, ", "))
		return ""
	}
	return n.Text
}

// Flag returns a boolean; false if there is none.
func (r *Reader) Flag(table *Node, name string) bool {
	n := r.Get(table, name, unstable.Bool)
	return n != nil && n.Text == "true"
}

// Nodes returns the elements of a list that have the given kind.
func (r *Reader) Nodes(table *Node, name string, kind unstable.Kind) []*Node {
	if n := table.Key(name); n != nil && n.Kind == kind && kind == unstable.Table {
		r.Wrong(n, "is one table, and must be a list of them: write [[%s]]", n.Path())
		return nil
	}
	list := r.Get(table, name, unstable.Array)
	if list == nil {
		return nil
	}
	var out []*Node
	for _, n := range list.Items {
		if r.Is(n, kind) {
			out = append(out, n)
		}
	}
	return out
}

// Texts returns the strings of a list.
func (r *Reader) Texts(table *Node, name string) []string {
	var out []string
	for _, n := range r.Nodes(table, name, unstable.String) {
		out = append(out, n.Text)
	}
	return out
}

// Table returns a table, or an empty one if it is missing.
func (r *Reader) Table(parent *Node, name string) *Node {
	if n := r.Get(parent, name, unstable.Table); n != nil {
		return n
	}
	return &Node{parent: parent, Name: name, Line: parent.Line, Kind: unstable.Table}
}

// Whole returns an integer between low and high, both inclusive; nil if there is none.
func (r *Reader) Whole(table *Node, name string, low, high int64) *int64 {
	n := r.Get(table, name, unstable.Integer)
	if n == nil {
		return nil
	}
	i, err := Integer(n.Text)
	if err != nil || i < low || i > high {
		r.Wrong(n, "is %s, and must be between %d and %d", n.Text, low, high)
		return nil
	}
	return &i
}

// Integer parses an integer in TOML's notation.
func Integer(text string) (int64, error) {
	return strconv.ParseInt(text, 0, 64) // Go accepts 0x, 0o, 0b and underscores as well
}

// Duration returns a positive duration; nil if there is none.
func (r *Reader) Duration(table *Node, name string) *time.Duration {
	n := table.Key(name)
	if n == nil {
		return nil
	}
	if n.Kind == unstable.Integer || n.Kind == unstable.Float {
		r.Wrong(n, `has no unit: write it as text, such as "30s" or "1m30s"`)
		return nil
	}
	if n = r.Get(table, name, unstable.String); n == nil {
		return nil
	}
	d, err := time.ParseDuration(n.Text)
	switch {
	case err != nil:
		r.Wrong(n, `is %q, which is no time span: write one such as "30s" or "1m30s"`, n.Text)
		return nil
	case d <= 0:
		r.Wrong(n, "is %q, and must be more than nothing", n.Text)
		return nil
	}
	return &d
}
