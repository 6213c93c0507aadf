package capsulehost

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Output comes by lines, however it was written; a long line comes in parts.
func TestOutputLines(t *testing.T) {
	long := strings.Repeat("x", shown)
	for _, c := range []struct {
		name   string
		writes []string
		want   []string
	}{
		{"lines", []string{"a\nb\n"}, []string{"a", "b"}},
		{"parts of a line", []string{"a", "b", "c\nd"}, []string{"abc", "d"}},
		{"empty lines", []string{"\n\na\n\r\n\n"}, []string{"a"}},
		{"line ends of Windows", []string{"a\r\nb\r", "\n"}, []string{"a", "b"}},
		{"the longest line", []string{long + "\na\n"}, []string{long, "a"}},
		{"a longer line", []string{long[:7] + long + "y\na"}, []string{long, "xxxxxxxy", "a"}},
		{"invalid UTF-8", []string{"a\xffb\n"}, []string{"a\ufffdb"}},
		{"nothing", nil, nil},
	} {
		var got []string
		var o output
		emit := func(line string) { got = append(got, line) }
		for _, text := range c.writes {
			o.write([]byte(text), emit)
		}
		o.flush(emit)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
		if cap(o.line) > 2*shown {
			t.Errorf("%s: %d bytes are held", c.name, cap(o.line))
		}
	}
}
