package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArgument {
		main() // the child processes run this program, too
		return
	}
	goleak.VerifyTestMain(m)
}

// Every row can be measured, by every contender, and is in both tables.
func TestRows(t *testing.T) {
	b, err := newBench(options{short: true, many: 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	}()
	b.effort = effort{turns: 2, least: 1, limit: time.Second, batch: 0}
	results, err := b.measure(t.Context(), regexp.MustCompile(""), &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	for _, r := range b.rows() {
		names += len(r.names)
	}
	if len(results) != names {
		t.Errorf("%d results of %d rows", len(results), names)
	}
	var text, markdown bytes.Buffer
	if err := printText(&text, results); err != nil {
		t.Error(err)
	}
	if err := printMarkdown(&markdown, results); err != nil {
		t.Error(err)
	}
	for _, r := range results {
		if r.entries[0].who != us {
			t.Errorf("%s: the first is %s", r.row, r.entries[0].who)
		}
		for _, e := range r.entries {
			if e.value.Median <= 0 && r.unit != share {
				t.Errorf("%s: %s took %v", r.row, e.who, e.value)
			}
		}
		if !strings.Contains(text.String(), "\n"+r.row+" ") || !strings.Contains(markdown.String(), "\n| "+r.row+" |") {
			t.Errorf("%s: not in the tables", r.row)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"-rows (", "-rows: error parsing regexp"},
		{"-check /absent.json", "read the baseline: open /absent.json"},
		{"more", `unknown argument "more"`},
		{"-short -rows ^nothing$", `no row matches "^nothing$"`},
		{"-wrong", "flag provided but not defined"},
		{childArgument + " one", "want 5 arguments"},
		{childArgument + " nobody 1 home " + guestsAt + " 1s", "module.wasm"},
	} {
		var out, errs bytes.Buffer
		err := run(t.Context(), strings.Fields(tt.args), &out, &errs)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.args, err, tt.want)
		}
		if out.Len() > 0 {
			t.Errorf("%s: printed %q", tt.args, out.String())
		}
	}
}

// The whole command measures a row and writes it as a baseline. The check passes against
// a much worse baseline, and fails against a much better one.
func TestCheckCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline.json")
	command := func(args ...string) error {
		var out, errs bytes.Buffer
		return run(t.Context(), append([]string{"-short", "-rows", "guest call, 128 B"}, args...), &out, &errs)
	}
	if err := command("-write-baseline", path); err != nil {
		t.Fatal(err)
	}
	for factor, want := range map[float64]string{1e-6: "", 1e6: "worse than the baseline"} {
		b, err := readBaseline(path)
		if err != nil {
			t.Fatal(err)
		}
		row := b.Rows["guest call, 128 B"]
		for who := range row.Ratios {
			row.Ratios[who] *= factor
			row.Work[who] *= factor
		}
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		changed := path + ".changed"
		if err := os.WriteFile(changed, text, 0o600); err != nil {
			t.Fatal(err)
		}
		err = command("-check", changed)
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%v times as good: %v, want %q", factor, err, want)
		}
	}
}

func TestChart(t *testing.T) {
	p := panel{title: "A & B", unit: nanoseconds, per: "each", along: "legs"}
	for _, n := range []int{1, 10, 1000} {
		p.add(us, n, 1000)
		p.add(hand, n, float64(2000*n))
	}
	svg := draw("a caption", p)
	for _, want := range []string{
		"A &amp; B", "a caption", ">astrid-actors<", ">by hand<", ">1,000<", ">2 ms<",
		`d="M80.0 213.9L243.3 213.9L570.0 213.9"`, // flat, near zero
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("the chart lacks %q:\n%s", want, svg)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		pattern, topic string
		want           bool
	}{
		{"a.b", "a.b", true}, {"a.*", "a.b", true}, {"*.b", "a.b", true}, {"*", "a", true},
		{"a", "a.b", false}, {"a.*", "a", false}, {"a.*", "a.b.c", false}, {"b.*", "a.b", false},
	} {
		if got := matches(tt.pattern, tt.topic); got != tt.want {
			t.Errorf("%q on %q: %v", tt.pattern, tt.topic, got)
		}
	}
}

// If the capsules do not start as a row needs them, the result is an error, not a
// measurement.
func TestServeWantsEveryCapsule(t *testing.T) {
	f, err := newFixtures()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.close() }()
	dir, err := f.capsules("fixed", 2, func(int) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fixed-00001", "module.wasm"), []byte("\x00asm"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := serve(ctx, f.home(), 2, dir); err == nil || !strings.Contains(err.Error(), "fixed-00001") {
		t.Errorf("error %v, want one that names the capsule", err)
	}
}
