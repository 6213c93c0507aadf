package manifest

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
)

// Requirements have the same meaning as in Cargo: the table was generated with the crate that
// the reference uses.
func TestRequirement(t *testing.T) {
	f, err := os.Open("testdata/requirements.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var versions []*semver.Version
	rows := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		left, right, ok := strings.Cut(lines.Text(), "\t")
		switch {
		case !ok:
			continue
		case left == "versions":
			for v := range strings.FieldsSeq(right) {
				versions = append(versions, semver.MustParse(v))
			}
			continue
		}
		rows++
		text, err := strconv.Unquote(left)
		if err != nil {
			t.Fatal(err)
		}
		r, err := parseRequirement(text)
		if (err != nil) != (right == "ERR") {
			t.Errorf("parseRequirement(%q) = %v, want an error: %v", text, err, right == "ERR")
			continue
		}
		if err != nil {
			continue
		}
		for i, v := range versions {
			if got, want := r.allows(v), right[i] == '1'; got != want {
				t.Errorf("requirement %q allows %s: %v, want %v", text, v, got, want)
			}
		}
	}
	if rows < 60 || len(versions) < 30 {
		t.Fatalf("only %d rows and %d versions were read", rows, len(versions))
	}
}
