package messages

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// Branch is a child in the supervision tree: a capsule, or a group with children.
type Branch struct {
	Capsule  *Capsule    // nil for a group
	Group    *Supervisor // nil for a capsule
	Instance *Instance   // of the capsule's pool; nil for the capsule itself
	Children []Branch    // of a group, or the instances of a pool
}

// Name returns the id of the capsule, or the name of the group.
func (b Branch) Name() string {
	if b.Group != nil {
		return b.Group.Name
	}
	return b.Capsule.ID
}

// Branches returns the supervision tree below the top supervisor, in start order.
func (t *Tree) Branches() []Branch { return t.BranchesOf("capsules") }

// BranchesOf returns the children of the supervisor with that path, in start order.
func (t *Tree) BranchesOf(parent string) []Branch {
	groups := map[string]*Supervisor{}
	for _, g := range t.Supervisors {
		groups[g.Path] = g
	}
	return t.branches(parent, groups)
}

func (t *Tree) branches(parent string, groups map[string]*Supervisor) []Branch {
	var out []Branch
	seen := map[string]bool{}
	enter := func(g *Supervisor) {
		if g != nil && !seen[g.Path] {
			seen[g.Path] = true
			out = append(out, Branch{Group: g, Children: t.branches(g.Path, groups)})
		}
	}
	for _, c := range t.Capsules {
		below, ok := strings.CutPrefix(cmp.Or(c.Path, "capsules/"+c.ID), parent+"/")
		if !ok {
			continue
		}
		if name, _, inGroup := strings.Cut(below, "/"); inGroup {
			enter(groups[parent+"/"+name])
		} else {
			b := Branch{Capsule: c}
			for i := range c.Instances {
				b.Children = append(b.Children, Branch{Capsule: c, Instance: &c.Instances[i]})
			}
			out = append(out, b)
		}
	}
	for _, g := range t.Supervisors { // those without a capsule
		if path.Dir(g.Path) == parent {
			enter(g)
		}
	}
	if g := groups[parent]; g != nil {
		slices.SortStableFunc(out, func(a, b Branch) int {
			return cmp.Compare(slices.Index(g.Children, a.Name()), slices.Index(g.Children, b.Name()))
		})
	}
	return out
}
