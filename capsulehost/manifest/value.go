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
	"github.com/astrid-actors/astrid-actors/internal/tomlfile"
)

// Guests receive configuration values other than strings as JSON text, and some compare it
// byte for byte. So the text is that of serde_json: sorted keys, minimal escapes, and floats
// always with a fraction or an exponent.

// ConfigValue returns a TOML value in the form of astrid_get_config: a string raw, anything
// else as compact JSON. A date is returned as its text, since JSON has no dates.
func ConfigValue(n *tomlfile.Node) string {
	switch n.Kind {
	case unstable.String, unstable.DateTime, unstable.LocalDateTime, unstable.LocalDate, unstable.LocalTime:
		return n.Text
	default:
		return string(appendNode(nil, n))
	}
}

func appendNode(b []byte, n *tomlfile.Node) []byte {
	switch n.Kind {
	case unstable.Table:
		return appendObject(b, n.Keys(), appendNode)
	case unstable.Array:
		return appendArray(b, n.Items, appendNode)
	case unstable.Bool:
		return append(b, n.Text...)
	case unstable.Integer:
		i, _ := tomlfile.Integer(n.Text)
		return strconv.AppendInt(b, i, 10)
	case unstable.Float:
		f, _ := strconv.ParseFloat(strings.ReplaceAll(n.Text, "_", ""), 64)
		return serdejson.AppendFloat(b, f)
	default:
		return serdejson.AppendString(b, n.Text)
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
