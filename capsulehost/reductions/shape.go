package reductions

import "math"

// shape measures a function for what it costs to compile. Each sum bounds from
// above the work of a part of the compiler that grows faster than the function:
// budget.go says which, and what a unit of it costs. The counting code that is put
// in is measured with the rest.
//
// A local's or a stack value's cost is how far it reaches: the compiler keeps a
// list of the values that are alive in each basic block, and looks for a local's
// value backwards, block by block. So sums over the blocks, as they are at one
// place, are subtracted from those at another.
type shape struct {
	here path

	instructions uint64 // of the compiler's own, roughly
	depth        uint32 // of the current block below the entry, in the tree of dominators
	chain        uint32 // how many blocks back the last one with several predecessors was
	bounds       uint32 // addresses that are known to be in memory here
	stack        int    // values on the operand stack

	nesting uint32 // of loops
	calls   uint64
	imports uint64 // calls of imported functions
	slots   uint64 // values that the frame may hold: each has a place of its own

	// The most of them, for messages and for what is nested.
	deepest uint32 // loops, one in another
	longest uint32 // depth
	widest  uint32 // edges that lead to one block
	highest int    // values on the stack where a block begins

	climbs     uint64 // Σ over edges: the depth of their origin
	joins      uint64 // Σ over edges: those that lead to the same block already
	live       uint64 // Σ over locals: blocks in which they are alive
	stacked    uint64 // Σ over blocks: values on the stack
	found      uint64 // Σ over locals: joins at which they are looked for
	aliases    uint64 // Σ over these and over uses: joins since the local was set
	steps      uint64 // Σ over these: blocks that are looked through
	arguments  uint64 // Σ over edges: values that they carry
	known      uint64 // Σ over blocks: bounds
	iterations uint64 // Σ over joins: locals looked for, squared, by edges, by how deep loops are nested

	// Of each join: the edges, and how many locals more are looked for at it than at
	// the one before. The latter has one more.
	sources  []uint32
	crossing []int32
	carried  []carried // of the open loops, the innermost last
	carries  uint64    // all that there were

	mutable uint32 // globals of the module
	locals  []reach
	current uint32 // function, for locals
	reached uint32 // locals that were looked for in another block
}

// path is what lies before a place, in the order of the code.
type path struct {
	blocks uint32 // basic blocks
	joins  uint32 // those with several predecessors
	steps  uint64 // from these back to the last join: to look for one local
}

// reach is where a local's value was last seen.
type reach struct {
	path
	function uint32
	setBlock uint32 // where it was set
	setJoin  uint32 // joins before that
	loop     uint32 // the last loop's start that has it as carried
	crossed  bool
}

// carried is a local whose value comes from before a loop in which it is used.
type carried struct {
	local, setBlock uint32
	around          uint32 // the start of a loop around that has it as carried already
}

// label is what is known of a block that is open, for its label.
type label struct {
	params, results uint32
	stack           int // below its parameters
	start           path
	carried         int // a loop's: where those begin that come from before it

	// Over the branches to it. A loop's are those back to its start.
	edges  uint32
	depth  uint32
	steps  uint64
	bounds uint32

	at struct{ depth, chain, bounds uint32 } // an if's: where it was
}

// begin begins a function. Its entry counts, and looks at the counter.
func (h *shape) begin(locals uint64, mutable uint32) {
	list, current := h.locals, h.current+1
	if uint64(len(list)) < locals {
		list = make([]reach, locals)
		current = 1
	}
	*h = shape{
		locals: list, current: current, mutable: mutable,
		sources: h.sources[:0], crossing: append(h.crossing[:0], 0), carried: h.carried[:0],
	}
	h.here.blocks = 1
	h.check()
	h.calls, h.imports = 0, 0 // if that is there, is known at the end
}

func (h *shape) push(n int) { h.stack = max(h.stack+n, 0) }

// block begins a basic block.
func (h *shape) block() {
	h.here.blocks++
	h.longest = max(h.longest, h.depth)
	h.highest = max(h.highest, h.stack)
	h.stacked += uint64(h.stack) //nolint:gosec // not negative
	h.known += uint64(h.bounds)
}

// next begins a basic block that only the current one leads to.
func (h *shape) next() {
	h.climbs += uint64(h.depth)
	h.depth++
	h.chain++
	h.block()
}

// edge is a branch to a label, which carries so many values.
func (h *shape) edge(l *label, values uint32) {
	h.climbs += uint64(h.depth)
	h.joins += uint64(l.edges)
	h.arguments += uint64(values)
	if l.edges == 0 {
		l.depth, l.bounds = h.depth, h.bounds
	}
	l.edges++
	h.widest = max(h.widest, l.edges)
	l.depth, l.bounds = min(l.depth, h.depth), min(l.bounds, h.bounds)
	l.steps += uint64(h.chain) + 1
}

// join begins the block behind a label's end.
func (h *shape) join(l *label) {
	if l.edges == 0 {
		return // it can't be reached
	}
	h.depth, h.bounds = l.depth+1, l.bounds
	if l.edges > 1 {
		h.joined(l.edges)
		h.here.steps += 2 * l.steps
		h.chain = 0
	} else {
		h.chain = uint32(min(l.steps, math.MaxUint32))
	}
	h.block()
}

// call is a call with so many values. What is on the stack then is in the frame.
func (h *shape) call(values int) {
	h.calls++
	h.slots += uint64(h.stack)           //nolint:gosec // not negative
	h.instructions += 3 + uint64(values) //nolint:gosec // not negative
}

// joined counts a block with several predecessors.
func (h *shape) joined(edges uint32) {
	h.here.joins++
	h.sources = append(h.sources, edges)
	h.crossing = append(h.crossing, 0)
}

