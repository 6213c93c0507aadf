package manifest

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Guests get configuration values that are no strings as JSON text, and some
// compare it byte for byte. So this is the JSON that serde_json writes: keys
// sorted, nothing escaped that need not be, floats never without a fraction or
// an exponent.

// config is a TOML value as astrid_get_config hands it out. A date, which JSON
// does not have, is its text.
func (n *node) config() string {
	switch n.kind {
	case unstable.String, unstable.DateTime, unstable.LocalDateTime, unstable.LocalDate, unstable.LocalTime:
		return n.text
	default:
		return string(n.appendJSON(nil))
	}
}

func (n *node) appendJSON(b []byte) []byte {
	switch n.kind {
	case unstable.Table:
		return appendObject(b, n.keys, func(b []byte, v *node) []byte { return v.appendJSON(b) })
	case unstable.Array:
		return appendArray(b, n.items, func(b []byte, v *node) []byte { return v.appendJSON(b) })
	case unstable.Bool:
		return append(b, n.text...)
	case unstable.Integer:
		i, _ := integer(n.text)
		return strconv.AppendInt(b, i, 10)
	case unstable.Float:
		f, _ := strconv.ParseFloat(strings.ReplaceAll(n.text, "_", ""), 64)
		return appendFloat(b, f)
	default:
		return appendString(b, n.text)
	}
}

// configJSON is a JSON value as astrid_get_config hands it out.
func configJSON(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil && len(value) > 0 && value[0] == '"' {
		return text
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return ""
	}
	return string(appendAny(nil, v))
}

func appendAny(b []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		return appendObject(b, v, appendAny)
	case []any:
		return appendArray(b, v, appendAny)
	case string:
		return appendString(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case json.Number:
		return appendNumber(b, v.String())
	default:
		return append(b, "null"...)
	}
}

// appendNumber keeps whole numbers of up to 64 bits as they are, and makes a
// float of any other.
func appendNumber(b []byte, number string) []byte {
	_, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		_, err = strconv.ParseUint(number, 10, 64)
	}
	if err == nil && number != "-0" {
		return append(b, number...)
	}
	f, _ := strconv.ParseFloat(number, 64)
	return appendFloat(b, f)
}

// appendFloat writes the shortest digits that mean f: with an exponent where
// the number is 1e16 or more, or less than 1e-5.
func appendFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	if size := math.Abs(f); size != 0 && (size >= 1e16 || size < 1e-5) {
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
		power, _ := strconv.Atoi(exponent)
		b = append(append(b, mantissa...), 'e')
		if power > 0 {
			b = append(b, '+')
		}
		return strconv.AppendInt(b, int64(power), 10)
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	b = append(b, text...)
	if !strings.Contains(text, ".") {
		b = append(b, ".0"...)
	}
	return b
}

func appendObject[V any](b []byte, object map[string]V, value func([]byte, V) []byte) []byte {
	b = append(b, '{')
	for i, key := range slices.Sorted(maps.Keys(object)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, key), ':')
		b = value(b, object[key])
	}
	return append(b, '}')
}

func appendArray[V any](b []byte, array []V, value func([]byte, V) []byte) []byte {
	b = append(b, '[')
	for i, v := range array {
		if i > 0 {
			b = append(b, ',')
		}
		b = value(b, v)
	}
	return append(b, ']')
}

// appendString writes a JSON string. encoding/json would escape more.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"', r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < ' ':
			b = append(b, `\u00`...)
			b = append(b, hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
