package tomlfile

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Node is a value in a TOML document, with its position. All notations of a table have the
// kind Table, all notations of a list the kind Array.
type Node struct {
	Name  string // its key; "" for the document and for a list's elements
	Line  int    // from 1
	Kind  unstable.Kind
	Text  string // for a scalar: a string's content, else the source text
	Items []*Node

	parent *Node
	keys   map[string]*Node
	known  map[string]bool // the keys that were asked for; nil if none was
}

// Key returns the value of a table's key, or nil if the table lacks it. Asking makes the key
// a known one: see [Reader.Unknown].
func (n *Node) Key(name string) *Node {
	if n.known == nil {
		n.known = map[string]bool{}
	}
	n.known[name] = true
	return n.keys[name]
}

// Keys returns a table's keys. Unlike Key it makes none a known one: it is for a table that
// is one value. It must not be changed.
func (n *Node) Keys() map[string]*Node { return n.keys }

// Path returns the node's full key in TOML's notation. Elements of a list have the same
// path, and differ only in their lines.
func (n *Node) Path() string {
	var parts []string
	for ; n != nil; n = n.parent {
		if n.Name != "" {
			parts = append(parts, n.Name)
		}
	}
	slices.Reverse(parts)
	return Dotted(parts)
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Dotted returns a key of several parts in TOML's notation: a.b."c d".
func Dotted(parts []string) string {
	quoted := make([]string, len(parts))
	for i, part := range parts {
		if quoted[i] = part; !bareKey.MatchString(part) {
			quoted[i] = strconv.Quote(part)
		}
	}
	return strings.Join(quoted, ".")
}

// Parse parses a document. The problem is nil, or says why it is not valid TOML; the tree
// then contains everything before that place. The problem's File is empty.
func Parse(text []byte) (*Node, *Problem) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	b := treeBuilder{root: &Node{Kind: unstable.Table, Line: 1}}
	for i, c := range text {
		if c == '\n' {
			b.newlines = append(b.newlines, i)
		}
	}
	b.build(text)

	// The parser checks only the grammar. Decoding checks the rest: duplicate keys, numbers
	// out of range, invalid dates.
	var all any
	err := toml.Unmarshal(text, &all)
	if err == nil {
		return b.root, nil
	}
	failure, message := &Problem{Line: 1}, strings.TrimPrefix(err.Error(), "toml: ")
	if at, ok := errors.AsType[*toml.DecodeError](err); ok {
		failure.Line, _ = at.Position()
		failure.Key = b.keyOn(text, failure.Line, at.Key())
		message = quoted(message, lineOf(text, failure.Line))
	}
	failure.Message = "not valid TOML: " + message
	return b.root, failure
}

// grammar matches the parser's messages about what it was waiting for. They confuse
// people who have just forgotten a quotation mark.
var grammar = regexp.MustCompile(`^(un)?expect(ed|ing) `)

// unquoted matches a line whose value begins like text without quotation marks.
var unquoted = regexp.MustCompile(`^[^=]+=\s*[\pL\d]`)

// quoted returns the message for a line that is not valid TOML: if the parser's would be
// about grammar, the line itself.
func quoted(message, line string) string {
	const longest = 80
	if !grammar.MatchString(message) || line == "" {
		return message
	}
	if r := []rune(line); len(r) > longest {
		line = string(r[:longest-1]) + "…"
	}
	message = strconv.Quote(line)
	if unquoted.MatchString(line) {
		message += "; text needs quotation marks"
	}
	return message
}

// lineOf returns a line of a text, counted from 1, without the spaces around it.
func lineOf(text []byte, line int) string {
	lines := bytes.SplitN(text, []byte("\n"), line+1)
	return string(bytes.TrimSpace(lines[min(line, len(lines))-1]))
}

// treeBuilder builds a tree from the parser's expressions. The document may be invalid: a
// value without a valid place goes into a detached node.
type treeBuilder struct {
	root     *Node
	headers  []*Node // tables started by headers, with their lines
	newlines []int   // offsets of newlines
}

