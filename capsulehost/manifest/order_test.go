package manifest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// parsed creates manifests from lines such as "up! c: +x 1.0.0, ^y 1, ?z *": the id, with an
// exclamation mark for an uplink, then its exports, imports and optional imports.
func parsed(t interface{ Fatalf(string, ...any) }, lines []string) []*Manifest {
	var ms []*Manifest
	for _, line := range lines {
		id, rest, _ := strings.Cut(line, ":")
		var text strings.Builder
		fmt.Fprintf(&text, "[package]\nname = %q\nversion = \"1.0.0\"\n[[component]]\nfile = \"a\"\n", strings.TrimSuffix(id, "!"))
		if strings.HasSuffix(id, "!") {
			text.WriteString("[capabilities]\nuplink = true\n")
		}
		var imports, exports []string
		for part := range strings.SplitSeq(rest, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			name, version, _ := strings.Cut(part[1:], " ")
			switch part[0] {
			case '+':
				exports = append(exports, fmt.Sprintf("%s = %q\n", name, version))
			case '^':
				imports = append(imports, fmt.Sprintf("%s = %q\n", name, version))
			case '?':
				imports = append(imports, fmt.Sprintf("%s = { version = %q, optional = true }\n", name, version))
			}
		}
		if len(imports) > 0 {
			fmt.Fprintf(&text, "[imports.n]\n%s", strings.Join(imports, ""))
		}
		if len(exports) > 0 {
			fmt.Fprintf(&text, "[exports.n]\n%s", strings.Join(exports, ""))
		}
		m, problems := parse(strings.TrimSuffix(id, "!"), []byte(text.String()))
		if len(problems) > 0 {
			t.Fatalf("%q: %v", line, problems)
		}
		ms = append(ms, m)
	}
	return ms
}

// ordered formats a StartOrder as text: each capsule with those that it waits for.
func ordered(o StartOrder) []string {
	var out []string
	for i, m := range o.Manifests {
		line := m.ID()
		for _, j := range o.WaitsFor[i] {
			line += " <" + o.Manifests[j].ID()
		}
		out = append(out, line)
	}
	for _, w := range o.Warnings {
		out = append(out, w.String())
	}
	if o.Cycle != nil {
		out = append(out, o.Cycle.Error())
	}
	return out
}

