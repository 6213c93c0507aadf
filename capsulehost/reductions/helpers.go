package reductions

import "math"

// Costs of operations on ranges, and the size of the pieces of large ones.
const (
	// BytesPerReduction is the number of bytes of a memory range that one reduction
	// pays for: about as many as are written in the time of one loop iteration.
	BytesPerReduction = 1 << bytesShift
	// ElementsPerReduction is the number of table elements that one reduction pays for.
	ElementsPerReduction = 1 << elementsShift
	// PieceSize is the maximum number of bytes that memory.fill and memory.copy
	// process between two checks of the counter.
	PieceSize = 64 << 10

	// smallSize is the maximum number of bytes that memory.fill and memory.copy
	// write inline: charged, but without a check of the counter.
	smallSize = 4 << 10

	bytesShift    = 6
	elementsShift = 3
)

// helper identifies a function that the rewriting adds. A module receives only
// those that it uses.
type helper uint32

const (
	bytesCost      helper = iota // (size) -> size: charges for bytes
	elementsCost                 // (size) -> size: charges for elements
	tableGrowCost                // (elements) -> elements: charges if the tables may grow by that many; else -> -1, by which no table can grow
	memoryGrowCost               // (pages) -> pages: charges if the memory may grow by that many
	memoryFill                   // (to, value, size): charges, and fills in pieces
	memoryCopy                   // (to, from, size): charges, and copies in pieces
	helperCount
)

func (h helper) needsMemory() bool { return h >= memoryGrowCost }

// ourFunctions holds each helper's name and type.
var ourFunctions = [helperCount]struct {
	name string
	typ  uint32
}{
	bytesCost:      {"reductions.bytes", chargeType},
	elementsCost:   {"reductions.elements", chargeType},
	tableGrowCost:  {"reductions.table.grow", chargeType},
	memoryGrowCost: {"reductions.memory.grow", chargeType},
	memoryFill:     {"reductions.memory.fill", rangeType},
	memoryCopy:     {"reductions.memory.copy", rangeType},
}

// Further opcodes, used only by the helpers.
const (
	opLocalGet = 0x20
	opLocalSet = 0x21
	opLocalTee = 0x22
	opI32LtU   = 0x49
	opI32GtU   = 0x4b
	opI32LeU   = 0x4d
	opI64GtU   = 0x56
	opI32ShrU  = 0x76
	opI64Shl   = 0x86
	opI64ShrU  = 0x88
	opI64Ext   = 0xad // i64.extend_i32_u
	opI32Or    = 0x72
)

// helper returns the body of a helper function.
func (e *emitter) helper(h helper) []byte {
	c := &code{e: e, out: []byte{0}} // no locals
	switch h {
	case bytesCost:
		c.countSize(0, bytesShift).get(0)
	case elementsCost:
		c.countSize(0, elementsShift).get(0)
	case tableGrowCost:
		c.tableGrowCost()
	case memoryGrowCost:
		c.memoryGrowCost()
	case memoryFill:
		c.inPieces([]byte{opMisc, miscMemoryFill, 0})
	case memoryCopy:
		c.inPieces([]byte{opMisc, miscMemoryCopy, 0, 0})
	default:
	}
	return append(c.out, opEnd)
}

// code builds the body of a function.
type code struct {
	e   *emitter
	out []byte
}

func (c *code) put(code ...byte) *code {
	c.out = append(c.out, code...)
	return c
}

func (c *code) get(local byte) *code { return c.put(opLocalGet, local) }
func (c *code) set(local byte)       { c.put(opLocalSet, local) }

func (c *code) i32(v int32) *code {
	c.out = appendS64(append(c.out, opI32Const), int64(v))
	return c
}

func (c *code) i64(v int64) *code {
	c.out = appendS64(append(c.out, opI64Const), v)
	return c
}

// fillOrCopy emits a memory.fill or memory.copy in a guest's function. Most ranges
// are small and are written inline; for others it calls the helper large. local is
// a spare local that the guest does not use.
func (c *code) fillOrCopy(operation []byte, local, large uint32) {
	get := func(c *code) *code {
		c.out = appendU32(append(c.out, opLocalGet), local)
		return c
	}
	c.out = appendU32(append(c.out, opLocalTee), local)
	get(c).i32(smallSize).put(opI32GtU, opIf)
	c.out = appendS64(c.out, int64(c.e.m.types+rangeType)) // its parameters are the operands
	c.out = appendU32(append(c.out, opCall), large)
	c.put(opElse).put(c.e.countBy(get(&code{}).put(opI64Ext).i64(bytesShift).put(opI64ShrU).out)...)
	c.put(operation...).put(opEnd)
}