func (b *treeBuilder) build(text []byte) {
	var p unstable.Parser
	p.Reset(text)
	current := b.root
	for p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.KeyValue:
			b.keyValue(current, e)
		case unstable.Table, unstable.ArrayTable:
			current = b.header(e)
			b.headers = append(b.headers, current)
		default:
		}
	}
}

// lineOf returns the line of a key or a scalar, counted from 1.
func (b *treeBuilder) lineOf(n *unstable.Node) int {
	return 1 + sort.SearchInts(b.newlines, int(n.Raw.Offset))
}

// header returns the table that a [header] or a [[header]] starts.
func (b *treeBuilder) header(e *unstable.Node) *Node {
	at := b.root
	for it := e.Key(); it.Next(); {
		key, last := it.Node(), it.IsLast()
		if last && e.Kind == unstable.ArrayTable {
			list := at.child(string(key.Data), unstable.Array, b.lineOf(key))
			at = &Node{parent: list, Kind: unstable.Table, Line: b.lineOf(key)}
			list.Items = append(list.Items, at)
			break
		}
		at = at.child(string(key.Data), unstable.Table, b.lineOf(key))
		if last {
			at.Line = b.lineOf(key)
		}
	}
	return at
}

// keyValue adds key = value, or a.b = value, to a table.
func (b *treeBuilder) keyValue(table *Node, e *unstable.Node) {
	for it := e.Key(); it.Next(); {
		key := it.Node()
		if !it.IsLast() {
			table = table.child(string(key.Data), unstable.Table, b.lineOf(key))
			continue
		}
		value := b.value(e.Value(), b.lineOf(key))
		value.parent, value.Name = table, string(key.Data)
		if table.keys == nil {
			table.keys = map[string]*Node{}
		}
		if table.keys[value.Name] == nil {
			table.keys[value.Name] = value
		}
	}
}

// value converts a value that starts on the given line to a node.
func (b *treeBuilder) value(e *unstable.Node, line int) *Node {
	n := &Node{Line: line, Kind: e.Kind, Text: string(e.Data)}
	switch e.Kind {
	case unstable.InlineTable:
		n.Kind = unstable.Table
		for it := e.Children(); it.Next(); {
			b.keyValue(n, it.Node())
		}
	case unstable.Array:
		for it := e.Children(); it.Next(); {
			element := it.Node()
			if element.Raw.Length > 0 {
				line = b.lineOf(element)
			}
			item := b.value(element, line)
			item.parent = n
			n.Items = append(n.Items, item)
		}
	default:
	}
	return n
}

// child returns the table or list with this name, and creates it if it is missing. For a
// list of tables, it returns the last table.
func (n *Node) child(name string, kind unstable.Kind, line int) *Node {
	c := n.keys[name]
	if c == nil {
		c = &Node{parent: n, Name: name, Kind: kind, Line: line}
		if n.keys == nil {
			n.keys = map[string]*Node{}
		}
		n.keys[name] = c
		return c
	}
	if kind == unstable.Table && c.Kind == unstable.Array && len(c.Items) > 0 {
		c = c.Items[len(c.Items)-1]
	}
	if c.Kind != kind {
		return &Node{Kind: kind, Line: line}
	}
	return c
}

// Names returns a table's keys, sorted.
func (n *Node) Names() []string {
	names := make([]string, 0, len(n.keys))
	for name := range n.keys {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var keyBefore = regexp.MustCompile(`^\s*([A-Za-z0-9_.-]+)\s*=`)

// keyOn returns the key that an error on a line concerns: the key at the start of the line,
// else the key that the library names, else the table's.
func (b *treeBuilder) keyOn(text []byte, line int, named []string) string {
	table := ""
	for _, header := range b.headers {
		if header.Line <= line {
			table = header.Path()
		}
	}
	found := keyBefore.FindStringSubmatch(lineOf(text, line))
	switch {
	case found == nil && len(named) > 0:
		return Dotted(named)
	case found == nil:
		return table
	case table == "":
		return found[1]
	default:
		return table + "." + found[1]
	}
}
