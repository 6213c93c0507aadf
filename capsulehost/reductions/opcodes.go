package reductions

// Opcodes that the rewriting handles by name.
const (
	opUnreachable        = 0x00
	opBlock              = 0x02
	opLoop               = 0x03
	opIf                 = 0x04
	opElse               = 0x05
	opThrow              = 0x08
	opThrowRef           = 0x0a
	opEnd                = 0x0b
	opBr                 = 0x0c
	opBrIf               = 0x0d
	opBrTable            = 0x0e
	opReturn             = 0x0f
	opCall               = 0x10
	opCallIndirect       = 0x11
	opReturnCall         = 0x12
	opReturnCallIndirect = 0x13
	opCallRef            = 0x14
	opReturnCallRef      = 0x15
	opDrop               = 0x1a
	opSelectTyped        = 0x1c
	opTryTable           = 0x1f
	opGlobalGet          = 0x23
	opGlobalSet          = 0x24
	opMemorySize         = 0x3f
	opMemoryGrow         = 0x40
	opI32Const           = 0x41
	opI64Const           = 0x42
	opF32Const           = 0x43
	opF64Const           = 0x44
	opI64LtS             = 0x53
	opI32Add             = 0x6a
	opI32Sub             = 0x6b
	opI32Mul             = 0x6c
	opI64Add             = 0x7c
	opI64Sub             = 0x7d
	opI64Mul             = 0x7e
	opRefNull            = 0xd0
	opRefFunc            = 0xd2
	opBrOnNull           = 0xd5
	opBrOnNonNull        = 0xd6
	opMisc               = 0xfc
	opVector             = 0xfd
	opAtomic             = 0xfe
)

// Second bytes after opMisc.
const (
	miscMemoryInit = 8
	miscDataDrop   = 9
	miscMemoryCopy = 10
	miscMemoryFill = 11
	miscTableInit  = 12
	miscElemDrop   = 13
	miscTableCopy  = 14
	miscTableGrow  = 15
	miscTableSize  = 16
	miscTableFill  = 17
)

// Second bytes after opVector whose operands differ from their neighbours'.
const (
	vectorConst   = 0x0c
	vectorShuffle = 0x0d
)

// emptyBlock is the block type without parameters and results.
const emptyBlock = 0x40

// First bytes of encodings with more than one byte.
const (
	refNullable    = 0x63
	refNonNullable = 0x64
	recGroup       = 0x4e
	funcType       = 0x60
	tableWithInit  = 0x40
)

// form is the encoding of an instruction's operands, or special if it needs its
// own case.
type form uint8

const (
	unknown   form = iota
	plain          // no operands
	local          // a local's index
	index          // one u32
	memoryArg      // alignment and offset
	number32       // a LEB128 of at most 5 bytes
	number64       // a LEB128 of at most 10 bytes
	bytes4
	bytes8
	special
)

// instruction holds an opcode's form, and its weight in straight-line code.
type instruction struct {
	form   form
	weight uint8
}

// Weights. An instruction that compiles to no machine code weighs nothing: it only
// names a value or a position.
const (
	free  = 0
	light = 1
	heavy = 4 // division, roots, calls: tens of cycles
)

// instructions is indexed by opcode.
var instructions = func() (t [256]instruction) {
	set := func(form form, weight uint8, from, to int) {
		for op := from; op <= to; op++ {
			t[op] = instruction{form, weight}
		}
	}
	set(plain, free, 0x00, 0x01)          // unreachable, nop
	set(special, free, 0x02, 0x03)        // block, loop
	set(special, light, 0x04, 0x04)       // if
	set(special, free, 0x05, 0x05)        // else
	set(special, heavy, 0x08, 0x08)       // throw
	set(special, heavy, 0x0a, 0x0a)       // throw_ref
	set(special, free, 0x0b, 0x0b)        // end
	set(special, light, 0x0c, 0x0f)       // br, br_if, br_table, return
	set(special, heavy, 0x10, 0x15)       // calls
	set(plain, free, 0x1a, 0x1a)          // drop
	set(plain, light, 0x1b, 0x1b)         // select
	set(special, light, 0x1c, 0x1c)       // select with a type
	set(special, heavy, 0x1f, 0x1f)       // try_table
	set(local, free, 0x20, 0x22)          // local.get, local.set, local.tee
	set(special, light, 0x23, 0x24)       // global.get, global.set
	set(index, light, 0x25, 0x26)         // table.get, table.set
	set(memoryArg, light, 0x28, 0x3e)     // loads and stores
	set(special, light, 0x3f, 0x3f)       // memory.size
	set(special, heavy, 0x40, 0x40)       // memory.grow
	set(number32, free, opI32Const, 0x41) //
	set(number64, free, opI64Const, 0x42) //
	set(bytes4, free, opF32Const, 0x43)   //
	set(bytes8, free, opF64Const, 0x44)   //
	set(plain, light, 0x45, 0xc4)         // comparisons, arithmetic, conversions
	set(plain, heavy, 0x6d, 0x70)         // i32.div_s ... i32.rem_u
	set(plain, heavy, 0x7f, 0x82)         // i64.div_s ... i64.rem_u
	set(plain, heavy, 0x91, 0x91)         // f32.sqrt
	set(plain, heavy, 0x95, 0x95)         // f32.div
	set(plain, heavy, 0x9f, 0x9f)         // f64.sqrt
	set(plain, heavy, 0xa3, 0xa3)         // f64.div
	set(special, light, opRefNull, 0xd0)  //
	set(plain, light, 0xd1, 0xd1)         // ref.is_null
	set(special, light, opRefFunc, 0xd2)  //
	set(plain, light, 0xd4, 0xd4)         // ref.as_non_null
	set(special, light, opBrOnNull, 0xd6) // br_on_null, br_on_non_null
	set(special, light, opMisc, opAtomic) //
	return t
}()

