package compiler

import (
	"bytes"
	"encoding/binary"
)

const (
	customSection = 0
	codeSection   = 10
)

// shell returns a valid module with empty functions, and with the id in a custom section. It
// keeps the names for stack traces. wasm must be valid.
//
// A module with machine code needs no function bodies. Without them wazero reads, hashes and
// validates a fraction of the bytes.
func shell(wasm []byte, id [32]byte) []byte {
	const preamble = 8
	out := bytes.Clone(wasm[:preamble:preamble])
	for rest := wasm[preamble:]; len(rest) > 0; {
		kind := rest[0]
		size, n := binary.Uvarint(rest[1:])
		section := rest[:1+n+int(size)] //nolint:gosec // within a module that compiled
		content := section[1+n:]
		rest = rest[len(section):]
		switch kind {
		case codeSection:
			count, _ := binary.Uvarint(content)
			out = appendSection(out, codeSection, emptyFunctions(count))
		case customSection:
			if length, n := binary.Uvarint(content); string(content[n:][:length]) == "name" {
				out = append(out, section...)
			}
		default:
			out = append(out, section...)
		}
	}
	return appendSection(out, customSection, append([]byte("\x06astrid"), id[:]...))
}

// emptyFunctions returns the content of a code section with count empty functions.
func emptyFunctions(count uint64) []byte {
	// Body size, no locals, unreachable, end.
	body := []byte{3, 0, 0x00, 0x0b}
	return append(binary.AppendUvarint(nil, count), bytes.Repeat(body, int(count))...) //nolint:gosec // the module has compiled
}

func appendSection(out []byte, id byte, content []byte) []byte {
	out = binary.AppendUvarint(append(out, id), uint64(len(content)))
	return append(out, content...)
}
