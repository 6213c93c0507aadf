package reductions

// StraightLine is the number of straight-line instructions per reduction. A
// function entry or a loop iteration costs one reduction, plus one for each
// StraightLine instructions after it. Instructions that compile to no machine code
// do not count; a division or a call counts as four.
const StraightLine = 64

// unchecked is the number of reductions that straight-line code may charge between
// two checks of the counter.
const unchecked = 16

// kind is the change to make at a position in a function's body.
type kind uint8

const (
	charge        kind = iota // before it: charge one
	chargeCheck               // before it: charge one, and check the counter
	callBefore                // before it: call a helper, which takes and returns the size
	fillOrCopy                // charge by its size; call a helper if that is large
	loopStart                 // a loop's first instruction
	loopEnd                   // a loop's `end`
	branch                    // a branch with one label, out of a loop
	branchTable               // a branch with several labels, out of a loop
	functionIndex             // only a function's index
)

// event is one change; events are ordered by position.
type event struct {
	kind    kind
	at, end int // position of the instruction or index in the body

	// The helper to call; the branch's label; for branchTable, the number of labels
	// that stay inside the loop; the function's new index; for loopStart, 1 if the
	// loop contains no call and no other loop, else 0.
	arg uint32
	// For loopEnd, branch and branchTable: the index of the loop's loopStart event.
	loop int
}

// cost is the maximum that may have run since the last charge, over all paths to a
// position: the weight of instructions since the last reduction, and the reductions
// since the last check of the counter. A negative weight marks unreachable code.
type cost struct{ weight, unchecked int }

var nowhere = cost{weight: -1}

func (c cost) or(d cost) cost {
	return cost{max(c.weight, d.weight), max(c.unchecked, d.unchecked)}
}

// frame is an open block.
type frame struct {
	op    byte
	loop  int  // the innermost loop, possibly this block: its index in frames, or -1
	event int  // index of a loop's loopStart event
	after cost // cost after its end, over the branches there
	atIf  cost // cost at the start of an `if`
	label label
}

// scanner reads function bodies, one after the other.
type scanner struct {
	m      *module
	r      reader
	frames []frame
	events []event
	now    cost
	calls  bool   // the function contains a call or a loop
	ranges bool   // the function contains memory.fill or memory.copy
	locals uint64 // number of locals, parameters included
	shape  shape
}

// scan reads a body, without its local declarations, and collects its events.
func (s *scanner) scan(typ uint32) {
	s.frames = append(s.frames[:0], frame{op: opBlock, loop: -1, after: nowhere, label: label{results: s.m.results[typ]}})
	s.shape.begin(s.locals, s.m.mutable)
	s.events, s.now, s.calls, s.ranges = s.events[:0], cost{}, false, false
	r := &s.r
	most := s.m.maxInstructions()
	for r.more() {
		if len(s.frames) == 0 {
			r.fail("code behind the end of the function")
			return
		}
		at := r.pos
		op := r.b[at]
		r.pos++
		i := instructions[op]
		s.spend(at, i.weight)
		s.shape.push(int(effects[op]))
		switch {
		case op == opLocalGet || op == opDrop: // these compile to no instruction
		case i.weight == heavy && i.form == plain:
			s.shape.instructions += 11
		case op >= 0x96 && op <= 0x98 || op >= 0xa4 && op <= 0xa6 || op >= 0xa8 && op <= 0xbf: // min, max, copysign, conversions
			s.shape.instructions += 9
		default:
			s.shape.instructions++
		}
		if s.shape.instructions > most {
			r.fail("%w", tooMuch("its instructions are over the limit of %d", most))
			return
		}
		switch i.form {
		case plain:
			if op == opUnreachable {
				s.now = nowhere
			}
		case index:
			r.u32()
		case local:
			i := r.u32()
			if uint64(i) >= s.locals {
				r.fail("local %d of %d", i, s.locals)
				return
			}
			s.local(op, i)
		case memoryArg:
			r.u32()
			r.u32()
			s.shape.memory()
		case number32:
			r.skipLEB(5)
		case number64:
			r.skipLEB(10)
		case bytes4:
			r.skip(4)
		case bytes8:
			r.skip(8)
		case special:
			s.special(at, op)
		case unknown:
			r.fail("unknown instruction 0x%02x", op)
		}
	}
	if r.err == nil && len(s.frames) > 0 {
		r.fail("%d blocks have no end", len(s.frames))
	}
	s.shape.finish(s.calls)
}

// spend charges for the next instruction.
func (s *scanner) spend(at int, weight uint8) {
	if s.now.weight < 0 {
		return
	}
	s.now.weight += int(weight)
	if s.now.weight < StraightLine || weight == 0 {
		return
	}
	s.now.weight = int(weight)
	s.now.unchecked++
	what := charge
	if s.now.unchecked == unchecked {
		what, s.now.unchecked = chargeCheck, 0
	}
	s.events = append(s.events, event{kind: what, at: at, end: at})
	if s.shape.instructions += 4; what == chargeCheck {
		s.shape.check()
	}
}

