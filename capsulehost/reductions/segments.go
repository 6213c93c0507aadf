package reductions

// rewriteElements shifts the function indices. The bits of a segment's flags are:
// 1 = not active; 2 = has a table index (active) or is declarative (not active);
// 4 = the elements are expressions.
func (m *module) rewriteElements(r *reader, out []byte) []byte {
	n := r.count()
	m.volume.segments += n
	out = appendU32(out, n)
	for i := range n {
		from := r.pos
		flags := r.u32()
		if flags > 7 {
			r.fail("segment %d has the flags 0x%02x", i, flags)
		}
		active, expressions := flags&1 == 0, flags&4 != 0
		if active && flags&2 != 0 {
			r.u32() // table
		}
		out = append(out, r.b[from:r.pos]...)
		if active {
			out = m.constant(r, out)
		}
		from = r.pos
		switch {
		case flags&3 == 0: // has neither kind nor type
		case expressions:
			m.checkedType(r)
		default:
			r.byte() // kind
		}
		count := r.count()
		m.volume.elements += uint64(count)
		if flags&3 == 1 { // passive: each instance has its own copy
			m.volume.tableElements += uint64(count)
			if limit := m.cfg.TableLimit; limit > 0 && m.volume.tableElements > uint64(limit) {
				r.fail("%w", tooMuch("tables and passive segments have %d elements together, over the limit of %d", m.volume.tableElements, limit))
			}
		}
		out = append(out, r.b[from:r.pos]...)
		for range count {
			if expressions {
				out = m.constant(r, out)
			} else {
				out = appendU32(out, m.function(r, r.u32()))
			}
			if r.err != nil {
				return nil
			}
		}
		if r.err != nil {
			return nil
		}
	}
	return out
}

// rewriteData shifts the function indices in the offsets, and checks their globals.
func (m *module) rewriteData(r *reader, out []byte) []byte {
	n := r.count()
	m.volume.segments += n
	out = appendU32(out, n)
	for i := range n {
		from := r.pos
		flags := r.u32()
		switch flags {
		case 0, 1:
		case 2:
			r.u32() // memory
		default:
			r.fail("segment %d has the flags 0x%02x", i, flags)
		}
		out = append(out, r.b[from:r.pos]...)
		if flags != 1 {
			out = m.constant(r, out)
		}
		from = r.pos
		r.name()
		if r.err != nil {
			return nil
		}
		out = append(out, r.b[from:r.pos]...)
	}
	return out
}

// constant copies a constant expression and shifts its function indices.
func (m *module) constant(r *reader, out []byte) []byte {
	from := r.pos
	for {
		switch op := r.byte(); op {
		case opI32Const:
			r.skipLEB(5)
		case opI64Const:
			r.skipLEB(10)
		case opF32Const:
			r.skip(4)
		case opF64Const:
			r.skip(8)
		case opI32Add, opI32Sub, opI32Mul, opI64Add, opI64Sub, opI64Mul:
		case opGlobalGet:
			m.checkGlobal(r, r.u32())
		case opRefNull:
			m.heapType(r)
		case opRefFunc:
			out = append(out, r.b[from:r.pos]...)
			out = appendU32(out, m.function(r, r.u32()))
			from = r.pos
		case opVector:
			if second := r.byte(); second != vectorConst {
				r.fail("a constant expression with the instruction 0x%02x 0x%02x", op, second)
			}
			r.skip(16)
		case opEnd:
			return append(out, r.b[from:r.pos]...)
		default:
			r.fail("a constant expression with the instruction 0x%02x", op)
		}
		if r.err != nil {
			return out
		}
	}
}

// heapType skips the operand of ref.null.
func (m *module) heapType(r *reader) {
	switch r.byte() {
	case 0x70, 0x6f, 0x69: // func, extern, exn
	default:
		if r.err == nil {
			r.pos--
			m.typeIndex(r)
		}
	}
}
