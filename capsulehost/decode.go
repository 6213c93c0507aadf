package capsulehost

import (
	"encoding/json"
	"errors"
	"fmt"
)

// decodeTriggerRequest reads {"hook": TOPIC, "payload": ANY}; payload comes out
// as CompactJSON prints it.
func decodeTriggerRequest(b []byte) (topic string, payload json.RawMessage, err error) {
	err = decodeStruct(b, textField("hook", &topic), field{"payload", func(r *jsonReader) (err error) {
		payload, err = r.value(nil)
		return err
	}})
	return topic, payload, err
}

// decodeCapabilityRequest reads {"source_uuid": TEXT, "capability": TEXT}.
func decodeCapabilityRequest(b []byte) (source, capability string, err error) {
	err = decodeStruct(b, textField("source_uuid", &source), textField("capability", &capability))
	return source, capability, err
}

// field is a field of a request, and how its value is read.
type field struct {
	name string
	read func(*jsonReader) error
}

func textField(name string, into *string) field {
	return field{name, func(r *jsonReader) (err error) {
		if r.peek() != '"' {
			return r.problem("field `%s` is not a string", name)
		}
		*into, err = r.text()
		return err
	}}
}

// decodeStruct reads a JSON object as the reference's parser reads a struct:
// every field once, under its exact name, others ignored; or a JSON array of
// exactly the fields, in order.
func decodeStruct(b []byte, fields ...field) error {
	r := &jsonReader{in: b}
	var err error
	switch r.peek() {
	case '{':
		err = r.namedFields(fields)
	case '[':
		err = r.orderedFields(fields)
	default:
		return errors.New("not a JSON object")
	}
	if err != nil {
		return err
	}
	return r.end()
}

func (r *jsonReader) namedFields(fields []field) error {
	found := make([]bool, len(fields))
	err := r.members(func(_ int, key string) error {
		for n, f := range fields {
			switch {
			case f.name != key:
			case found[n]:
				return fmt.Errorf("duplicate field `%s`", key)
			default:
				found[n] = true
				return f.read(r)
			}
		}
		return r.skip()
	})
	if err != nil {
		return err
	}
	for n, f := range fields {
		if !found[n] {
			return fmt.Errorf("missing field `%s`", f.name)
		}
	}
	return nil
}

func (r *jsonReader) orderedFields(fields []field) error {
	count := 0
	err := r.list('[', ']', func(n int) error {
		if count = n + 1; n >= len(fields) {
			return fmt.Errorf("an array of more than the %d fields", len(fields))
		}
		return fields[n].read(r)
	})
	if err == nil && count < len(fields) {
		err = fmt.Errorf("an array of %d elements in place of the %d fields", count, len(fields))
	}
	return err
}
