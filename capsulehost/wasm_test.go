package capsulehost

import (
	"encoding/binary"
	"slices"

	"github.com/tetratelabs/wazero/api"
)

// wasmModule builds a module, for tests with many or large modules.
type wasmModule struct {
	types, imports, functions, exports, code [][]byte
	start                                    []byte
	sections                                 map[byte][]byte // complete contents: tables, memories, globals, segments
}

func leb[T uint32 | uint64 | int](n T) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func sleb(n int64) (b []byte) {
	for {
		low := byte(n & 0x7f)
		n >>= 7
		if n == 0 && low&0x40 == 0 || n == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}

func vector(items ...[]byte) []byte { return append(leb(len(items)), slices.Concat(items...)...) }

func text(s string) []byte { return append(leb(len(s)), s...) }

// typ returns the index of a function's type.
func (m *wasmModule) typ(params, results []api.ValueType) []byte {
	m.types = append(m.types, slices.Concat([]byte{0x60}, leb(len(params)), params, leb(len(results)), results))
	return leb(len(m.types) - 1)
}

// imported adds an imported function and returns its index. Imports come first.
func (m *wasmModule) imported(module, name string, params, results []api.ValueType) int {
	m.imports = append(m.imports, slices.Concat(text(module), text(name), []byte{0}, m.typ(params, results)))
	return len(m.imports) - 1
}

// function adds a function without locals, exported if it has a name.
func (m *wasmModule) function(name string, params, results []api.ValueType, body ...byte) {
	index := len(m.imports) + len(m.functions)
	m.functions = append(m.functions, m.typ(params, results))
	body = slices.Concat([]byte{0}, body, []byte{0x0b})
	m.code = append(m.code, append(leb(len(body)), body...))
	if name != "" {
		m.exports = append(m.exports, slices.Concat(text(name), []byte{0}, leb(index)))
	}
}

func (m *wasmModule) section(id byte, content []byte) {
	if m.sections == nil {
		m.sections = map[byte][]byte{}
	}
	m.sections[id] = content
}

func (m *wasmModule) memory(pages int) {
	m.section(5, vector(append([]byte{0}, leb(pages)...)))
	m.exports = append(m.exports, append(text("memory"), 2, 0))
}

func (m *wasmModule) bytes() []byte {
	m.section(1, vector(m.types...))
	m.section(2, vector(m.imports...))
	m.section(3, vector(m.functions...))
	m.section(7, vector(m.exports...))
	m.section(10, vector(m.code...))
	if m.start != nil {
		m.section(8, m.start)
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	for _, id := range []byte{1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11} {
		if content, ok := m.sections[id]; ok {
			out = append(append(append(out, id), leb(len(content))...), content...)
		}
	}
	return out
}

// constants returns the instructions that push arguments.
func constants(types []api.ValueType, values ...uint64) (body []byte) {
	for n, t := range types {
		if t == i64 {
			body = append(append(body, 0x42), sleb(int64(values[n]))...)
		} else {
			body = append(append(body, 0x41), sleb(int64(int32(uint32(values[n]))))...)
		}
	}
	return body
}
