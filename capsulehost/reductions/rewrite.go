package reductions

import (
	"bytes"
	"fmt"
	"slices"
)

// Version changes whenever the same input may produce different output. Caches of
// results must include it in their key.
const Version = 2

// Names that a rewritten module imports and exports. Rewrite refuses a guest that
// imports from ImportModule or exports Counter itself.
const (
	ImportModule = "astrid:reductions"
	Tick         = "tick"
	Counter      = "astrid:reductions"
)

// Config limits the work of a single instruction. The zero value applies only the
// limits of WebAssembly.
type Config struct {
	// MemoryLimitPages is the runtime's limit for a memory, in pages of 64 KiB. A
	// memory.grow beyond it fails, and so costs nothing. 0 means 65,536.
	MemoryLimitPages uint32
	// TableLimit is the maximum number of elements in all tables together. Growing
	// beyond it fails in the same way as growing beyond a table's own maximum. A
	// module that starts with more is refused. 0 means only the runtime's limit.
	TableLimit uint32
	// Budget limits the cost of compiling the result. The zero value sets no limit.
	Budget Budget
}

// Rewrite returns a module that behaves like wasm and counts reductions, and an
// upper bound of the cost of compiling it. An error names the fault and its
// position in wasm; it is or wraps a *LimitError if the module exceeds a limit, and
// wraps ErrTruncated if wasm ends too early. Rewrite does not retain wasm.
func Rewrite(wasm []byte, cfg Config) ([]byte, Cost, error) {
	if cfg.MemoryLimitPages == 0 || cfg.MemoryLimitPages > maxMemoryPages {
		cfg.MemoryLimitPages = maxMemoryPages
	}
	m := module{cfg: cfg, size: len(wasm)}
	if err := m.split(wasm); err != nil {
		return nil, Cost{}, err
	}
	if err := m.rewrite(); err != nil {
		return nil, Cost{}, err
	}
	cost, err := m.cost()
	if err != nil {
		return nil, cost, err
	}
	return m.assemble(len(wasm)), cost, nil
}

const maxMemoryPages = 65536

// preamble is the magic number and version of a core module.
const preamble = "\x00asm\x01\x00\x00\x00"

// sectionID is a section's first byte.
type sectionID byte

const (
	customSection sectionID = iota
	typeSection
	importSection
	functionSection
	tableSection
	memorySection
	globalSection
	exportSection
	startSection
	elementSection
	codeSection
	dataSection
	dataCountSection
	tagSection
	sectionCount
)

func (id sectionID) String() string {
	return [sectionCount]string{
		"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code",
		"data", "data count", "tag",
	}[id]
}

// order is the required position of each section, which differs from its id.
var order = [sectionCount]int{
	typeSection: 1, importSection: 2, functionSection: 3, tableSection: 4, memorySection: 5, tagSection: 6,
	globalSection: 7, exportSection: 8, startSection: 9, elementSection: 10, dataCountSection: 11,
	codeSection: 12, dataSection: 13,
}

// section is one section of a module, without its id and length.
type section struct {
	id      sectionID
	content []byte
}

// module collects facts about the input, and the sections of the output.
type module struct {
	cfg      Config
	size     int // input size in bytes
	sections []section
	at       [sectionCount]int // index in sections plus 1; 0 if absent

	types             uint32   // types in the input; ours follow
	parameters        []uint32 // number of parameters of each type
	results           []uint32 // number of results of each type
	importedTypes     []uint32 // types of the imported functions
	functionTypes     []uint32 // types of the functions defined in the module
	importedFunctions uint32
	functions         uint32 // imported and defined; ours not included
	importedGlobals   uint32
	globals           uint32
	tables            uint32
	memories          uint32
	mutable           uint32 // number of mutable globals; ours not included
	volume            volume
	helpers           []helper // helper functions in use, in the order of their indices
}

// split finds the sections and checks their order.
func (m *module) split(wasm []byte) error {
	if !bytes.HasPrefix(wasm, []byte(preamble)) {
		return fmt.Errorf("not a WebAssembly module of version 1")
	}
	r := reader{b: wasm, pos: len(preamble)}
	last := 0
	for r.more() {
		at := r.pos
		id := sectionID(r.byte())
		content := r.name()
		switch {
		case r.err != nil:
			return fmt.Errorf("section at byte %d: %w", at, r.err)
		case id >= sectionCount:
			return fmt.Errorf("section at byte %d: %d is not the number of a section", at, id)
		case id != customSection && order[id] <= last:
			return fmt.Errorf("section at byte %d: the %s section is out of order", at, id)
		case id != customSection:
			last = order[id]
			m.at[id] = len(m.sections) + 1
		}
		m.sections = append(m.sections, section{id, content})
	}
	return nil
}

