package reductions_test

import "encoding/binary"

// generator builds valid modules from arbitrary bytes; the same bytes give the same module. The
// modules contain everything that the rewriting handles: all kinds of calls, loops with and
// without parameters, branches out of them, tables, segments, and operations on ranges. They
// terminate: every function and loop spends fuel, and traps without fuel.
type generator struct {
	source []byte
	types  []signature
	funcs  []signature // in the order of their indices, imports first
	out    []byte      // the current function's body
	locals []byte      // their types, parameters first
	labels []label
	depth  int
	in     signature // the function's
}

type signature struct{ params, results []byte }

// label holds the types of the values that a branch to a block carries.
type label struct{ types []byte }

const (
	tI32 = 0x7f
	tI64 = 0x7e
	tF32 = 0x7d
	tF64 = 0x7c

	importCount = 1
	fuelGlobal  = 0
	globalCount = 4 // fuel, then one of i32, i64 and f64
	memoryPages = 5
)

var numeric = []byte{tI32, tI64, tF32, tF64}

func (g *generator) byte() byte {
	if len(g.source) == 0 {
		return 0
	}
	b := g.source[0]
	g.source = g.source[1:]
	return b
}

func (g *generator) n(below int) int { return int(g.byte()) % below }

func (g *generator) some(most int) []byte {
	out := make([]byte, g.n(most+1))
	for i := range out {
		out[i] = numeric[g.n(4)]
	}
	return out
}

func (g *generator) put(b ...byte) { g.out = append(g.out, b...) }

func uleb(out []byte, v uint64) []byte { return binary.AppendUvarint(out, v) }

