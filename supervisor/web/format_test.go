package web

import (
	"strings"
	"testing"
	"time"
)

func TestFormats(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{text("plain – ünïcode ✓"), "plain – ünïcode ✓"},
		{text("a\nb\tc\r"), `a\nb\tc\r`},
		{text("\x1b[31mred\u202egnorw\u200b"), `\u{1b}[31mred\u{202e}gnorw\u{200b}`},
		{text("bad\xff"), "bad\uFFFD"},
		{shortened("0123456789", 10), "0123456789"},
		{shortened("0123456789a", 10), "012345678…"},
		{shortened("ääääää", 6), "ääääää"},
		{shortened("äääääää", 6), "äääää…"},
		{duration(-time.Second), "0 s"},
		{duration(0), "0 ns"},
		{duration(999 * time.Nanosecond), "999 ns"},
		{duration(1234 * time.Nanosecond), "1.23 µs"},
		{duration(12345 * time.Microsecond), "12.3 ms"},
		{duration(999 * time.Millisecond), "999 ms"},
		{duration(59 * time.Second), "59 s"},
		{duration(90 * time.Second), "1 min 30 s"},
		{age(0), "0 s"},
		{age(59999 * time.Millisecond), "59 s"},
		{age(time.Hour), "1 h"},
		{age(3*time.Hour + 4*time.Minute + 5*time.Second), "3 h 4 min"},
		{age(50 * time.Hour), "2 d 2 h"},
		{remaining(0), "now"},
		{remaining(1440 * time.Millisecond), "in 1.4 s"},
		{remaining(75 * time.Second), "in 1 min 15 s"},
		{size(0), "0 B"},
		{size(1023), "1023 B"},
		{size(1 << 10), "1 KiB"},
		{size(1536 << 10), "1.5 MiB"},
		{size(1023 << 10), "1 MiB"},
		{size(5 << 40), "5 TiB"},
		{count(0), "0"},
		{count(999), "999"},
		{count(uint64(1234567)), "1,234,567"},
		{perSecond(0), "0"},
		{perSecond(0.333), "0.33"},
		{perSecond(12.34), "12.3"},
		{perSecond(1234.5), "1,235"},
		{plural(1, "line"), "1 line"},
		{plural(2, "line"), "2 lines"},
		{quoted("test.x"), "test.x"},
		{quoted(""), "''"},
		{quoted(`{"it's": 1}`), `'{"it'\''s": 1}'`},
		{quoted("$(reboot)"), "'$(reboot)'"},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

// FuzzText checks that any text of a guest is shown on one line, and in one direction.
func FuzzText(f *testing.F) {
	f.Add("a\u2028b\u202e\x00")
	f.Fuzz(func(t *testing.T, s string) {
		if got := text(s); strings.ContainsAny(got, "\n\r\x00\x1b\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") {
			t.Errorf("%q is shown as %q", s, got)
		}
		if n := len([]rune(shortened(s, 20))); n > 20 {
			t.Errorf("%d runes", n)
		}
	})
}
