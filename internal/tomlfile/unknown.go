package tomlfile

import (
	"github.com/agnivade/levenshtein"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Unknown returns a problem for each key below a table that was never asked for, with the
// nearest of those that were, if one is near. A value from which nothing was asked, such as
// a table that is read as a whole, is left out. The problems are in the order of the keys'
// names.
func (r *Reader) Unknown(table *Node) Problems {
	var found Problems
	for _, name := range table.Names() {
		n := table.keys[name]
		if !table.known[name] {
			found = append(found, r.At(n, "is unknown%s", suggestion(n, table.known)))
			continue
		}
		for _, t := range append(n.Items, n) {
			if t.Kind == unstable.Table && t.known != nil {
				found = append(found, r.Unknown(t)...)
			}
		}
	}
	return found
}

// suggestion returns a question that names the known key that looks most like n's.
func suggestion(n *Node, known map[string]bool) string {
	nearest := Nearest(n.Name, known)
	if nearest == "" {
		return ""
	}
	return ": did you mean " + Dotted([]string{nearest}) + "?"
}

// Nearest returns the known word that looks most like a misspelt one; "" if none is near.
func Nearest(word string, known map[string]bool) string {
	best, nearest := 1+max(1, len(word)/3), ""
	for name := range known {
		d := levenshtein.ComputeDistance(word, name)
		if d < best || d == best && name < nearest {
			best, nearest = d, name
		}
	}
	return nearest
}
