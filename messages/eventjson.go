package messages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// EventJSON is an event as one flat JSON object: who and when, the event's name,
// and the fields of what happened under the names that event.proto gives them;
// a duration's name ends in _ms.
func EventJSON(e *Event) (string, error) {
	var o object
	o.add("sequence", e.GetSequence())
	o.add("at", e.GetAt().AsTime())
	o.add("path", e.GetPath())
	o.add("generation", e.GetGeneration())
	m := e.ProtoReflect()
	if field := m.WhichOneof(m.Descriptor().Oneofs().ByName("what")); field != nil {
		o.add("event", string(field.Name()))
		o.addFields(m.Get(field).Message())
	}
	return o.close()
}

// object is a JSON object in the making, whose fields keep their order.
type object struct {
	text bytes.Buffer
	err  error
}

func (o *object) add(name string, value any) {
	separator := byte(',')
	if o.text.Len() == 0 {
		separator = '{'
	}
	o.text.WriteByte(separator)
	fmt.Fprintf(&o.text, "%q:", name)
	encoder := json.NewEncoder(&o.text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil && o.err == nil {
		o.err = err
	}
	o.text.Truncate(o.text.Len() - len("\n"))
}

func (o *object) close() (string, error) {
	if o.text.Len() == 0 {
		return "{}", o.err
	}
	return o.text.String() + "}", o.err
}

// addFields adds all fields of a message, also those that are empty.
func (o *object) addFields(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		name, value := string(field.Name()), m.Get(field)
		switch {
		case field.IsList():
			list := make([]any, value.List().Len())
			for j := range list {
				list[j] = value.List().Get(j).Interface()
			}
			o.add(name, list)
		case field.IsMap():
			entries := make(map[string]any, value.Map().Len())
			value.Map().Range(func(key protoreflect.MapKey, entry protoreflect.Value) bool {
				entries[key.String()] = entry.Interface()
				return true
			})
			o.add(name, entries)
		case field.Message() == nil:
			o.add(name, value.Interface())
		default:
			o.addMessage(name, value.Message())
		}
	}
}

func (o *object) addMessage(name string, m protoreflect.Message) {
	switch inner := m.Interface().(type) {
	case *durationpb.Duration:
		o.add(name+"_ms", float64(inner.AsDuration())/float64(time.Millisecond))
	case *timestamppb.Timestamp:
		if !m.IsValid() {
			o.add(name, nil)
			return
		}
		o.add(name, inner.AsTime())
	default:
		if !m.IsValid() {
			o.add(name, nil)
			return
		}
		var nested object
		nested.addFields(m)
		text, err := nested.close()
		if o.err == nil {
			o.err = err
		}
		o.add(name, json.RawMessage(text))
	}
}
