package serdejson

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The output of serde_json 1.0.154 for each text, parsed as a Value and printed; "" if it
// refuses the text.
func TestCompact(t *testing.T) {
	deep := strings.Repeat("[", 127) + strings.Repeat("]", 127)
	for _, tt := range []struct{ in, want string }{
		{` null `, `null`},
		{"\t[ true ,\r\nfalse ] ", `[true,false]`},
		{`[]`, `[]`},
		{`{}`, `{}`},
		{`{"b":1,"a":{"d":1,"c":2},"Z":3}`, `{"Z":3,"a":{"c":2,"d":1},"b":1}`},
		{`{"a":1,"b":2,"a":3}`, `{"a":3,"b":2}`},
		{`{"b":1,"a":[{"y":1,"x":1}],"b":{"b":0,"a":0}}`, `{"a":[{"x":1,"y":1}],"b":{"a":0,"b":0}}`},
		{`{"\u0061":1,"a":2}`, `{"a":2}`},
		{`{"":1}`, `{"":1}`},
		{`{"é":1,"z":2,"ÿ":3}`, `{"z":2,"é":1,"ÿ":3}`},
		{`0`, `0`},
		{`-0`, `-0.0`},
		{`-0.0`, `-0.0`},
		{`0.0`, `0.0`},
		{`-7`, `-7`},
		{`18446744073709551615`, `18446744073709551615`},
		{`18446744073709551616`, `1.8446744073709552e+19`},
		{`-9223372036854775808`, `-9223372036854775808`},
		{`-9223372036854775809`, `-9.223372036854776e+18`},
		{`1.0`, `1.0`},
		{`2.50`, `2.5`},
		{`1e2`, `100.0`},
		{`1E+2`, `100.0`},
		{`12.5e-1`, `1.25`},
		{`1e15`, `1000000000000000.0`},
		{`1e16`, `1e+16`},
		{`123456789012345680000.0`, `1.2345678901234568e+20`},
		{`1e-5`, `0.00001`},
		{`1e-6`, `1e-6`},
		{`1.5e-7`, `1.5e-7`},
		{`5e-324`, `5e-324`},
		{`1e-400`, `0.0`},
		{`1.7976931348623157e308`, `1.7976931348623157e+308`},
		{`0.1`, `0.1`},
		{`"\u0041\/\u00e9\ud83d\ude00\u007f"`, "\"A/é😀\u007f\""},
		{`"\"\\\b\f\n\r\t\u0000\u001F"`, `"\"\\\b\f\n\r\t\u0000\u001f"`},
		{`"<&>\u2028"`, "\"<&>\u2028\""},
		{`"\uFFFF\ufffd"`, "\"\uffff\ufffd\""},
		{deep, deep},
		{"[" + strings.Repeat(`[],{},`, 200) + "1]", "[" + strings.Repeat(`[],{},`, 200) + "1]"}, // many, not deep
		{"[" + deep + "]", ""},
		{strings.Repeat("[[],", 200) + "1" + strings.Repeat("]", 200), ""},
		{``, ""},
		{`nul`, ""},
		{`nullx`, ""},
		{`True`, ""},
		{`1 2`, ""},
		{`[1,]`, ""},
		{`[,1]`, ""},
		{`[1 2]`, ""},
		{`[1`, ""},
		{`]`, ""},
		{`{"a"}`, ""},
		{`{"a":1,}`, ""},
		{`{a:1}`, ""},
		{`{1:1}`, ""},
		{`{"a":1]`, ""},
		{`01`, ""},
		{`-`, ""},
		{`+1`, ""},
		{`.5`, ""},
		{`1.`, ""},
		{`1.e5`, ""},
		{`1e`, ""},
		{`1e+`, ""},
		{`1e999`, ""},
		{`-1e999`, ""},
		{`NaN`, ""},
		{`"`, ""},
		{"\"\n\"", ""},
		{"\"\xff\"", ""},
		{"\"\xed\xa0\x80\"", ""},
		{"\"a\xc3\\n\"", ""},
		{`"\x"`, ""},
		{`"\u12"`, ""},
		{`"\u12g4"`, ""},
		{`"\ud800"`, ""},
		{`"\udc00"`, ""},
		{`"\ud800\ud800"`, ""},
		{`"\ud800x\udc00"`, ""},
		{`"\ud800xudc00"`, ""},
		{"\ufeff1", ""},
		{"1\x00", ""},
		{"\x0c1", ""},
	} {
		got, err := Compact([]byte(tt.in))
		if string(got) != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q: got %s, %v; want %s", tt.in, got, err, tt.want)
		}
	}
}

// A second Compact changes nothing, encoding/json accepts the result, and its value is the
// same.
func FuzzCompact(f *testing.F) {
	for _, seed := range []string{`{"b":[1,-2.5e3,"\ud83d\ude00"],"a":{},"b":null}`, `[1e16,1e-6,-0]`, `"\u0000`, `{"a":{"c":1,"b":2},"a":[]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		once, err := Compact(in)
		if !bytes.Equal(in, before) {
			t.Fatal("the input has changed")
		}
		if err != nil {
			return
		}
		twice, err := Compact(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q gave %q, and that %q, %v", in, once, twice, err)
		}
		var want, got any
		if err := json.Unmarshal(in, &want); err != nil {
			t.Fatalf("%q was taken: %v", in, err)
		}
		if err := json.Unmarshal(once, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q gave %q: %v", in, once, err)
		}
	})
}

// Everything that encoding/json prints is accepted, and keeps its value.
func TestCompactTakesWhatGoPrints(t *testing.T) {
	value := rapid.Deferred(func() *rapid.Generator[any] { return anyJSON(4) })
	rapid.Check(t, func(t *rapid.T) {
		want := value.Draw(t, "value")
		in, err := json.MarshalIndent(want, " ", "\t")
		if err != nil {
			t.Fatal(err)
		}
		out, err := Compact(in)
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		var got any
		if err := json.Unmarshal(out, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s gave %s: %v", in, out, err)
		}
		if bytes.ContainsAny(out, "\n\t") {
			t.Fatalf("%s has spaces", out)
		}
	})
}

func anyJSON(depth int) *rapid.Generator[any] {
	flat := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.String().AsAny(),
		rapid.Float64().AsAny(), rapid.Map(rapid.Int32(), func(n int32) any { return float64(n) }),
	}
	if depth == 0 {
		return rapid.OneOf(flat...)
	}
	inner := rapid.Deferred(func() *rapid.Generator[any] { return anyJSON(depth - 1) })
	return rapid.OneOf(append(flat,
		rapid.Map(rapid.SliceOfN(inner, 0, 4), func(s []any) any { return append([]any{}, s...) }),
		rapid.MapOfN(rapid.String(), inner, 0, 4).AsAny())...)
}
