package tomlfile_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/astrid-actors/astrid-actors/internal/tomlfile"
)

// What a reader never asked for is unknown, at any depth; what it takes whole is not.
func TestUnknown(t *testing.T) {
	const text = `
timeout = "1s"
timeuot = "1s"
entirely-different = 1

[limits]
queue = 1
quue = 2

[[child]]
name = "a"

[[child]]
nam = "b"

[free]
a = { b = { c = 1 } }

[missing."a table"]
x = 1
`
	root, problem := tomlfile.Parse([]byte(text))
	if problem != nil {
		t.Fatal(problem)
	}
	r := &tomlfile.Reader{File: "f", Lines: map[string]int{}}
	r.Duration(root, "timeout")
	r.Whole(r.Table(root, "limits"), "queue", 0, 9)
	for _, child := range r.Nodes(root, "child", unstable.Table) {
		r.Text(child, "name")
	}
	free := r.Table(root, "free")
	for _, name := range free.Names() {
		free.Key(name).Keys()
	}
	var got []string
	for _, p := range r.Unknown(root) {
		got = append(got, p.String())
	}
	want := []string{
		`f:14: child.nam: is unknown: did you mean name?`,
		`f:4: entirely-different: is unknown`,
		`f:8: limits.quue: is unknown: did you mean queue?`,
		`f:19: missing: is unknown`,
		`f:3: timeuot: is unknown: did you mean timeout?`,
	}
	if diff := cmp.Diff(want, got); diff != "" || len(r.Problems) > 0 {
		t.Errorf("%v\n-want +got:\n%s", r.Problems, diff)
	}
}
