package reductions

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Subsections of the name section with indices of functions or labels.
const (
	functionNames = 1
	localNames    = 2
	labelNames    = 3
)

// rewriteNames shifts the function indices in a name section and adds the helpers'
// names; it returns other custom sections unchanged. It drops the names of a
// malformed name section: WebAssembly does not let a module fail because of them,
// and compilers trust the sizes in it.
func (m *module) rewriteNames(content []byte) []byte {
	r := reader{b: content}
	if string(r.name()) != "name" || r.err != nil {
		return content
	}
	head := content[:r.pos:r.pos]
	out := append(make([]byte, 0, len(content)+256), content[:r.pos]...)
	for r.more() {
		part := r.byte()
		p := reader{b: r.name()}
		var shifted []byte
		switch part {
		case functionNames:
			shifted = m.functionNames(&p)
		case localNames:
			shifted = m.localNames(&p)
		case labelNames:
			continue // the rewriting adds labels, so the indices no longer fit
		default:
			p.pos = len(p.b)
			shifted = p.b
		}
		if r.err != nil || p.err != nil || p.pos != len(p.b) {
			return head
		}
		out = append(out, part)
		out = appendU32(out, uint32(len(shifted))) //nolint:gosec // slightly more than the input
		out = append(out, shifted...)
	}
	if r.err != nil {
		return head
	}
	return out
}

func (m *module) functionNames(r *reader) []byte {
	n := r.count()
	m.volume.names += uint64(n)
	names := make([]byte, 0, len(r.b)+256)
	tick := false // already named
	for range n {
		index := r.u32()
		if index >= m.importedFunctions && !tick {
			names, tick = m.nameTick(names), true
		}
		names = appendU32(names, m.shiftName(index))
		names = appendChecked(names, r)
	}
	if !tick {
		names = m.nameTick(names)
	}
	for i, h := range m.helpers {
		names = appendName(appendU32(names, m.functions+1+uint32(i)), ourFunctions[h].name)
	}
	out := appendU32(make([]byte, 0, len(names)+5), n+1+uint32(len(m.helpers))) //nolint:gosec // few helpers
	return append(out, names...)
}

func (m *module) nameTick(out []byte) []byte {
	return appendName(appendU32(out, m.tick()), "reductions.tick")
}

// shiftName is function for names, which may have the index of no function.
func (m *module) shiftName(index uint32) uint32 {
	if index < m.importedFunctions || index == ^uint32(0) {
		return index
	}
	return index + 1
}

// appendChecked copies a name, which must be valid UTF-8.
func appendChecked(out []byte, r *reader) []byte {
	from := r.pos
	if name := r.name(); !utf8.Valid(name) {
		r.fail("a name is not UTF-8")
	}
	return append(out, r.b[from:r.pos]...)
}

func (m *module) localNames(r *reader) []byte {
	n := r.count()
	out := appendU32(make([]byte, 0, len(r.b)+16), n)
	for range n {
		out = appendU32(out, m.shiftName(r.u32()))
		locals := r.count()
		m.volume.names += uint64(locals) + 1
		out = appendU32(out, locals)
		for range locals {
			out = appendU32(out, r.u32())
			out = appendChecked(out, r)
		}
		if r.err != nil {
			return nil
		}
	}
	return out
}

// named returns a function's index, with its name if the name section has one.
func (m *module) named(index uint32) string {
	for _, s := range m.sections {
		r := reader{b: s.content}
		if s.id != customSection || string(r.name()) != "name" {
			continue
		}
		for r.more() {
			part := r.byte()
			p := reader{b: r.name()}
			if part != functionNames {
				continue
			}
			for range p.count() {
				i, name := p.u32(), p.name()
				if p.err == nil && i == index && utf8.Valid(name) && len(name) <= 200 {
					return fmt.Sprintf("%d (%s)", index, name)
				}
			}
		}
	}
	return strconv.FormatUint(uint64(index), 10)
}
