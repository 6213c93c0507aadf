package manifest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/internal/tomlfile"
)

func TestConfiguration(t *testing.T) {
	const env = "[env.greeting]\ndefault = \"hello\"\n[env.answer]\ndefault = 42\n[env.unset]\n"
	for _, c := range []struct {
		name      string
		principal string // the principal's file, or ""
		capsule   string // .env.json, or ""
		want      map[string]string
		warnings  []string
	}{
		{name: "defaults", want: map[string]string{"greeting": "hello", "answer": "42"}},
		{name: "the principal's file", principal: `{"greeting": "hi", "more": "x", "empty": ""}`,
			want: map[string]string{"greeting": "hi", "answer": "42", "more": "x", "empty": ""}},
		{name: "the capsule's file", capsule: `{"answer": "43"}`, want: map[string]string{"greeting": "hello", "answer": "43"}},
		{name: "the principal's file alone, where there are both", principal: `{"greeting": "hi"}`, capsule: `{"answer": "43"}`,
			want: map[string]string{"greeting": "hi", "answer": "42"}},
		{name: "not only text", principal: `{"greeting": 1.50, "answer": {"b": [1, "é\u2028"], "a": null}, "t": true}`,
			want: map[string]string{"greeting": "1.5", "answer": `{"a":null,"b":[1,"é` + "\u2028" + `"]}`, "t": "true"}},
		{name: "null is not set", principal: `{"greeting": null, "unset": null}`, want: map[string]string{"greeting": "hello", "answer": "42"}},
		{name: "text with escapes", principal: `{"greeting": "a\"\\\n\u00e9"}`, want: map[string]string{"greeting": "a\"\\\né", "answer": "42"}},
		{name: "twice the same key", principal: `{"greeting": "a", "greeting": "b"}`, want: map[string]string{"greeting": "b", "answer": "42"}},
		{name: "reserved", principal: "{\n\"a\": {\"ASTRID_SOCKET_PATH\": 1},\n\"ASTRID_SOCKET_PATH\": \"/evil\"}",
			want:     map[string]string{"greeting": "hello", "answer": "42", "a": `{"ASTRID_SOCKET_PATH":1}`},
			warnings: []string{"PRINCIPAL:3: ASTRID_SOCKET_PATH: is ignored: the host sets it"}},
		{name: "broken", principal: "{\n \"greeting\": hi}", capsule: `{"answer": "43"}`,
			want:     map[string]string{"greeting": "hello", "answer": "42"},
			warnings: []string{"PRINCIPAL:2: column 14: not valid JSON: invalid character 'h' looking for beginning of value; the whole file is ignored"}},
		{name: "broken at its end", capsule: "{\"a\": \"b\"\n", want: map[string]string{"greeting": "hello", "answer": "42"},
			warnings: []string{"CAPSULE:1: column 10: not valid JSON: unexpected end of JSON input; the whole file is ignored"}},
		{name: "more than an object", principal: "{}\n{}", want: map[string]string{"greeting": "hello", "answer": "42"},
			warnings: []string{"PRINCIPAL:2: column 1: not valid JSON: invalid character '{' after top-level value; the whole file is ignored"}},
		{name: "no object", principal: ` "text"`, want: map[string]string{"greeting": "hello", "answer": "42"},
			warnings: []string{"PRINCIPAL:1: column 1: must be a JSON object: {...}; the whole file is ignored"}},
		{name: "not UTF-8", principal: "{\"a\":\n\"\xff\"}", want: map[string]string{"greeting": "hello", "answer": "42"},
			warnings: []string{"PRINCIPAL:2: column 2: not valid JSON: the text is not UTF-8; the whole file is ignored"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, dir := newHome(t), t.TempDir()
			paths := strings.NewReplacer(h.EnvFile("alice", "greeter"), "PRINCIPAL", filepath.Join(dir, ".env.json"), "CAPSULE")
			write(t, filepath.Join(dir, FileName), header+env)
			if c.principal != "" {
				write(t, h.EnvFile("alice", "greeter"), c.principal)
			}
			if c.capsule != "" {
				write(t, filepath.Join(dir, ".env.json"), c.capsule)
			}
			m, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			got, warnings := m.Configuration(h, "alice", "/run/socket")
			c.want[SocketVariable] = "/run/socket"
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			var texts []string
			for _, w := range warnings {
				texts = append(texts, paths.Replace(w.String()))
			}
			if diff := cmp.Diff(c.warnings, texts); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConfigurationFiles(t *testing.T) {
	h, dir := newHome(t), t.TempDir()
	write(t, filepath.Join(dir, FileName), header)
	m, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := h.EnvFile("default", "greeter")
	check := func(name, value string, warnings ...string) {
		t.Helper()
		got, problems := m.Configuration(h, "default", "")
		if got["a"] != value {
			t.Errorf("%s: a = %q, want %q", name, got["a"], value)
		}
		if len(problems) != len(warnings) {
			t.Errorf("%s: warnings %v, want %v", name, problems, warnings)
			return
		}
		for i, p := range problems {
			if !strings.Contains(p.String(), warnings[i]) {
				t.Errorf("%s: warning %q, want %q in it", name, p, warnings[i])
			}
		}
	}
	write(t, path, `{"a": "b"}`)
	check("private", "b")
	for mode, want := range map[os.FileMode]string{0o640: "mode 0640", 0o604: "mode 0604", 0o601: "mode 0601"} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		check(want, "b", path+": may hold secrets, and others than its owner may open it ("+want+"): chmod 600 it")
	}
	write(t, path, `{"a": "`+strings.Repeat("x", maxJSON)+`"}`)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	check("too large", "", "can't be read, and is ignored: it has more than 1048576 bytes")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	// A link in the capsule's directory must not read a file outside of it.
	outside := filepath.Join(t.TempDir(), "secret.json")
	write(t, outside, `{"a": "secret"}`)
	if err := os.Symlink(outside, filepath.Join(dir, ".env.json")); err != nil {
		t.Fatal(err)
	}
	check("a link out of the capsule", "", "can't be read, and is ignored")
}

// The expected JSON is that of serde_json 1.0.154.
func TestValues(t *testing.T) {
	for in, want := range map[string]string{
		"[1.0, 0.1, 1e15, 1e16, 123456789012345680.0, 1.5e300, 0.00001, 0.000001, 1.234e-7, -0.0, +1.0]": "[1.0,0.1,1000000000000000.0,1e+16,1.2345678901234568e+17,1.5e+300,0.00001,1e-6,1.234e-7,-0.0,1.0]",
		"[0x1F, 0o17, 0b11, 1_000, -17, 9007199254740993]":                                               "[31,15,3,1000,-17,9007199254740993]",
		"[1e0, 5e-324, 1.7976931348623157e308, 123456.789, 9999999999999998.0, 1.2345678901234567e16]":   "[1.0,5e-324,1.7976931348623157e+308,123456.789,9999999999999998.0,1.2345678901234568e+16]",
		`["q\"\\\u0001\u007f\u2028<>&\t\b\f\n\r/é"]`:                                                     "[\"q\\\"\\\\\\u0001\u007f\u2028<>&\\t\\b\\f\\n\\r/é\"]",
		`{z=1, a=true, "k k"=[[],{}]}`:                                                                   `{"a":true,"k k":[[],{}],"z":1}`,
		"nan":                                                                                            "null", "-inf": "null", "false": "false", "1_0.5": "10.5", `"a\"b"`: `a"b`, "07:00:00": "07:00:00",
	} {
		root, err := tomlfile.Parse([]byte("v = " + in))
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		if got := ConfigValue(root.Key("v")); got != want {
			t.Errorf("TOML %s:\n got %s\nwant %s", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"1": "1", "1.0": "1.0", "1e2": "100.0", "-0": "-0.0", "-0.0": "-0.0", "1E5": "100000.0", "1e-7": "1e-7", "0.1e1": "1.0",
		"18446744073709551615": "18446744073709551615", "18446744073709551616": "1.8446744073709552e+19",
		"-9223372036854775808": "-9223372036854775808", "-9223372036854775809": "-9.223372036854776e+18",
		`[1, 2 ,{"b":1,"a":null}]`: `[1,2,{"a":null,"b":1}]`, `"\u2028\/\ud83d\ude00"`: "\u2028/😀", `["\u2028\/\ud83d\ude00"]`: "[\"\u2028/😀\"]",
		"true": "true",
	} {
		if got := configJSON(json.RawMessage(in)); got != want {
			t.Errorf("JSON %s:\n got %s\nwant %s", in, got, want)
		}
	}
}

func FuzzConfigJSON(f *testing.F) {
	for _, seed := range []string{`"a"`, `[1,-0,1.5e300,"\u2028",{"b":null}]`, `{"a":{"a":[]}}`, "tru", `"\ud800"`, "1e999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		object, problem := readObject("f", []byte(text))
		if problem != nil && (problem.Line < 1 || problem.File != "f" || problem.Message == "" || object != nil) {
			t.Errorf("%q: problem %v", text, problem)
		}
		if line := lineOfKey([]byte(text), "a"); line < 0 || line > strings.Count(text, "\n")+1 {
			t.Errorf("%q: line %d", text, line)
		}
		for key, value := range object {
			got := configJSON(value)
			if !utf8.ValidString(got) {
				t.Errorf("%q: %q is not UTF-8", text, got)
			}
			if value[0] == '"' {
				continue
			}
			// The result is JSON, and converting it again does not change it.
			if !json.Valid([]byte(got)) || configJSON(json.RawMessage(got)) != got {
				t.Errorf("%q: the value of %q is %s", text, key, got)
			}
		}
	})
}
