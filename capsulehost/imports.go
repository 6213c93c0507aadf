package capsulehost

import "encoding/binary"

// otherImport finds a module's first import that is not a function: a table, a memory,
// a global or a tag. The host offers none to capsules, and the kernel's own globals must
// not be accessible. wasm must be a module that has compiled.
func otherImport(wasm []byte) (kind, module, name string, found bool) {
	const importSection, function = 2, 0
	kinds := [...]string{1: "table", 2: "memory", 3: "global", 4: "tag"}
	for c := cursor(wasm[8:]); len(c) > 0; {
		id, section := c.byte(), c.take()
		if id != importSection {
			continue
		}
		for range section.number() {
			module, name = string(section.take()), string(section.take())
			if k := section.byte(); k != function {
				return kinds[k], module, name, true
			}
			section.number() // the function's type
		}
	}
	return "", "", "", false
}

// cursor reads a valid module in its binary format. It panics on an invalid one.
type cursor []byte

func (c *cursor) byte() byte {
	b := (*c)[0]
	*c = (*c)[1:]
	return b
}

func (c *cursor) number() uint64 {
	n, size := binary.Uvarint(*c)
	*c = (*c)[size:]
	return n
}

// take reads a length and that many bytes.
func (c *cursor) take() cursor {
	n := c.number()
	b := (*c)[:n]
	*c = (*c)[n:]
	return b
}
