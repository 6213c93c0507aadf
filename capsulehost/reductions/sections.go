package reductions

import "bytes"

// Kinds of imports and exports.
const (
	externFunction = iota
	externTable
	externMemory
	externGlobal
	externTag
)

// The types that the rewriting adds after the input's.
const (
	tickType   = iota // () -> ()
	chargeType        // (i32) -> i32
	rangeType         // (i32, i32, i32) -> ()
	ourTypes
)

var ourTypeSection = []byte{
	funcType, 0, 0,
	funcType, 1, 0x7f, 1, 0x7f,
	funcType, 3, 0x7f, 0x7f, 0x7f, 0,
}

// grow copies a vector whose length it increases by more: it appends the new
// length, then the bytes between from and the reader's position. The caller appends
// the new elements.
func grow(out []byte, r *reader, count, more uint32, from int) []byte {
	return append(appendU32(out, count+more), r.b[from:r.pos]...)
}

// rewriteTypes adds the types of the tick and of the helpers.
func (m *module) rewriteTypes(r *reader, out []byte) []byte {
	n := r.count()
	from := r.pos
	highest := int64(-1) // highest type index that a type refers to
	for range n {
		group := uint32(1)
		if r.more() && r.b[r.pos] == recGroup {
			r.pos++
			group = r.count()
		}
		for range group {
			if form := r.byte(); form != funcType {
				r.fail("type %d is of the form 0x%02x, not a function's", m.types, form)
			}
			parameters := r.count()
			for range parameters {
				highest = max(highest, r.valueType())
			}
			results := r.count()
			for range results {
				highest = max(highest, r.valueType())
			}
			m.volume.typeValues += uint64(parameters) + uint64(results)
			m.parameters = append(m.parameters, parameters)
			m.results = append(m.results, results)
			m.types++
			if r.err != nil {
				return nil
			}
		}
	}
	if highest >= int64(m.types) {
		r.fail("type %d of %d", highest, m.types)
	}
	return append(grow(out, r, n, ourTypes, from), ourTypeSection...)
}

// valueType skips a value type. It returns the index of the type that it refers
// to, or -1 if it refers to none.
func (r *reader) valueType() int64 {
	switch r.byte() {
	case refNullable, refNonNullable:
		return max(-1, r.s33())
	default:
		return -1
	}
}

// checkedType skips a value type that must not refer to one of the added types.
func (m *module) checkedType(r *reader) {
	if t := r.valueType(); t >= int64(m.types) {
		r.fail("type %d of %d", t, m.types)
	}
}

// typeIndex reads a type's index, which must not be one of the added types.
func (m *module) typeIndex(r *reader) uint32 {
	t := r.u32()
	if t >= m.types {
		r.fail("type %d of %d", t, m.types)
	}
	return t
}

// rewriteImports adds Tick after the imported functions.
func (m *module) rewriteImports(r *reader, out []byte) []byte {
	n := r.count()
	m.volume.imports = n + 1
	from := r.pos
	for i := range n {
		if module := r.name(); string(module) == ImportModule {
			r.fail("import %d is from %q, which is the host's own", i, module)
		}
		r.name()
		switch kind := r.byte(); kind {
		case externFunction:
			m.importedTypes = append(m.importedTypes, m.typeIndex(r))
			m.importedFunctions++
		case externTable:
			r.skipTable(m)
			m.tables++
		case externMemory:
			r.skipLimits()
			m.memories++
		case externGlobal:
			m.checkedType(r)
			m.mutable += uint32(r.byte())
			m.importedGlobals++
		case externTag:
			r.byte()
			m.typeIndex(r)
		default:
			r.fail("import %d is of the unknown kind %d", i, kind)
		}
		if r.err != nil {
			return nil
		}
	}
	m.functions, m.globals = m.importedFunctions, m.importedGlobals
	out = grow(out, r, n, 1, from)
	out = appendName(out, ImportModule)
	out = appendName(out, Tick)
	out = append(out, externFunction)
	return appendU32(out, m.types+tickType)
}

func appendName(out []byte, name string) []byte {
	return append(appendU32(out, uint32(len(name))), name...) //nolint:gosec // only this package's names
}

// skipLimits skips the limits of a table or a memory.
func (r *reader) skipLimits() {
	flags := r.byte()
	r.u32()
	if flags&1 != 0 {
		r.u32()
	}
	if flags > 3 {
		r.fail("limits with the flags 0x%02x", flags)
	}
}

// skipTable skips a table's type. Imported tables have no initial value.
func (r *reader) skipTable(m *module) {
	m.checkedType(r)
	r.skipLimits()
}

