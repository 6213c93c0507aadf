package capsulehost

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	return field{name, func(r *jsonReader) error {
		if r.peek() != '"' {
			return r.problem("field `%s` is not a string", name)
		}
		text, err := r.text()
		*into = string(text)
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
	if err := r.enter(); err != nil {
		return err
	}
	found := make([]bool, len(fields))
	for n := 0; ; n++ {
		more, err := r.next(n, '}')
		if err != nil {
			return err
		}
		if !more {
			break
		}
		key, err := r.key()
		if err != nil {
			return err
		}
		f := slices.IndexFunc(fields, func(f field) bool { return f.name == string(key) })
		switch {
		case f < 0:
			err = r.skip()
		case found[f]:
			err = fmt.Errorf("duplicate field `%s`", key)
		default:
			found[f] = true
			err = fields[f].read(r)
		}
		if err != nil {
			return err
		}
	}
	if f := slices.Index(found, false); f >= 0 {
		return fmt.Errorf("missing field `%s`", fields[f].name)
	}
	return nil
}

func (r *jsonReader) orderedFields(fields []field) error {
	if err := r.enter(); err != nil {
		return err
	}
	for n := 0; ; n++ {
		more, err := r.next(n, ']')
		switch {
		case err != nil:
			return err
		case !more && n < len(fields):
			return fmt.Errorf("an array of %d elements in place of the %d fields", n, len(fields))
		case !more:
			return nil
		case n == len(fields):
			return fmt.Errorf("an array of more than the %d fields", n)
		}
		if err := fields[n].read(r); err != nil {
			return err
		}
	}
}
