package manifest

import (
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

// For any text, parsing returns problems with their positions, or a valid manifest.
func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte(header))
	for more := range problemRows {
		f.Add([]byte(header + more))
	}
	for _, seed := range []string{
		"a=[[[[[[", "[[a]]\n[a.b]\n[[a.b]]", "a.b.c=1\n[a.b]\nd=2", "[a]\n[[a]]", "x={a={b={}}}\n[x.a.b]",
		"package='x'\n[package]\nname='a'", "component=[{file='a'},3,[]]", "[[env]]\n[env.a]", "[imports]\n[imports.\"\"]\n\"\\n\"='1'",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, problems := parse("f", text)
		lines := strings.Count(string(text), "\n") + 1
		for _, p := range problems {
			if p.File != "f" || p.Line < 1 || p.Line > lines || p.Message == "" || strings.Contains(p.String(), "\n") {
				t.Errorf("problem %+v of a text with %d lines", p, lines)
			}
		}
		if !slices.IsSortedFunc(problems, func(a, b Problem) int { return a.Line - b.Line }) {
			t.Errorf("problems out of order: %v", problems)
		}
		var all map[string]any
		if toml.Unmarshal([]byte(strings.TrimPrefix(string(text), "\xef\xbb\xbf")), &all) != nil && len(problems) == 0 {
			t.Error("no TOML, and no problem")
		}
		if m != nil && !home.ValidCapsule(m.ID()) {
			t.Errorf("id %q", m.ID())
		}
		if len(problems) > 0 {
			return
		}
		if m == nil || len(m.Components) == 0 || m.Components[0].File == "" {
			t.Fatalf("no problem, and no whole manifest: %+v", m)
		}
		if _, err := parseVersion(m.Package.Version); err != nil {
			t.Errorf("version %v", err)
		}
		if m.Capabilities.Uplink && len(m.Imports) > 0 {
			t.Error("an uplink that imports")
		}
		Order([]*Manifest{m})
	})
}

func FuzzRequirement(f *testing.F) {
	for _, seed := range []string{"^1.0", "*", ">=1.2, <2", "~1.x", "=1.0.0-a+b", "1.*.*", ","} {
		f.Add(seed)
	}
	version, err := parseVersion("1.2.3-a")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRequirement(text)
		if err != nil {
			return
		}
		// Prereleases match only requirements that name them.
		if r.allows(version) && !strings.Contains(text, "1.2.3-") {
			t.Errorf("%q allows 1.2.3-a", text)
		}
	})
}
