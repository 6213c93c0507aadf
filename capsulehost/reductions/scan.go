package reductions

// StraightLine is how many instructions may run for nothing: a function entry
// or an iteration counts one reduction, and one more for each so many
// instructions behind it. What compiles to nothing is not an instruction here;
// a division or a call is four.
const StraightLine = 64

// unchecked is how many reductions straight-line code may count before the
// counter is looked at again.
const unchecked = 16

// kind is what is to be done at a place in a function's body.
type kind uint8

const (
	charge        kind = iota // before it: count one
	chargeCheck               // before it: count one, and look
	callBefore                // before it: call a helper, which takes and returns the size
	fillOrCopy                // count by its size, and call a helper where that is large
	loopStart                 // a loop's first instruction
	loopEnd                   // its `end`
	branch                    // a branch out of a loop, by one label
	branchTable               // the same, by several
	functionIndex             // a function's index alone
)

// event is one thing to do; events come in the order of their places.
type event struct {
	kind    kind
	at, end int // the instruction's, or the index's, place in the body

	// The helper to call; the branch's label; for branchTable, how many labels
	// stay inside the loop; the function's new index; for loopStart, whether the
	// loop calls nothing and has no loop inside.
	arg uint32
	// For loopEnd, branch and branchTable: the loop, as the index of its loopStart.
	loop int
}

// cost is what may have run at a place since something was counted, whatever
// the way there: the weight of instructions since the last reduction, and
// reductions since the counter was looked at. A negative weight is a place that
// can't be reached.
type cost struct{ weight, unchecked int }

var nowhere = cost{weight: -1}

func (c cost) or(d cost) cost {
	return cost{max(c.weight, d.weight), max(c.unchecked, d.unchecked)}
}

// frame is a block that is open.
type frame struct {
	op    byte
	loop  int  // the innermost loop around, itself included: its index in frames, or -1
	event int  // a loop's loopStart
	after cost // behind its end, by branches
	atIf  cost // where its `if` was
	label label
}

// scanner reads function bodies. It is used for one after the other.
type scanner struct {
	m      *module
	r      reader
	frames []frame
	events []event
	now    cost
	calls  bool   // the function calls something, or has a loop
	ranges bool   // it fills or copies memory
	locals uint64 // how many it has, parameters included
	shape  shape
}

// scan reads a body, without its locals, and notes what is to be done in it.
func (s *scanner) scan(typ uint32) {
	s.frames = append(s.frames[:0], frame{op: opBlock, loop: -1, after: nowhere, label: label{results: s.m.results[typ]}})
	s.shape.begin(s.locals, s.m.mutable)
	s.events, s.now, s.calls, s.ranges = s.events[:0], cost{}, false, false
	r := &s.r
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
		case op == opLocalGet || op == opDrop: // names for values
		case i.weight == heavy && i.form == plain:
			s.shape.instructions += 11
		default:
			s.shape.instructions++
		}
		if most := s.m.most(); s.shape.instructions > most {
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

// spend counts an instruction that is about to run.
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

// local follows a local's value.
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

// top is the innermost open block.
func (s *scanner) top() *frame { return &s.frames[len(s.frames)-1] }

// blockType reads how many parameters and results a block's type has.
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

// open begins a block.
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
		if h := &s.shape; h.carries > s.m.mostCarried() {
			s.r.fail("%w", tooMuch("%d locals in use in %d loops inside each other, over the limit of the time to compile that", h.reached, h.deepest))
		}
	}
	s.now = after
	s.frames = s.frames[:len(s.frames)-1]
}

// tryTable begins a block with handlers. What a handler's label may cost by way
// of an exception is not followed: it is taken to be all that there can be.
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
	s.callsInLoop() // its labels then stay as they are
	s.shape.instructions += 50
	s.open(0, opTryTable, params, results)
}

// target is the block that a label names, nil where there is none.
func (s *scanner) target(label uint32) *frame {
	if uint64(label) >= uint64(len(s.frames)) {
		s.r.fail("a branch to label %d of %d", label, len(s.frames))
		return nil
	}
	return &s.frames[len(s.frames)-1-int(label)]
}

// inLoop is how many labels there are inside the innermost loop, its own
// included; false where there is no loop.
func (s *scanner) inLoop() (labels uint32, inside bool) {
	loop := s.top().loop
	return uint32(len(s.frames) - loop), loop >= 0 //nolint:gosec // fewer than bytes in the module
}

// branch follows a branch.
func (s *scanner) branch(at int, label uint32) {
	if f := s.target(label); f != nil && s.now.weight >= 0 {
		s.shape.edge(&f.label, f.values())
	}
	s.follow(at, label)
}

// branchIf follows a branch that may not be taken.
func (s *scanner) branchIf(at int, label uint32) {
	if f := s.target(label); f != nil && s.now.weight >= 0 {
		s.shape.branchIf(&f.label, f.values())
	}
	s.follow(at, label)
}

// values is how many values a branch to a block takes along.
func (f *frame) values() uint32 {
	if f.op == opLoop {
		return f.label.params
	}
	return f.label.results
}

// follow notes a branch where it leaves a loop.
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
			h.next() // each has a block on the way
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

// loopEvent is the loopStart of the innermost loop.
func (s *scanner) loopEvent() int { return s.frames[s.top().loop].event }

// callsInLoop notes that the innermost loop calls something.
func (s *scanner) callsInLoop() {
	if s.top().loop >= 0 {
		s.events[s.loopEvent()].arg = 0
	}
}

// call notes a call; a tail call does not come back.
func (s *scanner) call(tail bool) {
	s.calls = true
	s.callsInLoop()
	if tail {
		s.now = nowhere
	}
}

// callType is a call's effect on the stack.
func (s *scanner) callType(typ uint32, weight int) {
	if s.r.err != nil {
		return
	}
	params, results := s.m.parameters[typ], s.m.results[typ]
	s.shape.push(int(results) - int(params))
	s.shape.call(weight + int(params) + int(results))
}

// function reads a function's index, and notes it where it changes.
func (s *scanner) function() (index uint32) {
	at := s.r.pos
	index = s.r.u32()
	if shifted := s.m.function(&s.r, index); shifted != index {
		s.events = append(s.events, event{kind: functionIndex, at: at, end: s.r.pos, arg: shifted})
	}
	return index
}

// help notes that a helper is called for the instruction that was read.
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

// memoryIndex reads the index of the memory: there is one at most.
func (s *scanner) memoryIndex() {
	if s.r.byte() != 0 {
		s.r.fail("a second memory")
	}
}
