package capsulehost

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// maxJSONDepth is how deep JSON may nest: the reference's parser's limit.
const maxJSONDepth = 127

// CheckJSON says whether b is JSON as the reference's parser takes it, and why
// not. It is stricter than encoding/json: text is valid UTF-8 without lone
// surrogates, numbers are finite, and nesting ends at 127 levels.
func CheckJSON(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("not valid UTF-8")
	}
	// Depth first: encoding/json's own limit is far higher.
	depth := 0
	for at := 0; at < len(b); at++ {
		switch c := b[at]; c {
		case '"':
			end, err := checkString(b, at+1)
			if err != nil {
				return err
			}
			at = end
		case '[', '{':
			if depth++; depth > maxJSONDepth {
				return fmt.Errorf("nested deeper than %d levels at byte %d", maxJSONDepth, at)
			}
		case ']', '}':
			depth--
		default:
			if c == '-' || (c >= '0' && c <= '9') {
				end := at + 1
				for end < len(b) && bytes.IndexByte([]byte("0123456789+-.eE"), b[end]) >= 0 {
					end++
				}
				if f, _ := strconv.ParseFloat(string(b[at:end]), 64); math.IsInf(f, 0) {
					return fmt.Errorf("number out of range at byte %d", at)
				}
				at = end - 1
			}
		}
	}
	if json.Valid(b) {
		return nil
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	return errors.New("not JSON")
}

// checkString finds the end of the string that begins at from, and refuses
// escaped halves of a surrogate pair. The grammar itself is checked later.
func checkString(b []byte, from int) (end int, err error) {
	for at := from; at < len(b); at++ {
		switch b[at] {
		case '"':
			return at, nil
		case '\\':
			high, ok := escapedUnit(b, at)
			switch {
			case !ok:
				at++ // whatever it escapes
			case high >= 0xDC00 && high <= 0xDFFF:
				return 0, fmt.Errorf("lone surrogate at byte %d", at)
			case high >= 0xD800 && high <= 0xDBFF:
				low, ok := escapedUnit(b, at+6)
				if !ok || low < 0xDC00 || low > 0xDFFF {
					return 0, fmt.Errorf("lone surrogate at byte %d", at)
				}
				at += 11
			default:
				at += 5
			}
		}
	}
	return 0, errors.New("a string has no end")
}

// escapedUnit reads \uXXXX at that place.
func escapedUnit(b []byte, at int) (unit uint64, ok bool) {
	if at+6 > len(b) || b[at] != '\\' || b[at+1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(b[at+2:at+6]), 16, 16)
	return unit, err == nil
}

// decodeTriggerRequest reads {"hook": TOPIC, "payload": ANY}; payload comes out compact.
func decodeTriggerRequest(b []byte) (topic string, payload json.RawMessage, err error) {
	values, err := decodeStruct(b, "hook", "payload")
	if err != nil {
		return "", nil, err
	}
	if topic, err = decodeText("hook", values[0]); err != nil {
		return "", nil, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, values[1]); err != nil {
		return "", nil, fmt.Errorf("payload: %w", err)
	}
	return topic, compact.Bytes(), nil
}

// decodeCapabilityRequest reads {"source_uuid": TEXT, "capability": TEXT}.
func decodeCapabilityRequest(b []byte) (source, capability string, err error) {
	values, err := decodeStruct(b, "source_uuid", "capability")
	if err != nil {
		return "", "", err
	}
	if source, err = decodeText("source_uuid", values[0]); err != nil {
		return "", "", err
	}
	capability, err = decodeText("capability", values[1])
	return source, capability, err
}

func decodeText(field string, value json.RawMessage) (text string, err error) {
	if value[0] != '"' {
		return "", fmt.Errorf("field `%s` must be a string, not %s", field, value[:min(len(value), 32)])
	}
	err = json.Unmarshal(value, &text)
	return text, err
}

// decodeStruct reads a JSON object as the reference's parser reads a struct:
// every field once, under its exact name, others ignored; or a JSON array of
// exactly the fields, in order.
func decodeStruct(b []byte, fields ...string) ([]json.RawMessage, error) {
	if err := CheckJSON(b); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	open, err := d.Token()
	if err != nil {
		return nil, err
	}
	values := make([]json.RawMessage, len(fields))
	switch open {
	case json.Delim('{'):
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			var value json.RawMessage
			if err := d.Decode(&value); err != nil {
				return nil, err
			}
			for n, field := range fields {
				if name != field {
					continue
				}
				if values[n] != nil {
					return nil, fmt.Errorf("duplicate field `%s`", field)
				}
				values[n] = value
			}
		}
	case json.Delim('['):
		n := 0
		for ; d.More(); n++ {
			var value json.RawMessage
			if err := d.Decode(&value); err != nil {
				return nil, err
			}
			if n < len(values) {
				values[n] = value
			}
		}
		if n != len(fields) {
			return nil, fmt.Errorf("an array of %d elements in place of the %d fields", n, len(fields))
		}
	default:
		return nil, errors.New("not a JSON object")
	}
	for n, field := range fields {
		if values[n] == nil {
			return nil, fmt.Errorf("missing field `%s`", field)
		}
	}
	return values, nil
}