// local passes a local's access to the shape.
func (s *scanner) local(op byte, i uint32) {
	switch {
	case op != opLocalGet:
		s.shape.set(i)
	case s.top().loop >= 0:
		s.shape.get(i, &s.frames[s.top().loop].label)
	default:
		s.shape.get(i, nil)
	}
}

func (s *scanner) special(at int, op byte) {
	r := &s.r
	switch op {
	case opBlock, opIf, opLoop:
		params, results := s.blockType()
		s.open(at, op, params, results)
	case opTryTable:
		s.tryTable()
	case opElse:
		f := s.top()
		if f.op != opIf {
			r.fail("else without if")
			return
		}
		s.shape.other(&f.label, s.now.weight >= 0)
		f.op, f.after, s.now = opElse, f.after.or(s.now), f.atIf
	case opEnd:
		s.close(at)
	case opBr:
		s.branch(at, r.u32())
		s.now = nowhere
	case opBrIf, opBrOnNull, opBrOnNonNull:
		s.branchIf(at, r.u32())
	case opBrTable:
		s.branchTable(at)
	case opReturn:
		s.now = nowhere
	case opThrow:
		r.u32()
		s.now = nowhere
	case opThrowRef:
		s.now = nowhere
	case opCall, opReturnCall:
		index := s.function()
		if index < s.m.importedFunctions {
			s.shape.imports++
		}
		s.callType(s.m.functionType(index), 1)
		s.call(op == opReturnCall)
	case opCallIndirect, opReturnCallIndirect:
		s.callType(s.m.typeIndex(r), 22)
		r.u32() // table
		s.call(op == opReturnCallIndirect)
	case opCallRef, opReturnCallRef:
		s.callType(s.m.typeIndex(r), 18)
		s.call(op == opReturnCallRef)
	case opRefFunc:
		s.function()
	case opRefNull:
		s.m.heapType(r)
	case opSelectTyped:
		if n := r.byte(); n != 1 {
			r.fail("select with %d types", n)
		}
		s.m.checkedType(r)
	case opGlobalGet, opGlobalSet:
		s.m.checkGlobal(r, r.u32())
	case opMemorySize:
		s.memoryIndex()
	case opMemoryGrow:
		s.memoryIndex()
		s.help(callBefore, at, memoryGrowCost)
	case opMisc:
		s.misc(at)
	case opVector:
		s.vector(at)
	case opAtomic:
		s.atomic(at)
	}
}

// top returns the innermost open block.
func (s *scanner) top() *frame { return &s.frames[len(s.frames)-1] }

// blockType reads a block type, and returns its numbers of parameters and results.
func (s *scanner) blockType() (params, results uint32) {
	t := s.r.s33()
	if t == refNullable-0x80 || t == refNonNullable-0x80 {
		if t = s.r.s33(); t < int64(s.m.types) {
			return 0, 1
		}
	}
	switch {
	case t >= int64(s.m.types):
		s.r.fail("type %d of %d", t, s.m.types)
		return 0, 0
	case t >= 0:
		return s.m.parameters[t], s.m.results[t]
	case t == emptyBlock-0x80:
		return 0, 0
	default:
		return 0, 1
	}
}

// open starts a block.
func (s *scanner) open(at int, op byte, params, results uint32) {
	f := frame{op: op, loop: s.top().loop, after: nowhere, atIf: s.now}
	f.label = s.shape.open(op, params, results)
	if len(s.frames) >= maxDepth {
		s.r.fail("%w", tooMuch("blocks %d deep inside each other, over the limit of %d", len(s.frames)+1, maxDepth))
		return
	}
	if op == opLoop {
		s.callsInLoop()
		s.calls = true
		f.loop, f.event = len(s.frames), len(s.events)
		s.events = append(s.events, event{kind: loopStart, at: at, end: s.r.pos, arg: 1})
		s.now = cost{}
	}
	s.frames = append(s.frames, f)
}

// close ends a block.
func (s *scanner) close(at int) {
	f := s.top()
	after := s.now.or(f.after)
	if f.op == opIf { // without else
		after = after.or(f.atIf)
	}
	if f.op == opLoop {
		s.events = append(s.events, event{kind: loopEnd, at: at, end: s.r.pos, loop: f.event})
	}
	if n := len(s.frames) - 2; n >= 0 {
		var around *label
		if loop := s.frames[n].loop; loop >= 0 {
			around = &s.frames[loop].label
		}
		s.shape.close(f.op, &f.label, around, s.now.weight >= 0)
		if h := &s.shape; h.carries > s.m.maxCarried() {
			s.r.fail("%w", tooMuch("%d locals in use in %d loops inside each other, over the limit of the time to compile that", h.reached, h.deepest))
		}
	}
	s.now = after
	s.frames = s.frames[:len(s.frames)-1]
}

