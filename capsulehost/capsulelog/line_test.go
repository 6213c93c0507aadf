package capsulelog

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

func TestEscapes(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain": "plain", "a\tb": "a\tb", `a\nb`: `a\nb`, "é世🙂": "é世🙂",
		"a\nb":                             `a\nb`,
		"a\r\nb":                           `a\r\nb`,
		"\n1 ERROR [other] forged\n":       `\n1 ERROR [other] forged\n`,
		"\x00\x01\x1f\x7f":                 `\x00\x01\x1f\x7f`,
		"\v\f\b":                           `\x0b\x0c\x08`,
		"\x1b[2K\x1b[1Aover the last line": `\x1b[2K\x1b[1Aover the last line`,
		"\u0080\u0085\u009f\u00a0":         `\u0080\u0085\u009f` + "\u00a0",
		"\u2028\u2029\u2027":               `\u2028\u2029` + "\u2027",
		"a\xffb\xc2":                       "a\ufffdb\ufffd",
	} {
		if got := string(appendEscaped(nil, in)); got != want {
			t.Errorf("%q is written as %q, want %q", in, got, want)
		}
	}
}

func TestTimestamps(t *testing.T) {
	for at, want := range map[time.Time]string{
		time.Unix(0, 0):                        "0.000",
		time.Unix(1, 999_999_999):              "1.999",
		time.Unix(1_772_323_200, 40_000_000):   "1772323200.040",
		time.Unix(99_999_999_999, 123_456_789): "99999999999.123",
		time.Unix(-5, 0):                       "0.000",
	} {
		got, _, _ := strings.Cut(string(appendLine(nil, at, capsulehost.LevelInfo, "c", "")), " ")
		if got != want {
			t.Errorf("%v is written as %s, want %s", at, got, want)
		}
	}
}

// Any message becomes one line without control characters, and a message that needs no
// escapes is unchanged.
func FuzzLine(f *testing.F) {
	for _, seed := range []string{"", "x", "a\nb", "\r", "\u2028", "\xff\xfe", "\x1b[0m", "\u0085", "\t"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, message string) {
		const prefix = "1.000 INFO [c] "
		line := string(appendLine(nil, time.Unix(1, 0), capsulehost.LevelInfo, "c", message))
		body, ok := strings.CutPrefix(line, prefix)
		body, nl := strings.CutSuffix(body, "\n")
		if !ok || !nl || !utf8.ValidString(line) {
			t.Fatalf("%q is written as %q", message, line)
		}
		plain := true
		for _, r := range body {
			if r != '\t' && (unicode.IsControl(r) || r == '\u2028' || r == '\u2029') {
				t.Errorf("%q is written as %q", message, line)
			}
		}
		for _, r := range message {
			plain = plain && (r == '\t' || !unicode.IsControl(r)) && r != '\u2028' && r != '\u2029'
		}
		if plain && utf8.ValidString(message) && body != message {
			t.Errorf("%q is written as %q", message, line)
		}
	})
}

// Only the exact name of a day's file is parsed as a day.
func FuzzFileName(f *testing.F) {
	for _, seed := range []string{"2000-02-29.log", "1999-02-29.log", "0000-01-01.log", "x", "2000-1-1.log", "2000-01-01"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		d, ok := parseFileName(name)
		if ok && (d.fileName() != name || len(name) != len("2000-01-01.log")) {
			t.Errorf("%q was taken for %s", name, d.fileName())
		}
	})
}

func TestDays(t *testing.T) {
	for at, want := range map[string]string{
		"2000-01-01T00:00:00Z":           "2000-01-01.log",
		"2000-02-29T23:59:59.999999999Z": "2000-02-29.log",
		"2026-03-01T00:30:00+01:00":      "2026-02-28.log",
		"1969-12-31T23:59:59Z":           "1969-12-31.log",
		"1970-01-01T00:00:00Z":           "1970-01-01.log",
		"1900-03-01T00:00:00Z":           "1900-03-01.log",
	} {
		when, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := dayOf(when).fileName(); got != want {
			t.Errorf("%s is in %s, want %s", at, got, want)
		}
	}
}
