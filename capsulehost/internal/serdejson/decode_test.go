package serdejson

import (
	"encoding/json"
	"strings"
	"testing"
)

func decode(b []byte) (topic string, payload json.RawMessage, err error) {
	err = DecodeStruct(b, TextField("hook", &topic), ValueField("payload", &payload))
	return topic, payload, err
}

// The values of ignored fields are checked only for their grammar, as in the reference.
func TestIgnoredFields(t *testing.T) {
	deep := strings.Repeat("[", 500) + strings.Repeat("]", 500)
	objects := strings.Repeat(`{"k":[`, 300) + "0" + strings.Repeat("]}", 300)
	for value, taken := range map[string]bool{
		deep: true, objects: true, `1e999`: true, `"\ud800"`: true, "\"\xff\"": true, `{"a":[{},[],1,"\u0000",{"b":null}]}`: true, `[ ]`: true, `{ }`: true, `-0.5e-3`: true,
		`[1,]`: false, `{"a":}`: false, `{"a"}`: false, `{"a":1,}`: false, `[}`: false, `{]`: false, `[1}`: false, `nul`: false, `01`: false, `"\x"`: false, `"\u00g0"`: false,
		"\"\n\"": false, `[`: false, `{`: false, `"`: false, `"\`: false, ``: false, `{1:2}`: false, `{"a":1 "b":2}`: false,
	} {
		topic, payload, err := decode([]byte(`{"x":` + value + `,"hook":"a","payload":1}`))
		if (err == nil) != taken || taken && (topic != "a" || string(payload) != "1") {
			t.Errorf("%.40q: got %q, %s, %v", value, topic, payload, err)
		}
	}
	// But their names must be valid text.
	for _, name := range []string{"\"\xff\"", `"\ud800"`} {
		if _, _, err := decode([]byte(`{` + name + `:1,"hook":"a","payload":1}`)); err == nil {
			t.Errorf("the name %q was taken", name)
		}
	}
}
