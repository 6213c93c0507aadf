package reductions

// misc reads an instruction after its prefix opMisc.
func (s *scanner) misc(at int) {
	r := &s.r
	op := r.u32()
	switch {
	case op <= 7 || op == miscDataDrop || op == miscElemDrop:
	case op == miscTableSize:
		s.shape.push(1)
	case op == miscTableGrow:
		s.shape.push(-1)
	default:
		s.shape.push(-3)
	}
	s.shape.instructions += 40 // bounds check, and a call that moves the range
	switch op {
	case 0, 1, 2, 3, 4, 5, 6, 7: // saturating conversions
	case miscMemoryInit:
		r.u32() // segment
		s.memoryIndex()
		s.help(callBefore, at, bytesCost)
	case miscMemoryCopy:
		s.memoryIndex()
		s.memoryIndex()
		s.help(fillOrCopy, at, memoryCopy)
	case miscMemoryFill:
		s.memoryIndex()
		s.help(fillOrCopy, at, memoryFill)
		s.shape.fill()
	case miscTableInit, miscTableCopy:
		r.u32()
		r.u32()
		s.help(callBefore, at, elementsCost)
	case miscTableFill:
		r.u32()
		s.help(callBefore, at, elementsCost)
		s.shape.fill()
	case miscTableGrow:
		r.u32()
		s.help(callBefore, at, tableGrowCost)
	case miscDataDrop, miscElemDrop, miscTableSize:
		r.u32()
	default:
		r.fail("unknown instruction 0xfc 0x%02x", op)
	}
}

// vector reads an instruction after its prefix opVector.
func (s *scanner) vector(at int) {
	r := &s.r
	op := r.byte()
	i, number := vectors[op], uint32(op)
	if op >= 0x80 {
		if second := r.byte(); second != 1 { // the second byte of its LEB128 opcode
			i.form, number = unknown, uint32(op&0x7f)|uint32(second)<<7
		}
	}
	if i.weight == heavy {
		s.spend(at, heavy-light)
	}
	s.shape.push(int(vectorEffects[op]))
	s.shape.instructions += 3
	switch i.form {
	case memoryArg:
		r.u32()
		r.u32()
		s.shape.memory()
	case special:
		switch {
		case op == vectorConst || op == vectorShuffle:
			r.skip(16)
		case op < 0x54: // a lane
			r.byte()
		default: // a lane in memory
			r.u32()
			r.u32()
			r.byte()
			s.shape.memory()
		}
	case unknown:
		if r.err == nil {
			r.fail("unknown instruction 0xfd 0x%02x", number)
		}
	default:
	}
}

// atomic reads an instruction after its prefix opAtomic.
func (s *scanner) atomic(at int) {
	r := &s.r
	s.spend(at, heavy-light)
	switch op := r.byte(); {
	case op == 3: // fence
		r.byte()
	case op <= 2: // notify and wait: calls, since wait may block
		s.call(false)
		fallthrough
	case op >= 0x10 && op <= 0x4e:
		r.u32()
		r.u32()
		s.shape.memory()
	default:
		r.fail("unknown instruction 0xfe 0x%02x", op)
	}
}