func sleb(out []byte, v int64) []byte {
	for {
		b := byte(v & 0x7f)
		if v >>= 7; (v == 0 && b&0x40 == 0) || (v == -1 && b&0x40 != 0) {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

func vector(items [][]byte) []byte {
	out := uleb(nil, uint64(len(items)))
	for _, i := range items {
		out = append(out, i...)
	}
	return out
}

func sized(b []byte) []byte { return append(uleb(nil, uint64(len(b))), b...) }

// generate returns a module whose exports f0, f1, ... are to be called with arguments, and
// their types.
func generate(source []byte) (wasm []byte, functions []signature) {
	g := &generator{source: source}
	g.types = []signature{{}, {[]byte{tI32}, []byte{tI32}}}
	for range 1 + g.n(5) {
		g.types = append(g.types, signature{g.some(3), g.some(2)})
	}
	var typeItems [][]byte
	for _, t := range g.types {
		typeItems = append(typeItems, append(append([]byte{0x60}, sized(t.params)...), sized(t.results)...))
	}
	g.funcs = []signature{g.types[1]}
	declared := make([][]byte, 1+g.n(6))
	for i := range declared {
		t := g.n(len(g.types))
		declared[i] = uleb(nil, uint64(t))
		g.funcs = append(g.funcs, g.types[t])
	}
	functions = g.funcs[importCount:]
	var exports, code, elements [][]byte
	for i := range g.funcs {
		if i >= importCount {
			exports = append(exports, append([]byte{2, 'f', byte('0' + i - importCount), 0}, byte(i)))
			code = append(code, sized(g.function(g.funcs[i])))
		}
		elements = append(elements, []byte{byte(i)})
	}
	exports = append(exports, []byte{1, 'm', 2, 0}, []byte{1, 't', 1, 0})
	for i := range globalCount {
		exports = append(exports, []byte{2, 'g', byte('0' + i), 3, byte(i)})
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, content []byte) { out = append(append(out, id), sized(content)...) }
	section(1, vector(typeItems))
	section(2, append([]byte{importCount, 4, 'h', 'o', 's', 't', 1, 'h', 0}, 1))
	section(3, vector(declared))
	section(4, []byte{1, 0x70, 1, 12, 20})                 // a table of 12 to 20 functions
	section(5, []byte{1, 1, memoryPages, memoryPages + 3}) // room to grow a little
	section(6, append([]byte{globalCount, tI32, 1, 0x41}, append(sleb(nil, 300), 0x0b,
		tI32, 1, 0x41, 7, 0x0b, tI64, 1, 0x42, 0x7f, 0x0b, tF64, 1, 0x44, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x0b)...))
	section(7, vector(exports))
	// An active segment, a passive one with expressions, and a declarative one.
	segment := append([]byte{0, 0x41, 1, 0x0b}, vector(elements)...)
	section(9, vector([][]byte{
		segment,
		{5, 0x70, 3, 0xd2, byte(g.n(len(g.funcs))), 0x0b, 0xd0, 0x70, 0x0b, 0xd2, 0, 0x0b},
		append([]byte{3, 0}, vector(elements)...),
	}))
	section(12, []byte{2})
	section(10, vector(code))
	section(11, vector([][]byte{{0, 0x41, 8, 0x0b, 4, 1, 2, 3, 4}, append([]byte{1}, sized([]byte("a passive segment"))...)}))
	return out, functions
}

func (g *generator) function(s signature) []byte {
	g.in, g.out, g.depth = s, nil, 0
	g.locals = append(append([]byte(nil), s.params...), numeric...)
	g.locals = append(g.locals, g.some(3)...)
	g.labels = []label{{s.results}}
	g.spendFuel()
	g.block(s.results)
	own := g.locals[len(s.params):]
	out := uleb(nil, uint64(len(own)))
	for _, t := range own {
		out = append(out, 1, t)
	}
	return append(append(out, g.out...), 0x0b)
}

// spendFuel traps if there is no fuel.
func (g *generator) spendFuel() {
	g.put(0x23, fuelGlobal, 0x45, 0x04, 0x40, 0x00, 0x0b)    // if none: unreachable
	g.put(0x23, fuelGlobal, 0x41, 1, 0x6b, 0x24, fuelGlobal) // one less
}

// block emits statements, then values of these types.
func (g *generator) block(results []byte) {
	g.depth++
	for range g.n(4) {
		g.statement()
	}
	for _, t := range results {
		g.value(t)
	}
	g.depth--
}

func (g *generator) values(types []byte) {
	for _, t := range types {
		g.value(t)
	}
}

// drop emits code that drops n values.
func (g *generator) drop(n int) {
	for range n {
		g.put(0x1a)
	}
}

// local returns the index of a local of that type, which always exists.
func (g *generator) local(t byte) byte {
	from := g.n(len(g.locals))
	for i := range g.locals {
		if at := (from + i) % len(g.locals); g.locals[at] == t {
			return byte(at)
		}
	}
	panic("no local of that type")
}

func (g *generator) address() {
	g.value(tI32)
	if g.n(16) > 0 {
		g.put(0x41)
		g.out = sleb(g.out, memoryPages<<16-256)
		g.put(0x71) // mostly within bounds
	}
}

// size emits an i32 that is seldom large.
func (g *generator) size() {
	switch g.n(8) {
	case 0:
		g.value(tI32)
	case 1, 2:
		g.put(0x41)
		g.out = sleb(g.out, int64(g.byte())<<10)
	default:
		g.put(0x41)
		g.out = sleb(g.out, int64(g.byte()))
	}
}

func (g *generator) statement() {
	if g.depth > 6 {
		g.put(0x01)
		return
	}
	switch g.n(20) {
	case 0, 1:
		t := numeric[g.n(4)]
		g.value(t)
		g.put(0x21, g.local(t))
	case 2:
		i := g.n(globalCount-1) + 1
		g.value([]byte{tI32, tI32, tI64, tF64}[i])
		g.put(0x24, byte(i))
	case 3, 4: // a store
		g.address()
		store := g.n(4)
		g.value(numeric[store])
		g.put(byte(0x36+store), 0, g.byte()&0x7f)
	case 5, 6: // a loop that counts
		g.nested(0x03, nil, nil)
	case 7:
		g.nested(0x02, nil, nil)
	case 8:
		g.value(tI32)
		g.nested(0x04, nil, nil)
	case 9, 10: // a branch
		l := g.n(len(g.labels))
		types := g.labels[len(g.labels)-1-l].types
		g.values(types)
		g.value(tI32)
		g.put(0x0d, byte(l))
		g.drop(len(types))
	case 11: // br_table, in its own block
		g.table()
	case 12:
		g.call(false)
	case 13:
		g.address()
		g.value(tI32)
		g.size()
		g.put(0xfc, 11, 0)
	case 14:
		g.address()
		g.address()
		g.size()
		g.put(0xfc, 10, 0, 0)
	case 15:
		g.address()
		g.put(0x41, byte(g.n(20)), 0x41, byte(g.n(20)), 0xfc, 8, 1, 0) // memory.init
	case 16:
		g.rareRange()
	case 17: // no statement
		for range 40 * (1 + g.n(4)) {
			l := g.local(tI32)
			g.put(0x20, l, 0x41, 3, 0x6c, 0x21, l)
		}
	case 18: // return, or a tail call
		g.value(tI32)
		g.put(0x04, 0x40)
		g.labels = append(g.labels, label{})
		if g.n(2) == 0 {
			g.values(g.in.results)
			g.put(0x0f)
		} else {
			g.call(true)
		}
		g.labels = g.labels[:len(g.labels)-1]
		g.put(0x0b)
	case 19:
		g.value(tI32)
		g.put(0x40, 0, 0x1a) // memory.grow
	}
}

// rareRange emits an operation on the table.
func (g *generator) rareRange() {
	small := func() { g.put(0x41, byte(g.n(24))) }
	switch g.n(6) {
	case 0:
		small()
		small()
		small()
		g.put(0xfc, 12, 1, 0) // table.init
	case 1:
		small()
		small()
		small()
		g.put(0xfc, 14, 0, 0) // table.copy
	case 2:
		g.put(0xd2, byte(g.n(len(g.funcs)))) // ref.func
		small()
		g.put(0xfc, 15, 0, 0x1a) // table.grow
	case 3:
		small()
		g.put(0xd0, 0x70)
		small()
		g.put(0xfc, 17, 0) // table.fill
	case 4:
		small()
		g.put(0xd2, byte(g.n(len(g.funcs))), 0x26, 0) // table.set
	case 5:
		g.put(0xfc, byte(9+4*g.n(2)), 1) // data.drop, elem.drop
	}
}

// nested emits a block, loop or if, with its parameters on the stack.
func (g *generator) nested(op byte, params, results []byte) {
	g.put(op)
	switch {
	case len(params) == 0 && len(results) == 0:
		g.put(0x40)
	case len(params) == 0 && len(results) == 1:
		g.put(results[0])
	default:
		g.out = sleb(g.out, int64(g.typeOf(params, results)))
	}
	taken := results
	if op == 0x03 {
		taken = params
	}
	g.labels = append(g.labels, label{taken})
	if op == 0x03 {
		g.spendFuel()
	}
	g.drop(len(params))
	g.block(results)
	if op == 0x03 { // sometimes repeat it
		g.drop(len(results))
		g.values(taken)
		g.value(tI32)
		g.put(0x0d, 0)
		g.drop(len(taken))
		g.values(results)
	}
	if op == 0x04 {
		g.put(0x05)
		g.drop(len(params))
		g.block(results)
	}
	g.put(0x0b)
	g.labels = g.labels[:len(g.labels)-1]
}

// typeOf returns the index of a type.
func (g *generator) typeOf(params, results []byte) int {
	for i, t := range g.types {
		if string(t.params) == string(params) && string(t.results) == string(results) {
			return i
		}
	}
	panic("no such type")
}

// table emits a br_table to labels without values.
func (g *generator) table() {
	g.put(0x02, 0x40)
	g.labels = append(g.labels, label{})
	var targets []byte
	for i := range g.labels {
		if len(g.labels[len(g.labels)-1-i].types) == 0 {
			targets = append(targets, byte(i))
		}
	}
	g.value(tI32)
	n := g.n(4)
	g.put(0x0e, byte(n))
	for range n + 1 {
		g.put(targets[g.n(len(targets))])
	}
	g.labels = g.labels[:len(g.labels)-1]
	g.put(0x0b)
}

// call emits a call and drops its results; a tail call must have the function's own results.
func (g *generator) call(tail bool) {
	f := g.n(len(g.funcs))
	s := g.funcs[f]
	if tail {
		for i := range g.funcs {
			if at := (f + i) % len(g.funcs); string(g.funcs[at].results) == string(g.in.results) {
				f, s = at, g.funcs[at]
				break
			}
		}
	}
	g.values(s.params)
	op := byte(0x10)
	if tail {
		op = 0x12
	}
	if g.n(3) == 0 {
		g.value(tI32)
		g.put(0x41, 15, 0x71, op+1)
		g.out = uleb(g.out, uint64(g.typeOf(s.params, s.results)))
		g.put(0)
	} else {
		g.put(op, byte(f))
	}
	if !tail {
		g.drop(len(s.results))
	}
}

// value emits one value.
func (g *generator) value(t byte) {
	g.depth++
	defer func() { g.depth-- }()
	kind := g.n(10)
	if g.depth > 9 {
		kind = g.n(2)
	}
	switch kind {
	case 0:
		switch t {
		case tI32:
			g.put(0x41)
			g.out = sleb(g.out, int64(int8(g.byte())))
		case tI64:
			g.put(0x42)
			g.out = sleb(g.out, int64(int8(g.byte()))<<33)
		case tF32:
			g.put(0x43, g.byte(), g.byte(), g.byte(), 0x3f)
		case tF64:
			g.put(0x44, 0, 0, 0, 0, 0, g.byte(), g.byte(), 0x40)
		}
	case 1, 2:
		g.put(0x20, g.local(t))
	case 3, 4:
		g.value(t)
		g.value(t)
		switch t {
		case tI32:
			g.put(byte(0x6a + g.n(15)))
		case tI64:
			g.put(byte(0x7c + g.n(15)))
		case tF32:
			g.put(byte(0x92 + g.n(7)))
		case tF64:
			g.put(byte(0xa0 + g.n(7)))
		}
	case 5: // a load
		g.address()
		for i, n := range numeric {
			if n == t {
				g.put(byte(0x28+i), 0, g.byte()&0x7f)
			}
		}
	case 6: // a conversion
		switch t {
		case tI32:
			g.value(tI64)
			g.put([]byte{0xa7, 0x50}[g.n(2)]) // wrap, eqz
		case tI64:
			g.value(tI32)
			g.put(byte(0xac + g.n(2)))
		case tF32:
			g.value(tI32)
			g.put(byte(0xb2 + g.n(2)))
		case tF64:
			g.value(tI64)
			g.put(byte(0xb9 + g.n(2)))
		}
	case 7:
		g.value(t)
		g.value(t)
		g.value(tI32)
		g.put(0x1b) // select
	case 8:
		op := byte(2 + g.n(3))
		if op == 4 {
			g.value(tI32)
		}
		g.nested(op, nil, []byte{t})
	case 9: // a block or loop with a declared type that ends in such a value
		for i := range g.types {
			s := g.types[(i+int(t))%len(g.types)]
			if len(s.results) > 0 && s.results[len(s.results)-1] == t {
				g.values(s.params)
				g.nested(byte(2+g.n(2)), s.params, s.results)
				l := g.local(t)
				g.put(0x21, l)
				g.drop(len(s.results) - 1)
				g.put(0x20, l)
				return
			}
		}
		g.put(0x20, g.local(t))
	}
}
