package messages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// MarshalJSON writes an event as one flat object: its number, time, path and
// generation, its name as "event", and the fields of its detail. A duration's
// name ends in _ms. It is the form of `astrid-actors events --json` and of the
// events file.
func (e Event) MarshalJSON() ([]byte, error) {
	var o object
	o.add("sequence", e.Sequence)
	o.add("at", e.At.UTC())
	o.add("path", e.Path)
	o.add("generation", e.Generation)
	if e.Detail != nil {
		o.add("event", e.Name())
		o.addFields(reflect.ValueOf(e.Detail))
	}
	return o.close()
}

// object is a JSON object under construction; its fields keep their order.
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

func (o *object) close() ([]byte, error) {
	if o.text.Len() == 0 {
		return []byte("{}"), o.err
	}
	return append(o.text.Bytes(), '}'), o.err
}

// addFields adds all fields of a struct under their json names, also empty ones.
func (o *object) addFields(v reflect.Value) {
	for i := range v.NumField() {
		name, value := v.Type().Field(i).Tag.Get("json"), v.Field(i)
		switch field := value.Interface().(type) {
		case time.Duration:
			o.add(name+"_ms", float64(field)/float64(time.Millisecond))
		case time.Time:
			o.add(name, field.UTC())
		case []string:
			o.add(name, append([]string{}, field...)) // never null
		case map[string]uint64:
			o.add(name, field)
		default:
			if value.Kind() == reflect.Struct {
				var nested object
				nested.addFields(value)
				text, err := nested.close()
				if o.err == nil {
					o.err = err
				}
				o.add(name, json.RawMessage(text))
				continue
			}
			o.add(name, field)
		}
	}
}
