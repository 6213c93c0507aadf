package manifest

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// node is a value in a TOML document, with its position. All notations of a table have the
// kind Table, all notations of a list the kind Array.
type node struct {
	parent *node
	name   string // its key; "" for the document and for a list's elements
	line   int
	kind   unstable.Kind
	text   string // for a scalar: a string's content, else the source text
	items  []*node
	keys   map[string]*node
}

// path returns the node's full key in TOML's notation. Elements of a list have the same
// path, and differ only in their lines.
func (n *node) path() string {
	var parts []string
	for ; n != nil; n = n.parent {
		if n.name != "" {
			parts = append(parts, n.name)
		}
	}
	slices.Reverse(parts)
	return dotted(parts)
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func dotted(parts []string) string {
	quoted := make([]string, len(parts))
	for i, part := range parts {
		if quoted[i] = part; !bareKey.MatchString(part) {
			quoted[i] = string(serdejson.AppendString(nil, part))
		}
	}
	return strings.Join(quoted, ".")
}

// syntaxError is the reason why a document is not valid TOML, and its position.
type syntaxError struct {
	line    int
	key     string
	message string
}

// readTree parses a document. The tree contains everything before a syntax error.
func readTree(text []byte) (*node, *syntaxError) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	b := treeBuilder{root: &node{kind: unstable.Table, line: 1}}
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
	failure := &syntaxError{line: 1, message: strings.TrimPrefix(err.Error(), "toml: ")}
	if at, ok := errors.AsType[*toml.DecodeError](err); ok {
		failure.line, _ = at.Position()
		failure.key = b.keyOn(text, failure.line, at.Key())
	}
	return b.root, failure
}

// treeBuilder builds a tree from the parser's expressions. The document may be invalid: a
// value without a valid place goes into a detached node.
type treeBuilder struct {
	root     *node
	headers  []*node // tables started by headers, with their lines
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
func (b *treeBuilder) header(e *unstable.Node) *node {
	at := b.root
	for it := e.Key(); it.Next(); {
		key, last := it.Node(), it.IsLast()
		if last && e.Kind == unstable.ArrayTable {
			list := at.child(string(key.Data), unstable.Array, b.lineOf(key))
			at = &node{parent: list, kind: unstable.Table, line: b.lineOf(key)}
			list.items = append(list.items, at)
			break
		}
		at = at.child(string(key.Data), unstable.Table, b.lineOf(key))
		if last {
			at.line = b.lineOf(key)
		}
	}
	return at
}

// keyValue adds key = value, or a.b = value, to a table.
func (b *treeBuilder) keyValue(table *node, e *unstable.Node) {
	for it := e.Key(); it.Next(); {
		key := it.Node()
		if !it.IsLast() {
			table = table.child(string(key.Data), unstable.Table, b.lineOf(key))
			continue
		}
		value := b.value(e.Value(), b.lineOf(key))
		value.parent, value.name = table, string(key.Data)
		if table.keys == nil {
			table.keys = map[string]*node{}
		}
		if table.keys[value.name] == nil {
			table.keys[value.name] = value
		}
	}
}

// value converts a value that starts on the given line to a node.
func (b *treeBuilder) value(e *unstable.Node, line int) *node {
	n := &node{line: line, kind: e.Kind, text: string(e.Data)}
	switch e.Kind {
	case unstable.InlineTable:
		n.kind = unstable.Table
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
			n.items = append(n.items, item)
		}
	default:
	}
	return n
}

// child returns the table or list with this name, and creates it if it is missing. For a
// list of tables, it returns the last table.
func (n *node) child(name string, kind unstable.Kind, line int) *node {
	c := n.keys[name]
	if c == nil {
		c = &node{parent: n, name: name, kind: kind, line: line}
		if n.keys == nil {
			n.keys = map[string]*node{}
		}
		n.keys[name] = c
		return c
	}
	if kind == unstable.Table && c.kind == unstable.Array && len(c.items) > 0 {
		c = c.items[len(c.items)-1]
	}
	if c.kind != kind {
		return &node{kind: kind, line: line}
	}
	return c
}

// names returns a table's keys, sorted.
func (n *node) names() []string {
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
		if header.line <= line {
			table = header.path()
		}
	}
	lines := bytes.SplitN(text, []byte("\n"), line+1)
	found := keyBefore.FindSubmatch(lines[min(line, len(lines))-1])
	switch {
	case found == nil && len(named) > 0:
		return dotted(named)
	case found == nil:
		return table
	case table == "":
		return string(found[1])
	default:
		return table + "." + string(found[1])
	}
}
