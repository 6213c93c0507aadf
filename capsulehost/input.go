package capsulehost

import (
	"encoding/binary"
	"strconv"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// input is the input of an export: either plain bytes, or an action for
// ExportInterceptor and its payload, as JSON whose only argument is the array of the
// payload's bytes. It is written directly into the memory shared with the guest.
type input struct {
	bytes  []byte
	action *string
}

const (
	inputName      = `{"name":`
	inputArguments = `,"arguments":[`
	inputEnd       = `]}`
)

func (in input) size() int {
	if in.action == nil {
		return len(in.bytes)
	}
	var name [64]byte // on the stack
	n := len(inputName) + len(serdejson.AppendString(name[:0], *in.action)) + len(inputArguments) + len(inputEnd)
	for _, b := range in.bytes {
		n += int(decimals[b].size) + len(",")
	}
	if len(in.bytes) > 0 {
		n -= len(",")
	}
	return n
}

// write writes the input to a slice of exactly size bytes.
func (in input) write(to []byte) {
	if in.action == nil {
		copy(to, in.bytes)
		return
	}
	out := serdejson.AppendString(append(to[:0], inputName...), *in.action)
	at := len(append(out, inputArguments...))
	for n, b := range in.bytes {
		d := &decimals[b]
		if n == len(in.bytes)-1 {
			at += copy(to[at:], d.text[:d.size])
			break
		}
		// All four bytes fit: at least one digit and inputEnd follow.
		binary.LittleEndian.PutUint32(to[at:], d.word)
		at += int(d.size) + len(",")
	}
	copy(to[at:], inputEnd)
}

// decimal is a byte's value as decimal text, also with a comma as one word.
type decimal struct {
	size uint8
	text [4]byte
	word uint32
}

var decimals = func() (all [256]decimal) {
	for b := range all {
		d := &all[b]
		d.size = uint8(len(strconv.AppendInt(d.text[:0], int64(b), 10)))
		d.text[d.size] = ','
		d.word = binary.LittleEndian.Uint32(d.text[:])
	}
	return all
}()
