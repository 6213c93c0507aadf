package capsulehost

import (
	"encoding/json"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// CompactJSON returns b, or a copy, as the reference hands JSON on: parsed and
// printed again by serde_json. It is without spaces, the keys of objects are sorted
// by their bytes, of a key that is given twice the last value counts, strings have
// the fewest escapes, and numbers are integers of 64 bits or else the shortest text
// of the nearest float64 (1e2 is 100.0). So equal values have equal bytes, and no
// two readers can disagree about a repeated key.
//
// It refuses what the reference's parser refuses and encoding/json accepts: invalid
// UTF-8, half a surrogate pair, a number outside of float64, and more than 127 levels.
func CompactJSON(b []byte) ([]byte, error) { return serdejson.Compact(b) }

// decodeTriggerRequest reads {"hook": TOPIC, "payload": ANY}; payload comes out
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
