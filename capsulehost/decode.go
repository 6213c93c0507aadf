package capsulehost

import (
	"encoding/json"
	"errors"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// CompactJSON returns b, or a copy, in the form in which the reference passes JSON on:
// parsed and printed by serde_json. The result has no spaces. Object keys are sorted by
// their bytes; of a repeated key, the last value counts. Strings have the fewest
// escapes. Numbers are 64-bit integers, or else the shortest text of the nearest
// float64 (1e2 becomes 100.0). So equal values have equal bytes, and all readers agree
// on repeated keys.
//
// It refuses some input that encoding/json accepts and the reference's parser refuses:
// invalid UTF-8, half a surrogate pair, a number outside the range of float64, and more
// than 127 levels.
func CompactJSON(b []byte) ([]byte, error) { return serdejson.Compact(b) }

// decodeTriggerRequest reads {"hook": TOPIC, "payload": ANY}. It returns the payload
// as CompactJSON prints it.
func decodeTriggerRequest(b []byte) (topic string, payload json.RawMessage, err error) {
	err = serdejson.DecodeStruct(b, serdejson.TextField("hook", &topic), serdejson.ValueField("payload", &payload))
	return topic, payload, err
}

// decodeCapabilityRequest reads {"source_uuid": TEXT, "capability": TEXT}.
func decodeCapabilityRequest(b []byte) (source, capability string, err error) {
	err = serdejson.DecodeStruct(b, serdejson.TextField("source_uuid", &source), serdejson.TextField("capability", &capability))
	return source, capability, err
}

// decodeUserName reads {"display_name": TEXT or null}; a missing field is null.
func decodeUserName(b []byte) (*string, error) {
	compact, err := CompactJSON(b)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage // decoded so, names match exactly
	if err := json.Unmarshal(compact, &fields); err != nil {
		return nil, errors.New("not a JSON object")
	}
	var name *string
	if value, ok := fields["display_name"]; ok {
		if err := json.Unmarshal(value, &name); err != nil {
			return nil, errors.New("field `display_name` is not a string")
		}
	}
	return name, nil
}
