package capsulehost

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The table of docs/capsules.md lists each system call, with its type.
func TestDocumentedCalls(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "capsules.md"))
	if err != nil {
		t.Fatal(err)
	}
	h := newHost(t, Config{})
	got, want := map[string]string{}, map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(astrid_[a-z_]+)` \\| ([^|]+) \\|.* \\| (?:as there|safer: [^|]+) \\|$").FindAllStringSubmatch(string(text), -1) {
		if got[row[1]] != "" {
			t.Errorf("%s has two rows", row[1])
		}
		got[row[1]] = row[2]
	}
	for name, d := range h.user.ExportedFunctionDefinitions() {
		want[name] = signature(d)
	}
	if d := cmp.Diff(want, got); d != "" || len(got) != 49 {
		t.Errorf("%d rows (-calls +rows):\n%s", len(got), d)
	}
}