func TestOrder(t *testing.T) {
	const cycle = "these capsules import from each other in a cycle: "
	for _, c := range []struct {
		name     string
		capsules []string
		want     []string
	}{
		{"none", nil, nil},
		{"no imports: as discovered", []string{"c:", "a:", "b:"}, []string{"c", "a", "b"}},
		{"exports first", []string{"b: ^x 1", "a: +x 1.2.0"}, []string{"a", "b <a"}},
		{"exports first, the rest as discovered", []string{"d:", "b: ^x 1", "e:", "a: +x 1.2.0", "c:"}, []string{"d", "e", "a", "b <a", "c"}},
		{"two imports from one", []string{"b: ^x 1, ^y 1", "a: +x 1.0.0, +y 1.0.0"}, []string{"a", "b <a"}},
		{"a chain", []string{"c: ^y *", "b: ^x *, +y 1.0.0", "a: +x 1.0.0"}, []string{"a", "b <a", "c <b"}},
		{"a diamond", []string{"d: ^b *, ^c *", "b: ^a *, +b 1.0.0", "c: ^a *, +c 1.0.0", "a: +a 1.0.0"},
			[]string{"a", "b <a", "c <a", "d <b <c"}},
		{"all exporters", []string{"c: ^x ^1.1", "a: +x 1.1.0", "o: +x 1.0.0", "b: +x 1.2.0"}, []string{"a", "o", "b", "c <a <b"}},
		{"uplinks first", []string{"b: ^x 1", "u!: +x 1.0.0", "a: +x 1.1.0", "v!:"}, []string{"u", "v", "a", "b <u <a"}},
		{"another version", []string{"b: ^x ^2.0", "a: +x 1.9.9"},
			[]string{"b", "a", `b:7: imports.n.x: no other capsule exports it in a version that meets "^2.0" (a exports 1.9.9)`}},
		{"nobody", []string{"b: ^x ^2.0"}, []string{"b", `b:7: imports.n.x: no other capsule exports it in a version that meets "^2.0"`}},
		{"nobody, and need not", []string{"b: ?x ^2.0"}, []string{"b"}},
		{"need not, but is there", []string{"b: ?x ^2.0", "a: +x 2.0.0"}, []string{"a", "b <a"}},
		{"only itself", []string{"b: ^x 1, +x 1.0.0"}, []string{"b", `b:7: imports.n.x: no other capsule exports it in a version that meets "1"`}},
		{"itself and another", []string{"b: ^x 1, +x 1.0.0", "a: +x 1.0.0"}, []string{"a", "b <a"}},
		{"two in a cycle", []string{"b: ^x *, +y 1.0.0", "a: ^y *, +x 1.0.0"}, []string{"b", "a", cycle + "b -> a -> b"}},
		{"a cycle with others before and behind it", []string{
			"after: ^z *", "x: ^before *, ^y *, +x 1.0.0, +z 1.0.0", "y: ^w *, +y 1.0.0", "w: ^x *, +w 1.0.0", "before: +before 1.0.0", "u!: +up 1.0.0", "q: ^up *"},
			[]string{"u", "after", "x", "y", "w", "before", "q <u", cycle + "x -> y -> w -> x"}},
		{"two cycles", []string{"a: ^b *, +a 1.0.0", "b: ^a *, +b 1.0.0", "c: ^d *, +c 1.0.0", "d: ^c *, +d 1.0.0"},
			[]string{"a", "b", "c", "d", cycle + "a -> b -> a; c -> d -> c"}},
	} {
		if diff := cmp.Diff(c.want, ordered(Order(parsed(t, c.capsules)))); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// For any imports: each capsule starts once, uplinks first. A capsule waits only for earlier
// ones. The order differs from discovery's only if an import requires it.
func TestOrderHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 9).Draw(t, "n")
		imports := make([][]int, n) // the capsules that each one should wait for
		lines := make([]string, n)
		var uplinks []int
		for i := range n {
			lines[i] = fmt.Sprintf("c%d: +x%d 1.0.0", i, i)
			if rapid.IntRange(0, 3).Draw(t, "uplink") == 0 {
				uplinks = append(uplinks, i)
				lines[i] = strings.Replace(lines[i], ":", "!:", 1)
				continue
			}
			if n > 1 {
				for _, j := range rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, 3, rapid.ID).Draw(t, "imports") {
					if i != j {
						lines[i] += fmt.Sprintf(", ^x%d 1", j)
						imports[i] = append(imports[i], j)
					}
				}
			}
		}
		ms := parsed(t, lines)
		o := Order(ms)
		place := map[string]int{}
		for at, m := range o.Manifests {
			place[m.ID()] = at
		}
		if len(place) != n || len(o.Manifests) != n || len(o.WaitsFor) != n || len(o.Warnings) != 0 {
			t.Fatalf("%v", ordered(o))
		}
		for at, m := range o.Manifests {
			if m.Capabilities.Uplink != (at < len(uplinks)) {
				t.Errorf("uplinks are not first: %v", ordered(o))
			}
		}
		cyclic := hasCycle(imports)
		if cyclic != (o.Cycle != nil) {
			t.Fatalf("cycle %v, want one: %v", o.Cycle, cyclic)
		}
		for i, m := range ms {
			var want []int
			for _, j := range imports[i] {
				if !cyclic || slices.Contains(uplinks, j) {
					want = append(want, place[ms[j].ID()])
				}
			}
			slices.Sort(want)
			at := place[m.ID()]
			if got := o.WaitsFor[at]; !slices.Equal(got, want) || (len(got) > 0 && got[len(got)-1] >= at) {
				t.Errorf("%s at %d waits for %v, want %v: %v", m.ID(), at, got, want, ordered(o))
			}
		}
		checkCycles(t, o, ms, imports)
		// Of two neighbours in a group, the one discovered first comes first, unless it depends on
		// the other.
		for at := 1; at < n; at++ {
			a, b := o.Manifests[at-1], o.Manifests[at]
			if a.Capabilities.Uplink == b.Capabilities.Uplink && slices.Index(ms, a) > slices.Index(ms, b) && !slices.Contains(o.WaitsFor[at], at-1) {
				t.Errorf("%s is before %s for no reason: %v", a.ID(), b.ID(), ordered(o))
			}
		}
	})
}

// checkCycles checks that every reported cycle is one.
func checkCycles(t *rapid.T, o StartOrder, ms []*Manifest, imports [][]int) {
	if o.Cycle == nil {
		return
	}
	cycle, ok := errors.AsType[*CycleError](o.Cycle)
	if !ok || len(cycle.Cycles) == 0 {
		t.Fatalf("no cycles in %v", o.Cycle)
	}
	byID := func(id string) int {
		return slices.IndexFunc(ms, func(m *Manifest) bool { return m.ID() == id })
	}
	for _, members := range cycle.Cycles {
		for i, id := range members {
			if next := members[(i+1)%len(members)]; !slices.Contains(imports[byID(id)], byID(next)) {
				t.Errorf("%s does not import from %s: %v", id, next, o.Cycle)
			}
		}
	}
}

// hasCycle reports whether a capsule can reach itself, in the simplest way.
func hasCycle(imports [][]int) bool {
	n := len(imports)
	reach := make([][]bool, n)
	for i := range n {
		reach[i] = make([]bool, n)
		for _, j := range imports[i] {
			reach[i][j] = true
		}
	}
	for k := range n {
		for i := range n {
			for j := range n {
				reach[i][j] = reach[i][j] || reach[i][k] && reach[k][j]
			}
		}
	}
	for i := range n {
		if reach[i][i] {
			return true
		}
	}
	return false
}
