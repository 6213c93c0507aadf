package serdejson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Field is a field of a struct: its name, and the variable that its value goes into.
type Field struct {
	name  string
	text  *string
	value *json.RawMessage
}

// TextField returns a field that reads a string into a variable.
func TextField(name string, into *string) Field { return Field{name: name, text: into} }

// ValueField returns a field that reads any value into a variable, in the form of Compact.
func ValueField(name string, into *json.RawMessage) Field { return Field{name: name, value: into} }

func (f *Field) read(r *reader) (err error) {
	c := r.peek()
	if f.value != nil {
		if n := plain(r.in[r.at:], 0); n > 0 {
			*f.value = bytes.Clone(r.in[r.at : r.at+n])
			r.at += n
			return nil
		}
		*f.value, err = r.value(nil)
		return err
	}
	if c != '"' {
		return r.problem("field `%s` is not a string", f.name)
	}
	text, err := r.text()
	*f.text = string(text)
	return err
}

// DecodeStruct reads a JSON object in the same way as the reference's parser reads a struct:
// each field must appear once, under its exact name, and other keys are ignored. It also
// accepts a JSON array with exactly the fields, in order.
func DecodeStruct(b []byte, fields ...Field) error {
	r, _ := readers.Get().(*reader)
	defer r.free()
	r.in = b
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

func (r *reader) namedFields(fields []Field) error {
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
		f := slices.IndexFunc(fields, func(f Field) bool { return f.name == string(key) })
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

func (r *reader) orderedFields(fields []Field) error {
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
