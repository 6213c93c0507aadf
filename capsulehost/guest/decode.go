package guest

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// decode reads the input of astrid_hook_trigger:
//
//	{"name": ACTION, "arguments": [byte, byte, ...]}
//
// A payload of 1 MiB is an array of a million numbers, for which encoding/json needs most
// of a second inside a guest. So decode parses the array by hand, and uses encoding/json
// only for the rest of the object, which is small.
func decode(input []byte) (action string, payload []byte, err error) {
	var call struct {
		Name      *string `json:"name"`
		Arguments []uint8 `json:"arguments"`
	}
	rest := input
	if begin, end, ok := span(input); ok {
		if payload, ok = numbers(input[begin+1 : end]); ok {
			rest = append(append(bytes.Clone(input[:begin]), "null"...), input[end+1:]...)
		}
	}
	if err := json.Unmarshal(rest, &call); err != nil {
		return "", nil, fmt.Errorf("read the call: %w", err)
	}
	if call.Name == nil {
		return "", nil, fmt.Errorf("read the call: it has no name")
	}
	if call.Arguments != nil { // span found no array that numbers accepts
		payload = call.Arguments
	}
	return *call.Name, payload, nil
}

// span finds the only array of the input: from the first '[' outside of a string to the
// next ']'.
func span(input []byte) (begin, end int, ok bool) {
	quoted := false
	for i := 0; i < len(input); i++ {
		switch c := input[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && c == '[':
			n := bytes.IndexByte(input[i:], ']')
			return i, i + n, n > 0
		}
	}
	return 0, 0, false
}

// numbers reads the content of an array of byte values. It returns false for any unusual
// notation, which encoding/json then handles.
func numbers(text []byte) ([]byte, bool) {
	out := make([]byte, 0, len(text)/2+1)
	if len(text) == 0 {
		return out, true
	}
	for i := 0; ; i++ {
		n, first := 0, i
		for ; i < len(text) && text[i]-'0' < 10 && i-first < 3; i++ {
			n = 10*n + int(text[i]-'0')
		}
		if i == first || n > 255 || (text[first] == '0' && i-first > 1) {
			return nil, false
		}
		out = append(out, byte(n))
		if i == len(text) {
			return out, true
		}
		if text[i] != ',' {
			return nil, false
		}
	}
}