// cross notes that so many locals are looked for at all joins since.
func (h *shape) cross(since uint32, n int32) {
	h.crossing[since] += n
	h.crossing[h.here.joins] -= n
}

// check is a look at the counter: a call in an if of its own.
func (h *shape) check() {
	h.call(10)
	h.imports++
	l := label{}
	h.next()
	h.edge(&l, 0)
	h.depth--
	h.chain--
	h.next()
	h.edge(&l, 0)
	h.join(&l)
	h.bounds = 0
}

// open begins a block, an if or a loop; its operands are on the stack still.
func (h *shape) open(op byte, params, results uint32) label {
	switch op {
	case opIf:
		h.push(-1)
	case opLoop:
		h.nesting++
		h.deepest = max(h.deepest, h.nesting)
	}
	l := label{params: params, results: results, stack: max(h.stack-int(params), 0), start: h.here, carried: len(h.carried)}
	l.at.depth, l.at.chain, l.at.bounds = h.depth, h.chain, h.bounds
	switch op {
	case opIf:
		h.next()
		h.instructions += 2
	case opLoop:
		// Its header, and that of a second loop around it.
		for range 2 {
			h.arguments += uint64(params)
			h.next()
			h.chain = 0
			h.joined(2)
		}
		h.check()
		h.instructions += 10
	}
	return l
}

// other goes on with an if's else.
func (h *shape) other(l *label, reachable bool) {
	if reachable {
		h.edge(l, l.results)
	}
	h.depth, h.chain, h.bounds = l.at.depth, l.at.chain, l.at.bounds
	h.stack = l.stack + int(l.params)
	h.next()
}

// close ends a block; around is the label of the loop around it, or nil.
func (h *shape) close(op byte, l, around *label, reachable bool) {
	end := l
	if op == opLoop {
		h.nesting--
		h.loop(l, around)
		end = &label{}
	}
	if reachable {
		h.edge(end, l.results)
	}
	if op == opIf { // without else: the compiler forgets the bounds
		h.depth, h.chain, h.bounds = l.at.depth, l.at.chain, 0
		h.next()
		h.edge(end, l.results)
	}
	h.stack = l.stack + int(l.results)
	h.join(end)
}

// loop ends a loop: what comes from before it is alive all through it, and is
// looked for once more from its end.
func (h *shape) loop(l, around *label) {
	h.sources[l.start.joins] += l.edges
	h.here.steps += 2 * l.steps
	ended := h.carried[l.carried:]
	h.carried = h.carried[:l.carried]
	for _, c := range ended {
		h.find(c.local)
		h.locals[c.local].loop = c.around
		if around != nil && c.around != around.start.blocks {
			h.carry(c.local, c.setBlock, around)
		}
	}
}

// carry notes that a local's value, set there, comes from before a loop.
func (h *shape) carry(local, setBlock uint32, loop *label) {
	if setBlock > loop.start.blocks {
		return
	}
	r := &h.locals[local]
	h.carried = append(h.carried, carried{local, setBlock, r.loop})
	h.carries++
	r.loop = loop.start.blocks
}

// branchIf is a conditional branch to a label.
func (h *shape) branchIf(l *label, values uint32) {
	h.instructions += 2
	h.here.blocks++ // on the way there
	h.edge(l, values)
	h.next()
}

// get reads a local; inside is the innermost loop's label, or nil.
func (h *shape) get(i uint32, inside *label) {
	r := &h.locals[i]
	if r.function != h.current {
		*r = reach{function: h.current}
	}
	h.find(i)
	if inside != nil && r.loop != inside.start.blocks {
		h.carry(i, r.setBlock, inside)
	}
}

// find looks for a local's value.
func (h *shape) find(i uint32) {
	r := &h.locals[i]
	h.aliases += uint64(h.here.joins-r.joins+1) * uint64(h.here.joins-r.setJoin)
	if blocks := h.here.blocks - r.blocks; blocks > 0 {
		h.live += uint64(blocks)
		h.cross(r.joins, 1)
		h.steps += h.here.steps - r.steps + uint64(min(h.chain, blocks))
		if !r.crossed {
			r.crossed = true
			h.reached++
		}
	}
	r.path = h.here
}

// set gives a local a value.
func (h *shape) set(i uint32) {
	r := &h.locals[i]
	if r.function != h.current {
		*r = reach{function: h.current}
	}
	r.path, r.setBlock, r.setJoin = h.here, h.here.blocks, h.here.joins
	h.slots++
}

// memory is an access to memory.
func (h *shape) memory() {
	h.bounds++
	h.instructions += 9
}

// finish ends a function. No local is looked for twice in a block.
func (h *shape) finish(looks bool) {
	if looks {
		h.calls++
		h.imports++
	}
	n := uint64(h.reached)
	h.live = min(h.live, n*uint64(h.here.blocks))
	h.steps = min(h.steps, n*(h.here.steps+uint64(h.here.blocks)))
	crossing := int64(0)
	for i, edges := range h.sources {
		crossing += int64(h.crossing[i])
		found := min(uint64(crossing), n) //nolint:gosec // not negative
		h.found += found
		h.arguments += found * uint64(edges)
		h.iterations += found * found * uint64(edges) * (uint64(h.deepest) + 1) // the innermost loop is two
	}
	h.slots += h.found
}

// fill is memory.fill or table.fill: a loop in the code.
func (h *shape) fill() {
	h.instructions += 80
	h.next()
	h.next()
	h.chain = 0
	h.joined(2)
	h.climbs += uint64(h.depth)
	h.next()
}