// countSize charges one reduction for each 1<<shift in the local, and checks the counter.
func (c *code) countSize(local byte, shift int64) *code {
	size := (&code{}).get(local).put(opI64Ext).i64(shift).put(opI64ShrU)
	return c.put(c.e.countBy(size.out)...).put(c.e.check...)
}

// memoryGrowCost charges for the new pages, unless the limit forbids them.
func (c *code) memoryGrowCost() {
	const pageShift = 16
	c.get(0)
	c.i32(int32(c.e.m.cfg.MemoryLimitPages)).put(opMemorySize, 0, opI32Sub) //nolint:gosec // at most 65,536
	c.put(opI32LeU, opIf, emptyBlock)
	pages := (&code{}).get(0).put(opI64Ext).i64(pageShift - bytesShift).put(opI64Shl)
	c.put(c.e.countBy(pages.out)...).put(c.e.check...)
	c.put(opEnd)
	c.get(0)
}

// tableGrowCost charges for the new elements if all tables together stay within
// the limit. It adds up the actual table sizes, so no refund is needed if a
// table's own maximum prevents the growth.
func (c *code) tableGrowCost() {
	limit := int64(c.e.m.cfg.TableLimit)
	if limit == 0 {
		limit = math.MaxUint32
	}
	c.get(0).put(opI64Ext)
	for i := range c.e.m.tables {
		c.out = appendU32(append(c.out, opMisc, miscTableSize), i)
		c.put(opI64Ext, opI64Add)
	}
	c.i64(limit).put(opI64GtU, opIf, emptyBlock).i32(-1).put(opReturn, opEnd)
	c.countSize(0, elementsShift).get(0)
}

// inPieces emits a memory.fill or memory.copy that works piece by piece if the
// range is large. It checks the bounds of the whole range first, so an invalid
// range traps before anything is written, with the instruction's own trap.
func (c *code) inPieces(operation []byte) {
	const to, from, size = 0, 1, 2 // for memory.fill, from is the value to fill with
	copies := operation[1] == miscMemoryCopy
	all := func() { c.get(to).get(from).get(size).put(operation...) }
	advance := func(local byte) { c.get(local).i32(PieceSize).put(opI32Add).set(local) }
	outside := func(local byte) { // local + size > memory
		c.get(local).put(opI64Ext).get(size).put(opI64Ext, opI64Add)
		c.put(opMemorySize, 0, opI64Ext).i64(16).put(opI64Shl, opI64GtU)
	}
	piece := c.e.countBy((&code{}).i64(PieceSize >> bytesShift).out)

	c.get(size).i32(PieceSize).put(opI32GtU, opIf, emptyBlock)
	outside(to)
	if copies {
		outside(from)
		c.put(opI32Or)
	}
	c.put(opIf, emptyBlock)
	all() // this traps
	c.put(opEnd)
	if copies { // overlapping and moving upwards: start with the last piece
		c.get(from).get(to).put(opI32LtU, opIf, emptyBlock, opLoop, emptyBlock)
		c.put(piece...).put(c.e.check...)
		c.get(size).i32(PieceSize).put(opI32Sub).set(size)
		c.get(to).get(size).put(opI32Add).get(from).get(size).put(opI32Add).i32(PieceSize).put(operation...)
		c.get(size).i32(PieceSize).put(opI32GtU, opBrIf, 0, opEnd, opEnd)
	}
	// Process the rest forwards. After an upward copy, only the first piece remains.
	c.get(size).i32(PieceSize).put(opI32GtU, opIf, emptyBlock, opLoop, emptyBlock)
	c.put(piece...).put(c.e.check...)
	c.get(to).get(from).i32(PieceSize).put(operation...)
	advance(to)
	if copies {
		advance(from)
	}
	c.get(size).i32(PieceSize).put(opI32Sub).set(size)
	c.get(size).i32(PieceSize).put(opI32GtU, opBrIf, 0, opEnd, opEnd)
	c.put(opEnd)
	c.countSize(size, bytesShift)
	all()
}