// vectors is indexed by the second byte after opVector.
var vectors = func() (t [256]instruction) {
	set := func(form form, from, to int) {
		for op := from; op <= to; op++ {
			t[op] = instruction{form, light}
		}
	}
	set(plain, 0x0e, 0xff)
	set(memoryArg, 0x00, 0x0b)                         // loads and v128.store
	set(special, 0x0c, 0x0d)                           // v128.const, i8x16.shuffle
	set(special, 0x15, 0x22)                           // lanes, extracted and replaced
	set(special, 0x54, 0x5b)                           // lanes, loaded and stored
	set(memoryArg, 0x5c, 0x5d)                         // loads into a zeroed vector
	for _, op := range []int{0xe3, 0xe7, 0xef, 0xf3} { // f32x4 and f64x2: sqrt, div
		t[op].weight = heavy
	}
	for _, op := range []int{
		0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee,
	} {
		t[op] = instruction{} // not assigned
	}
	return t
}()

// effects holds each opcode's change of the stack height, if that is constant.
var effects = func() (t [256]int8) {
	set := func(effect int8, from, to int) {
		for op := from; op <= to; op++ {
			t[op] = effect
		}
	}
	set(-1, 0x1a, 0x1a) // drop
	set(-2, 0x1b, 0x1c) // select
	set(1, 0x20, 0x20)  // local.get
	set(-1, 0x21, 0x21) // local.set
	set(1, 0x23, 0x23)  // global.get
	set(-1, 0x24, 0x24) // global.set
	set(-2, 0x26, 0x26) // table.set
	set(-2, 0x36, 0x3e) // stores
	set(1, 0x3f, 0x3f)  // memory.size
	set(1, 0x41, 0x44)  // constants
	set(-1, 0x46, 0x4f) // i32 comparisons
	set(-1, 0x51, 0x66) // the other comparisons
	set(-1, 0x6a, 0x78) // i32 arithmetic
	set(-1, 0x7c, 0x8a) // i64 arithmetic
	set(-1, 0x92, 0x98) // f32 arithmetic
	set(-1, 0xa0, 0xa6) // f64 arithmetic
	set(1, 0xd0, 0xd0)  // ref.null
	set(1, 0xd2, 0xd2)  // ref.func
	set(-1, 0x0d, 0x0e) // br_if, br_table
	set(-1, 0x11, 0x11) // call_indirect, without its type
	set(-1, 0x13, 0x15) // the other calls by reference
	set(-1, opBrOnNonNull, opBrOnNonNull)
	return t
}()

// vectorEffects is the same, indexed by the second byte after opVector.
var vectorEffects = func() (t [256]int8) {
	for op := range t {
		t[op] = -1 // most have two operands
	}
	set := func(effect int8, ops ...int) {
		for _, op := range ops {
			t[op] = effect
		}
	}
	for op := range 0x0b {
		t[op] = 0 // loads
	}
	set(-2, 0x0b, 0x52, 0x58, 0x59, 0x5a, 0x5b) // v128.store, bitselect, lanes stored
	set(1, vectorConst)
	set(0, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x18, 0x19, 0x1b, 0x1d, 0x1f, 0x21, // splats, lanes extracted
		0x4d, 0x53, 0x5c, 0x5d, 0x5e, 0x5f, 0x60, 0x61, 0x62, 0x63, 0x64, 0x67, 0x68, 0x69, 0x6a, 0x74, 0x75, 0x7a,
		0x7c, 0x7d, 0x7e, 0x7f, 0x80, 0x81, 0x83, 0x84, 0x87, 0x88, 0x89, 0x8a, 0x94, 0xa0, 0xa1, 0xa3, 0xa4,
		0xa7, 0xa8, 0xa9, 0xaa, 0xc0, 0xc1, 0xc3, 0xc4, 0xc7, 0xc8, 0xc9, 0xca, 0xe0, 0xe1, 0xe3, 0xec, 0xed, 0xef,
		0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff)
	return t
}()
