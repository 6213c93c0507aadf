package serdejson

import (
	"bytes"
	"strings"
	"testing"
)

func TestPlain(t *testing.T) {
	for _, text := range []string{
		`null`, `true`, `false`, `0`, `7`, `-7`, `123456789012345678`, `""`, `"a b~"`, `[]`, `{}`,
		`[1,"a",[],{}]`, `{"":0}`, `{"a":1}`, `{"":1,"a":2,"a b":3,"a!":4,"ab":{"z":null,"zz":[true]}}`,
		strings.Repeat("[", plainDepth) + strings.Repeat("]", plainDepth),
	} {
		if n := plain([]byte(text), 0); n != len(text) {
			t.Errorf("plain(%s) = %d", text, n)
		}
	}
	for _, text := range []string{
		``, ` 1`, `nul`, `True`, `-`, `-0`, `01`, `-01`, `1.0`, `1e2`, `1E2`, `1234567890123456789`,
		`"`, `"a`, `"\n"`, "\"\n\"", `"é"`, `[`, `[1`, `[1,`, `[1,]`, `[ 1]`, `[1 ]`, `[,]`, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,}`,
		`{"a":1,1}`, `{1:1}`, `{"b":1,"a":2}`, `{"a":1,"a":2}`, `{"a b":1,"a":2}`, `{"a": 1}`, `{"a":1]`, `[1}`,
		strings.Repeat("[", plainDepth+1) + strings.Repeat("]", plainDepth+1),
	} {
		if n := plain([]byte(text), 0); n != 0 {
			t.Errorf("plain(%q) = %d", text, n)
		}
	}
	for text, want := range map[string]int{`1,2`: 1, `"a":`: 3, `[1]]`: 3, `nullnull`: 4} {
		if n := plain([]byte(text), 0); n != want {
			t.Errorf("plain(%s) = %d, want %d", text, n, want)
		}
	}
}

// Each byte of a string is looked at, wherever it is: eight are at once.
func TestPlainText(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				text := []byte(`"` + strings.Repeat("a", length) + `"`)
				text[1+at] = byte(c)
				want := len(text)
				switch {
				case c == '"':
					want = at + 2
				case c < ' ' || c == '\\' || c >= 0x80:
					want = 0
				}
				if n := plain(text, 0); n != want {
					t.Fatalf("plain(%q) = %d, want %d", text, n, want)
				}
			}
		}
	}
}

// What is plain is parsed and printed as it is.
func FuzzPlain(f *testing.F) {
	for _, seed := range []string{`{"a":1,"b":[true,"x"]}`, `{"":0,"a b":-12}`, `1,`, `"a"x`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n := plain(b, 0)
		if n == 0 {
			return
		}
		r := &reader{in: b[:n]}
		out, err := r.value(nil)
		if err == nil {
			err = r.end()
		}
		if err != nil || !bytes.Equal(out, b[:n]) {
			t.Errorf("%q is printed as %q: %v", b[:n], out, err)
		}
	})
}

func BenchmarkCompact(b *testing.B) {
	for _, text := range []string{`true`, `{"ok":true}`, `{"a":[1,2,{"b":"some text"}],"c":null}`, `{"ok": true}`} {
		b.Run(text, func(b *testing.B) {
			for in := []byte(text); b.Loop(); {
				if _, err := Compact(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