// content returns a section's content, or nil if the section is absent.
func (m *module) content(id sectionID) []byte {
	if m.at[id] == 0 {
		return nil
	}
	return m.sections[m.at[id]-1].content
}

// put replaces a section's content, or adds the section if it is absent.
func (m *module) put(id sectionID, content []byte) {
	if m.at[id] > 0 {
		m.sections[m.at[id]-1].content = content
		return
	}
	at := 0
	for i, s := range m.sections {
		if s.id != customSection && order[s.id] < order[id] {
			at = i + 1
		}
	}
	m.sections = append(m.sections[:at:at], append([]section{{id, content}}, m.sections[at:]...)...)
	for i, s := range m.sections {
		if s.id != customSection {
			m.at[s.id] = i + 1
		}
	}
}

// rewrite replaces the sections one by one. Sections that define indices come
// before sections that use them.
func (m *module) rewrite() error {
	for _, step := range []struct {
		id     sectionID
		always bool // run even if the input has no such section
		do     func(r *reader, out []byte) []byte
	}{
		{typeSection, true, m.rewriteTypes},
		{importSection, true, m.rewriteImports},
		{functionSection, false, m.countFunctions},
		{memorySection, false, m.countMemories},
		{globalSection, true, m.rewriteGlobals},
		{tableSection, false, m.rewriteTables},
		{tagSection, false, m.checkTags},
		{exportSection, true, m.rewriteExports},
		{startSection, false, m.rewriteStart},
		{elementSection, false, m.rewriteElements},
		{dataSection, false, m.rewriteData},
		{codeSection, false, m.rewriteCode},
		{functionSection, false, m.rewriteFunctions}, // the helpers are known only now
	} {
		if m.at[step.id] == 0 && !step.always {
			continue
		}
		r := reader{b: m.content(step.id)}
		if m.at[step.id] == 0 {
			r.b = []byte{0} // an empty vector
		}
		out := step.do(&r, make([]byte, 0, len(r.b)+len(r.b)/4+64))
		if r.err == nil && r.pos != len(r.b) {
			r.fail("%d bytes are left over", len(r.b)-r.pos)
		}
		if r.err != nil {
			return fmt.Errorf("%s section, byte %d: %w", step.id, r.pos, r.err)
		}
		m.put(step.id, out)
	}
	if m.at[codeSection] == 0 && m.functions > m.importedFunctions {
		return fmt.Errorf("%d functions have no code", m.functions-m.importedFunctions)
	}
	for i, s := range m.sections {
		if s.id == customSection {
			m.sections[i].content = m.rewriteNames(s.content)
		}
	}
	return nil
}

// assemble joins the sections into a module.
func (m *module) assemble(inputSize int) []byte {
	size := inputSize/64 + 256
	for _, s := range m.sections {
		size += len(s.content)
	}
	out := append(make([]byte, 0, size), preamble...)
	for _, s := range m.sections {
		out = append(out, byte(s.id))
		out = appendU32(out, uint32(len(s.content))) //nolint:gosec // a small multiple of the input size
		out = append(out, s.content...)
	}
	return out
}

// function returns a function's index in the output, where Tick follows the
// imported functions.
func (m *module) function(r *reader, index uint32) uint32 {
	switch {
	case index >= m.functions:
		r.fail("function %d of %d", index, m.functions)
		return 0
	case index < m.importedFunctions:
		return index
	default:
		return index + 1
	}
}

// functionType returns the type of one of the input's functions.
func (m *module) functionType(index uint32) uint32 {
	switch {
	case index >= m.functions: // the reader already holds an error
		return 0
	case index < m.importedFunctions:
		return m.importedTypes[index]
	default:
		return m.functionTypes[index-m.importedFunctions]
	}
}

// tick returns the index of the imported Tick; counter that of the counter global.
func (m *module) tick() uint32    { return m.importedFunctions }
func (m *module) counter() uint32 { return m.globals }

// helper returns the index of a helper function; helpers follow all other functions.
func (m *module) helper(h helper) uint32 {
	at := slices.Index(m.helpers, h)
	if at < 0 {
		at = len(m.helpers)
		m.helpers = append(m.helpers, h)
	}
	return m.functions + 1 + uint32(at) //nolint:gosec // few helpers
}
