package manifest

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// Guests receive configuration values other than strings as JSON text, and some compare it
// byte for byte. So the text is that of serde_json: sorted keys, minimal escapes, and floats
// always with a fraction or an exponent.

// config returns a TOML value in the form of astrid_get_config. A date is returned as its
// text, since JSON has no dates.
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
		return serdejson.AppendFloat(b, f)
	default:
		return serdejson.AppendString(b, n.text)
	}
}

// configJSON returns a JSON value in the form of astrid_get_config.
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
		return serdejson.AppendString(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case json.Number:
		return serdejson.AppendNumber(b, v.String())
	default:
		return append(b, "null"...)
	}
}

func appendObject[V any](b []byte, object map[string]V, value func([]byte, V) []byte) []byte {
	b = append(b, '{')
	for i, key := range slices.Sorted(maps.Keys(object)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(serdejson.AppendString(b, key), ':')
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
