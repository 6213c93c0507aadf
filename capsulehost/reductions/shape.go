package reductions

import "math"

// shape collects the sums that determine the cost of compiling a function. Each
// sum is an upper bound for a part of the compiler whose work grows faster than
// the function; budget.go names the parts and the cost per unit. The sums include
// the counting code that the rewriting adds.
//
// The cost of a local or of a stack value depends on the distance between its
// definition and its use: the compiler lists the live values of each basic block,
// and searches for a local's value backwards, block by block. The distance is the
// difference of two running sums over the blocks.
type shape struct {
	here path

	instructions uint64 // estimated number of the compiler's SSA instructions
	depth        uint32 // depth of the current block in the dominator tree
	chain        uint32 // number of blocks since the last join
	bounds       uint32 // addresses known to be within the memory here
	stack        int    // values on the operand stack

	nesting uint32 // loops open here
	calls   uint64
	imports uint64 // calls of imported functions
	slots   uint64 // values that the frame may hold; each has its own slot

	// Maxima, for error messages and for the cost of nested loops.
	deepest uint32 // nested loops
	longest uint32 // depth
	widest  uint32 // edges to one block
	highest int    // stack height at the start of a block

	climbs     uint64 // Σ over edges: depth of their origin
	joins      uint64 // Σ over edges: earlier edges to the same block
	live       uint64 // Σ over locals: blocks in which they are live
	stacked    uint64 // Σ over blocks: stack height
	found      uint64 // Σ over locals: joins at which their value is searched
	aliases    uint64 // Σ over these and over uses: joins since the local was set
	steps      uint64 // Σ over these: blocks searched
	arguments  uint64 // Σ over edges: values they carry
	known      uint64 // Σ over blocks: bounds
	iterations uint64 // Σ over joins: (searched locals)² × edges × loop depth

	// For each join: its number of edges, and the change in the number of searched
	// locals from the join before. crossing has one more element than sources.
	sources  []uint32
	crossing []int32
	carried  []carried // for the open loops, the innermost last
	carries  uint64    // total number of entries ever in carried

	mutable uint32 // number of mutable globals of the module
	locals  []reach
	current uint32 // number of the current function: entries of locals with another number are stale
	reached uint32 // number of locals searched in a block other than their own
}

// path sums up the code before a position.
type path struct {
	blocks uint32 // basic blocks
	joins  uint32 // basic blocks with several predecessors
	steps  uint64 // cost of searching for one local through these joins
}

// reach is the position at which a local's value was last seen.
type reach struct {
	path
	function uint32
	setBlock uint32 // block in which it was set
	setJoin  uint32 // joins before that block
	loop     uint32 // start of the last loop that carries it
	crossed  bool
}

// carried is a local that a loop uses and that was set before the loop.
type carried struct {
	local, setBlock uint32
	around          uint32 // start of the outer loop that already carries it
}

// label describes an open block, as the target of branches.
type label struct {
	params, results uint32
	stack           int // stack height below its parameters
	start           path
	carried         int // for a loop: index of its first entry in shape.carried

	// Sums over the branches to it: for a loop, those back to its start.
	edges  uint32
	depth  uint32
	steps  uint64
	bounds uint32

	at struct{ depth, chain, bounds uint32 } // for an if: the state at its start
}

// begin starts a function. The entry of a function checks the counter.
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
	h.calls, h.imports = 0, 0 // finish adds the check's call, if the function has one
}

func (h *shape) push(n int) { h.stack = max(h.stack+n, 0) }

// block starts a basic block.
func (h *shape) block() {
	h.here.blocks++
	h.longest = max(h.longest, h.depth)
	h.highest = max(h.highest, h.stack)
	h.stacked += uint64(h.stack) //nolint:gosec // not negative
	h.known += uint64(h.bounds)
}

// next starts a basic block whose only predecessor is the current one.
func (h *shape) next() {
	h.climbs += uint64(h.depth)
	h.depth++
	h.chain++
	h.block()
}

// edge adds a branch to a label that carries the given number of values.
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

// join starts the block after a label's end.
func (h *shape) join(l *label) {
	if l.edges == 0 {
		return // unreachable
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

// call adds a call with the given number of values. Values on the stack are
// spilled to the frame.
func (h *shape) call(values int) {
	h.calls++
	h.slots += uint64(h.stack)           //nolint:gosec // not negative
	h.instructions += 3 + uint64(values) //nolint:gosec // not negative
}

// joined adds a block with several predecessors.
func (h *shape) joined(edges uint32) {
	h.here.joins++
	h.sources = append(h.sources, edges)
	h.crossing = append(h.crossing, 0)
}

// cross adds n locals that are searched at all joins from since to the current one.
func (h *shape) cross(since uint32, n int32) {
	h.crossing[since] += n
	h.crossing[h.here.joins] -= n
}

// check adds a check of the counter: a call within an if.
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

// open starts a block, an if or a loop. Its operands are still on the stack.
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
		// Add its header, and the header of the second loop that emitter.loop may put around it.
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

// other continues with the else of an if.
func (h *shape) other(l *label, reachable bool) {
	if reachable {
		h.edge(l, l.results)
	}
	h.depth, h.chain, h.bounds = l.at.depth, l.at.chain, l.at.bounds
	h.stack = l.stack + int(l.params)
	h.next()
}

// close ends a block; around is the label of the enclosing loop, or nil.
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
	if op == opIf { // without else: the compiler drops the known bounds
		h.depth, h.chain, h.bounds = l.at.depth, l.at.chain, 0
		h.next()
		h.edge(end, l.results)
	}
	h.stack = l.stack + int(l.results)
	h.join(end)
}

// loop ends a loop. A value from before the loop is live throughout it, and is
// searched once more from its end.
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

// carry records that a local was set in setBlock, before the loop that uses it.
func (h *shape) carry(local, setBlock uint32, loop *label) {
	if setBlock > loop.start.blocks {
		return
	}
	r := &h.locals[local]
	h.carried = append(h.carried, carried{local, setBlock, r.loop})
	h.carries++
	r.loop = loop.start.blocks
}

// branchIf adds a conditional branch to a label.
func (h *shape) branchIf(l *label, values uint32) {
	h.instructions += 2
	h.here.blocks++ // the edge is split by a block
	h.edge(l, values)
	h.next()
}

// get adds a read of a local; inside is the innermost loop's label, or nil.
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

// find adds a search for a local's value.
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

// set adds an assignment to a local.
func (h *shape) set(i uint32) {
	r := &h.locals[i]
	if r.function != h.current {
		*r = reach{function: h.current}
	}
	r.path, r.setBlock, r.setJoin = h.here, h.here.blocks, h.here.joins
	h.slots++
}

// memory adds a memory access.
func (h *shape) memory() {
	h.bounds++
	h.instructions += 9
}

// finish ends a function; looks reports whether its entry checks the counter. No
// local is searched more than once per block, which limits the sums.
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
		h.iterations += found * found * uint64(edges) * (uint64(h.deepest) + 1) // the innermost loop may become two
	}
	h.slots += h.found
}

// fill adds a memory.fill or table.fill, which the compiler inlines as a loop.
func (h *shape) fill() {
	h.instructions += 80
	h.next()
	h.next()
	h.chain = 0
	h.joined(2)
	h.climbs += uint64(h.depth)
	h.next()
}
