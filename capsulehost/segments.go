package capsulehost

import (
	"fmt"
)

// misplacedSegment describes the first active element or data segment that is outside of
// its table or memory; it returns "" if there is none. Such a module must trap when it is
// instantiated, but wazero skips an invalid element segment and all segments after it.
// Only functions can be imported, so the module alone determines all sizes and offsets.
// wasm must be a module that has compiled.
func misplacedSegment(wasm []byte) string {
	const tableSection, memorySection, globalSection, elementSection, dataSection = 4, 5, 6, 9, 11
	var tables []uint64
	var memory uint64
	var globals constantValues
	for c := cursor(wasm[8:]); len(c) > 0; {
		id, section := c.byte(), c.take()
		switch id {
		case tableSection:
			for range section.number() {
				tables = append(tables, section.table(globals))
			}
		case memorySection:
			for range section.number() {
				memory = section.limits() << 16
			}
		case globalSection:
			for range section.number() {
				section.valueType()
				section.byte() // mutability
				globals = append(globals, section.constant(globals))
			}
		case elementSection:
			for n := range section.number() {
				if table, at, size, active := section.elements(globals); active && int(table) < len(tables) && at+size > tables[table] { //nolint:gosec // an index
					return fmt.Sprintf("element segment %d puts %d elements at %d into table %d, which begins with %d", n, size, at, table, tables[table])
				}
			}
		case dataSection:
			for n := range section.number() {
				if at, size, active := section.data(globals); active && at+size > memory {
					return fmt.Sprintf("data segment %d puts %d bytes at %d into the memory, which begins with %d", n, size, at, memory)
				}
			}
		}
	}
	return ""
}

// constantValues holds the initial values of a module's globals; 0 if not an integer.
type constantValues []uint64

// limits reads the limits of a table or a memory, and returns the initial size.
func (c *cursor) limits() uint64 {
	flags := c.byte()
	least := c.number()
	if flags&1 != 0 {
		c.number()
	}
	return least
}

func (c *cursor) table(globals constantValues) uint64 {
	const withValue = 0x40
	filled := (*c)[0] == withValue
	if filled {
		*c = (*c)[2:]
	}
	c.valueType()
	least := c.limits()
	if filled {
		c.constant(globals)
	}
	return least
}

// valueType skips a value type.
func (c *cursor) valueType() {
	const nullable, notNullable = 0x63, 0x64
	if t := c.byte(); t == nullable || t == notNullable {
		c.signed()
	}
}

// elements reads a segment. The bits of its flags are: 1 = not active; 2 = has a table
// index (active) or is declarative (not active); 4 = the elements are expressions.
func (c *cursor) elements(globals constantValues) (table, at, size uint64, active bool) {
	flags := c.number()
	if active = flags&1 == 0; active {
		if flags&2 != 0 {
			table = c.number()
		}
		at = uint64(uint32(c.constant(globals))) //nolint:gosec // an i32
	}
	expressions := flags&4 != 0
	switch {
	case flags&3 == 0: // has neither kind nor type
	case expressions:
		c.valueType()
	default:
		c.byte() // kind
	}
	size = c.number()
	for range size {
		if expressions {
			c.constant(globals)
		} else {
			c.number()
		}
	}
	return table, at, size, active
}

func (c *cursor) data(globals constantValues) (at, size uint64, active bool) {
	flags := c.number()
	if active = flags != 1; active {
		if flags == 2 {
			c.number() // memory
		}
		at = uint64(uint32(c.constant(globals))) //nolint:gosec // an i32
	}
	return at, uint64(len(c.take())), active
}

// constant reads a constant expression and returns its value, an i32 in the low half. It
// returns 0 if the value is not an integer.
func (c *cursor) constant(globals constantValues) uint64 {
	var stack []uint64
	for {
		op := c.byte()
		switch op {
		case 0x0b: // end
			return stack[len(stack)-1]
		case 0x23: // global.get
			stack = append(stack, globals[c.number()])
		case 0x41, 0x42: // i32.const, i64.const
			stack = append(stack, uint64(c.signed())) //nolint:gosec // two's complement
		case 0x43: // f32.const
			*c = (*c)[4:]
			stack = append(stack, 0)
		case 0x44: // f64.const
			*c = (*c)[8:]
			stack = append(stack, 0)
		case 0xd0: // ref.null
			c.signed()
			stack = append(stack, 0)
		case 0xd2: // ref.func
			c.number()
			stack = append(stack, 0)
		case 0xfd: // v128.const
			*c = (*c)[17:]
			stack = append(stack, 0)
		default: // arithmetic on two values
			a, b := stack[len(stack)-2], stack[len(stack)-1]
			switch op {
			case 0x6a, 0x7c:
				a += b
			case 0x6b, 0x7d:
				a -= b
			case 0x6c, 0x7e:
				a *= b
			}
			stack = append(stack[:len(stack)-2], a)
		}
	}
}

// signed reads a signed LEB128.
func (c *cursor) signed() int64 {
	var v int64
	for shift := 0; ; shift += 7 {
		b := c.byte()
		v |= int64(b&0x7f) << shift
		if b < 0x80 {
			if shift += 7; shift < 64 && b&0x40 != 0 {
				v |= -1 << shift
			}
			return v
		}
	}
}
