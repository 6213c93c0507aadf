package guest

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestServe(t *testing.T) {
	Handle("continue", func(p []byte) (Result, error) { return Continue(p), nil })
	Handle("json", func(p []byte) (Result, error) { return ContinueJSON(len(p)) })
	Handle("final", func(p []byte) (Result, error) { return Final(p), nil })
	Handle("final-json", func([]byte) (Result, error) { return FinalJSON([]int{1}) })
	Handle("deny", func([]byte) (Result, error) { return Deny("no"), nil })
	Handle("nothing", func([]byte) (Result, error) { return Result{}, nil })
	Handle("fail", func([]byte) (Result, error) { return Result{}, errors.New("out of ink") })
	t.Cleanup(func() { clear(handlers) })

	for _, tt := range []struct {
		name, input, output, err string
	}{
		{"continue", `{"name":"continue","arguments":[104,105]}`, "\x00hi", ""},
		{"json", `{"name":"json","arguments":[104,105]}`, "\x002", ""},
		{"final", `{"name":"final","arguments":[104,105]}`, "\x01hi", ""},
		{"empty final", `{"name":"final","arguments":[]}`, "\x01", ""},
		{"final json", `{"name":"final-json","arguments":[]}`, "\x01[1]", ""},
		{"deny", `{"name":"deny","arguments":[]}`, "\x02no", ""},
		{"nothing", `{"name":"nothing","arguments":[]}`, "", ""},
		{"failure", `{"name":"fail","arguments":[]}`, "", "out of ink"},
		{"no handler", `{"name":"other","arguments":[]}`, "", `no handler for action "other"`},
		{"no name", `{"arguments":[]}`, "", "read the call: it has no name"},
		{"not JSON", `{"name"`, "", "read the call: unexpected end of JSON input"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			output, err := serve([]byte(tt.input))
			if got := errorText(err); got != tt.err || string(output) != tt.output {
				t.Errorf("got %q, %q; want %q, %q", output, got, tt.output, tt.err)
			}
		})
	}
}

func TestHandleTwice(t *testing.T) {
	t.Cleanup(func() { clear(handlers) })
	h := func([]byte) (Result, error) { return Result{}, nil }
	Handle("twice", h)
	defer func() {
		if recover() == nil {
			t.Error("a second handler was taken")
		}
	}()
	Handle("twice", h)
}

func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		name, input, action, payload string
		bad                          bool
	}{
		{name: "plain", input: `{"name":"a","arguments":[0,9,10,255]}`, action: "a", payload: "\x00\x09\x0a\xff"},
		{name: "spaces", input: `{ "name" : "a" , "arguments" : [ 104 , 105 ] }`, action: "a", payload: "hi"},
		{name: "other order", input: `{"arguments":[104],"name":"a"}`, action: "a", payload: "h"},
		{name: "brackets in the name", input: `{"name":"a[1]\"[2]","arguments":[104]}`, action: `a[1]"[2]`, payload: "h"},
		{name: "escaped name", input: `{"name":"\u00e9","arguments":[104]}`, action: "é", payload: "h"},
		{name: "no arguments", input: `{"name":"a"}`, action: "a"},
		{name: "number too large", input: `{"name":"a","arguments":[256]}`, bad: true},
		{name: "negative number", input: `{"name":"a","arguments":[-1]}`, bad: true},
		{name: "leading zero", input: `{"name":"a","arguments":[01]}`, bad: true},
		{name: "missing number", input: `{"name":"a","arguments":[1,]}`, bad: true},
		{name: "no end", input: `{"name":"a","arguments":[1`, bad: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			action, payload, err := decode([]byte(tt.input))
			if (err != nil) != tt.bad || action != tt.action || string(payload) != tt.payload {
				t.Errorf("got %q, %q, %v; want %q, %q", action, payload, err, tt.action, tt.payload)
			}
		})
	}
}

// decode returns any action and bytes that the host encoded.
func FuzzDecodeWhatWasEncoded(f *testing.F) {
	f.Add("greet", []byte(`{"a":[1,2]}`))
	f.Add(`[1]","arguments":[2`, []byte{0, 255})
	f.Fuzz(func(t *testing.T, action string, payload []byte) {
		if !utf8.ValidString(action) {
			t.Skip("a host's actions are text")
		}
		bytesAsNumbers := make([]int, len(payload))
		for i, b := range payload {
			bytesAsNumbers[i] = int(b)
		}
		input, err := json.Marshal(map[string]any{"name": action, "arguments": bytesAsNumbers})
		if err != nil {
			t.Fatal(err)
		}
		gotAction, gotPayload, err := decode(input)
		if err != nil || gotAction != action || !bytes.Equal(gotPayload, payload) {
			t.Errorf("%s: got %q, %q, %v", input, gotAction, gotPayload, err)
		}
	})
}

func FuzzDecodeAnything(f *testing.F) {
	f.Add([]byte(`{"name":"a","arguments":[1,2]}`))
	f.Add([]byte(`{"name":"a\`))
	f.Add([]byte(`[[]]`))
	f.Fuzz(func(_ *testing.T, input []byte) { _, _, _ = decode(input) }) // must not panic
}

func BenchmarkDecode1MiB(b *testing.B) {
	input := []byte(`{"name":"a","arguments":[` + strings.Repeat("123,", 1<<20) + `7]}`)
	b.SetBytes(1 << 20)
	for b.Loop() {
		if _, _, err := decode(input); err != nil {
			b.Fatal(err)
		}
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		text string
		n    int
		want string
	}{
		{"abc", 3, "abc"},
		{"abcd", 3, "abc"},
		{"aé", 2, "a"},
		{"a€b", 3, "a"},
		{"a€b", 4, "a€"},
		{"\x80\x80\x80", 2, ""},
	} {
		if got := cut(tt.text, tt.n); got != tt.want {
			t.Errorf("cut(%q, %d) = %q, want %q", tt.text, tt.n, got, tt.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
