package capsulehost

import (
	"bytes"
	"fmt"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// MaxBusPayload is the size of the largest payload of a message, in bytes.
const MaxBusPayload = 5 << 20

// Payload is the content of a message. The reference knows some kinds by their `type`,
// with the fields of each; any other JSON is of the kind `custom`. The zero value is not
// valid.
type Payload struct {
	kind payloadKind
	// json is the data of a custom payload; the members of a raw one without its type;
	// all of another, in the order in which the reference declares its fields.
	json []byte
}

type payloadKind byte

const (
	payloadCustom payloadKind = iota
	payloadRaw
	payloadTagged
)

// ParsePayload reads what a guest publishes: any JSON. A known `type` with the fields of
// its kind makes a payload of that kind: unknown members are left out, and defaults
// added. Everything else is data of kind custom. The payload may keep text, which must
// not be changed.
func ParsePayload(text []byte) (Payload, error) {
	compact, err := serdejson.Compact(text)
	if err != nil {
		return Payload{}, err
	}
	if !bytes.Contains(compact, []byte(`"type":"`)) { // most have none, and need no second look
		return Payload{json: compact}, nil
	}
	if tag, ok := member(compact, "type"); ok && tag[0] == '"' {
		if p, ok := shaped(string(tag[1:len(tag)-1]), compact); ok {
			return p, nil
		}
	}
	return Payload{json: compact}, nil
}

// RawPayload returns a payload of kind raw_json. Its text is a JSON object, in any form,
// without a member `type`. The payload may keep it, so it must not be changed.
func RawPayload(text []byte) (Payload, error) {
	compact, err := serdejson.Compact(text)
	if err != nil {
		return Payload{}, err
	}
	if _, typed := member(compact, "type"); typed || len(compact) == 0 || compact[0] != '{' {
		return Payload{}, fmt.Errorf("a raw payload is a JSON object without `type`, and this is %.40q", compact)
	}
	return Payload{payloadRaw, compact}, nil
}

// Raw returns the members of a payload of kind raw_json, as a JSON object.
func (p Payload) Raw() (object []byte, ok bool) { return p.json, p.kind == payloadRaw }

// Bytes returns the payload as interceptors receive it: the data of a custom or raw
// payload, and any other with its type. It must not be changed.
func (p Payload) Bytes() []byte { return p.json }

// AppendKept appends the payload in a form that [KeptPayload] reads.
func (p Payload) AppendKept(out []byte) []byte { return append(append(out, byte(p.kind)), p.json...) }

// KeptPayload returns a payload from what AppendKept has made of it. It keeps kept, which
// must not be changed.
func KeptPayload(kept []byte) (Payload, error) {
	if len(kept) < 2 || payloadKind(kept[0]) > payloadTagged {
		return Payload{}, fmt.Errorf("no payload begins with %.10q", kept)
	}
	return Payload{payloadKind(kept[0]), kept[1:]}, nil
}

// appendTagged appends the payload as it is in an envelope, where each kind has its type
// and the keys are sorted.
func (p Payload) appendTagged(out []byte) []byte {
	switch p.kind {
	case payloadCustom:
		out = append(append(out, `{"data":`...), p.json...)
		return append(out, `,"type":"custom"}`...)
	case payloadRaw:
		return appendRaw(out, p.json)
	default:
		sorted, err := serdejson.Compact(p.json)
		if err != nil { // never: it was made of JSON
			sorted = []byte("null")
		}
		return append(out, sorted...)
	}
}

// appendRaw inserts the type among the sorted members of an object.
func appendRaw(out, object []byte) []byte {
	const typed = `"type":"raw_json"`
	begin, inserted := len(out), false
	out = append(out, '{')
	add := func(key string, value []byte) {
		if len(out) > begin+1 {
			out = append(out, ',')
		}
		if value == nil {
			out = append(out, typed...)
			return
		}
		out = append(append(append(append(out, '"'), key...), `":`...), value...)
	}
	for key, value := range serdejson.Members(object) {
		if !inserted && key > "type" {
			inserted = true
			add("", nil)
		}
		add(key, value)
	}
	if !inserted {
		add("", nil)
	}
	return append(out, '}')
}

// Size returns the length of the payload in an envelope, in bytes.
func (p Payload) Size() int {
	switch p.kind {
	case payloadCustom:
		return len(p.json) + len(`{"data":,"type":"custom"}`)
	case payloadRaw:
		if len(p.json) == len("{}") {
			return len(`{"type":"raw_json"}`)
		}
		return len(p.json) + len(`"type":"raw_json",`)
	default:
		return len(p.json)
	}
}

// member returns a member's value of a compact object.
func member(compact []byte, name string) (value []byte, ok bool) {
	for key, value := range serdejson.Members(compact) {
		if key == name {
			return value, true
		}
	}
	return nil, false
}