// tryTable starts a block with handlers. An exception may reach a handler from any
// instruction inside, so the handler's label is given the maximum cost.
func (s *scanner) tryTable() {
	r := &s.r
	params, results := s.blockType()
	for range r.count() {
		switch kind := r.byte(); kind {
		case 0, 1: // catch, catch_ref
			r.u32() // tag
		case 2, 3: // catch_all, catch_all_ref
		default:
			r.fail("catch of the unknown kind %d", kind)
		}
		if f := s.target(r.u32()); f != nil {
			f.after = f.after.or(cost{StraightLine - 1, unchecked - 1})
			s.shape.branchIf(&f.label, f.values())
		}
	}
	s.callsInLoop() // so the loop is not doubled, and the handlers' labels stay valid
	s.shape.instructions += 50
	s.open(0, opTryTable, params, results)
}

// target returns the block that a label refers to, or nil if there is none.
func (s *scanner) target(label uint32) *frame {
	if uint64(label) >= uint64(len(s.frames)) {
		s.r.fail("a branch to label %d of %d", label, len(s.frames))
		return nil
	}
	return &s.frames[len(s.frames)-1-int(label)]
}

// inLoop returns the number of labels up to and including the innermost loop's;
// inside is false outside of loops.
func (s *scanner) inLoop() (labels uint32, inside bool) {
	loop := s.top().loop
	return uint32(len(s.frames) - loop), loop >= 0 //nolint:gosec // fewer than the module's bytes
}

// branch follows an unconditional branch.
func (s *scanner) branch(at int, label uint32) {
	if f := s.target(label); f != nil && s.now.weight >= 0 {
		s.shape.edge(&f.label, f.values())
	}
	s.follow(at, label)
}

// branchIf follows a conditional branch.
func (s *scanner) branchIf(at int, label uint32) {
	if f := s.target(label); f != nil && s.now.weight >= 0 {
		s.shape.branchIf(&f.label, f.values())
	}
	s.follow(at, label)
}

// values returns the number of values that a branch to the block carries.
func (f *frame) values() uint32 {
	if f.op == opLoop {
		return f.label.params
	}
	return f.label.results
}

// follow adds an event if a branch leaves a loop.
func (s *scanner) follow(at int, label uint32) {
	f := s.target(label)
	if f == nil {
		return
	}
	f.after = f.after.or(s.now)
	if labels, inside := s.inLoop(); inside && label >= labels {
		s.events = append(s.events, event{kind: branch, at: at, end: s.r.pos, arg: label, loop: s.loopEvent()})
	}
}

func (s *scanner) branchTable(at int) {
	r := &s.r
	labels, inside := s.inLoop()
	leaves := false
	for range uint64(r.count()) + 1 {
		label := r.u32()
		f := s.target(label)
		if f == nil {
			return
		}
		f.after = f.after.or(s.now)
		if s.now.weight >= 0 {
			h := &s.shape
			depth, chain, bounds := h.depth, h.chain, h.bounds
			h.bounds = 0
			h.next() // the compiler gives each edge its own block
			h.instructions += 4
			h.edge(&f.label, f.values())
			h.depth, h.chain, h.bounds = depth, chain, bounds
		}
		leaves = leaves || (inside && label >= labels)
	}
	if leaves {
		s.events = append(s.events, event{kind: branchTable, at: at, end: r.pos, arg: labels, loop: s.loopEvent()})
	}
	s.now = nowhere
}

// loopEvent returns the index of the innermost loop's loopStart event.
func (s *scanner) loopEvent() int { return s.frames[s.top().loop].event }

// callsInLoop marks the innermost loop as containing a call.
func (s *scanner) callsInLoop() {
	if s.top().loop >= 0 {
		s.events[s.loopEvent()].arg = 0
	}
}

// call records a call; the code after a tail call is unreachable.
func (s *scanner) call(tail bool) {
	s.calls = true
	s.callsInLoop()
	if tail {
		s.now = nowhere
	}
}

// callType applies a call's type to the stack.
func (s *scanner) callType(typ uint32, weight int) {
	if s.r.err != nil {
		return
	}
	params, results := s.m.parameters[typ], s.m.results[typ]
	s.shape.push(int(results) - int(params))
	s.shape.call(weight + int(params) + int(results))
}

// function reads a function's index, and adds an event if the index shifts.
func (s *scanner) function() (index uint32) {
	at := s.r.pos
	index = s.r.u32()
	if shifted := s.m.function(&s.r, index); shifted != index {
		s.events = append(s.events, event{kind: functionIndex, at: at, end: s.r.pos, arg: shifted})
	}
	return index
}

// help adds an event for the instruction at position at, which calls a helper.
func (s *scanner) help(what kind, at int, h helper) {
	if h.needsMemory() && s.m.memories == 0 {
		s.r.fail("a memory instruction without a memory")
		return
	}
	s.call(false)
	s.shape.call(2)
	if what == fillOrCopy {
		s.ranges = true
		s.shape.check()
	}
	s.events = append(s.events, event{kind: what, at: at, end: s.r.pos, arg: s.m.helper(h)})
}

// memoryIndex reads a memory's index, which must be 0.
func (s *scanner) memoryIndex() {
	if s.r.byte() != 0 {
		s.r.fail("a second memory")
	}
}