// countFunctions reads and checks the types of the functions.
func (m *module) countFunctions(r *reader, _ []byte) []byte {
	n := r.count()
	m.functions += n
	m.functionTypes = make([]uint32, n)
	for i := range m.functionTypes {
		m.functionTypes[i] = m.typeIndex(r)
	}
	return r.b
}

// rewriteFunctions adds the helpers.
func (m *module) rewriteFunctions(r *reader, out []byte) []byte {
	n := r.count()
	from := r.pos
	r.pos = len(r.b)                                    // countFunctions has read them
	out = grow(out, r, n, uint32(len(m.helpers)), from) //nolint:gosec // few helpers
	for _, h := range m.helpers {
		out = appendU32(out, m.types+ourFunctions[h].typ)
	}
	return out
}

func (m *module) countMemories(r *reader, _ []byte) []byte {
	n := r.count()
	m.memories += n
	for range n {
		r.skipLimits()
	}
	return r.b
}

// rewriteGlobals adds the counter.
func (m *module) rewriteGlobals(r *reader, out []byte) []byte {
	n := r.count()
	m.globals += n
	out = appendU32(out, n+1)
	for range n {
		from := r.pos
		m.checkedType(r)
		m.mutable += uint32(r.byte())
		out = append(out, r.b[from:r.pos]...)
		if out = m.constant(r, out); r.err != nil {
			return nil
		}
	}
	return append(out, 0x7e, 1, opI64Const, 0, opEnd) // mutable i64
}

// rewriteTables lowers the tables' maxima to the limit.
func (m *module) rewriteTables(r *reader, out []byte) []byte {
	n := r.count()
	if m.tables+n > maxTables {
		r.fail("%w", tooMuch("%d tables, over the limit of %d", m.tables+n, maxTables))
		return nil
	}
	out = appendU32(out, n)
	elements := uint64(0) // initial elements of all tables
	for i := range n {
		from := r.pos
		withInit := r.more() && r.b[r.pos] == tableWithInit
		if withInit {
			r.pos++
			r.byte()
		}
		m.checkedType(r)
		out = append(out, r.b[from:r.pos]...)
		flags := r.byte()
		least := r.u32()
		most, bounded := uint32(0), flags&1 != 0
		if bounded {
			most = r.u32()
		}
		if flags > 3 {
			r.fail("limits with the flags 0x%02x", flags)
		}
		if limit := m.cfg.TableLimit; limit > 0 {
			if least > limit {
				r.fail("%w", tooMuch("table %d starts with %d elements, over the limit of %d", m.tables+i, least, limit))
			}
			elements += uint64(least)
			if !bounded || most > limit {
				bounded, most, flags = true, limit, flags|1
			}
		}
		out = appendU32(append(out, flags), least)
		if bounded {
			out = appendU32(out, most)
		}
		if withInit {
			out = m.constant(r, out)
		}
		if r.err != nil {
			return nil
		}
	}
	if limit := m.cfg.TableLimit; limit > 0 && elements > uint64(limit) {
		r.fail("%w", tooMuch("%d tables start with %d elements together, over the limit of %d", n, elements, limit))
	}
	m.tables += n
	m.volume.tableElements = elements
	return out
}

func (m *module) checkTags(r *reader, _ []byte) []byte {
	for range r.count() {
		r.byte()
		m.typeIndex(r)
	}
	return r.b
}

// rewriteExports shifts the function indices, and adds the counter.
func (m *module) rewriteExports(r *reader, out []byte) []byte {
	n := r.count()
	m.volume.exports = n
	out = appendU32(out, n+1)
	for range n {
		from := r.pos
		name := r.name()
		if bytes.Equal(name, []byte(Counter)) {
			r.fail("the export %q has a name of the host's own", name)
		}
		kind := r.byte()
		out = append(out, r.b[from:r.pos]...)
		index := r.u32()
		switch kind {
		case externFunction:
			index = m.function(r, index)
		case externGlobal:
			m.checkGlobal(r, index)
		}
		if r.err != nil {
			return nil
		}
		out = appendU32(out, index)
	}
	out = append(appendName(out, Counter), externGlobal)
	return appendU32(out, m.counter())
}

// checkGlobal refuses an index beyond the input's globals, since the next one is
// the counter.
func (m *module) checkGlobal(r *reader, index uint32) {
	if index >= m.globals {
		r.fail("global %d of %d", index, m.globals)
	}
}

func (m *module) rewriteStart(r *reader, out []byte) []byte {
	return appendU32(out, m.function(r, r.u32()))
}
