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
}

// scan reads a body, without its locals, and notes what is to be done in it.
func (s *scanner) scan() {
	s.frames = append(s.frames[:0], frame{op: opBlock, loop: -1, after: nowhere})
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
		switch i.form {
		case plain:
			if op == opUnreachable {
				s.now = nowhere
			}
		case index:
			r.u32()
		case local:
			if i := r.u32(); uint64(i) >= s.locals {
				r.fail("local %d of %d", i, s.locals)
			}
		case memoryArg:
			r.u32()
			r.u32()
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
}

func (s *scanner) special(at int, op byte) {
	r := &s.r
	switch op {
	case opBlock, opIf, opLoop:
		s.blockType()
		s.open(at, op)
	case opTryTable:
		s.tryTable()
	case opElse:
		f := s.top()
		if f.op != opIf {
			r.fail("else without if")
			return
		}
		f.op, f.after, s.now = opElse, f.after.or(s.now), f.atIf
	case opEnd:
		s.close(at)
	case opBr:
		s.branch(at, r.u32())
		s.now = nowhere
	case opBrIf, opBrOnNull, opBrOnNonNull:
		s.branch(at, r.u32())
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
		s.function()
		s.call(op == opReturnCall)
	case opCallIndirect, opReturnCallIndirect:
		s.m.typeIndex(r)
		r.u32() // table
		s.call(op == opReturnCallIndirect)
	case opCallRef, opReturnCallRef:
		s.m.typeIndex(r)
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

// blockType passes over a block's type.
func (s *scanner) blockType() {
	t := s.r.s33()
	if t == refNullable-0x80 || t == refNonNullable-0x80 {
		t = s.r.s33()
	}
	if t >= int64(s.m.types) {
		s.r.fail("type %d of %d", t, s.m.types)
	}
}

// open begins a block.
func (s *scanner) open(at int, op byte) {
	f := frame{op: op, loop: s.top().loop, after: nowhere, atIf: s.now}
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
	s.now = after
	s.frames = s.frames[:len(s.frames)-1]
}

// tryTable begins a block with handlers. What a handler's label may cost by way
// of an exception is not followed: it is taken to be all that there can be.
func (s *scanner) tryTable() {
	r := &s.r
	s.blockType()
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
		}
	}
	s.callsInLoop() // its labels then stay as they are
	s.open(0, opTryTable)
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

// branch follows a branch, and notes it where it leaves a loop.
func (s *scanner) branch(at int, label uint32) {
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

// function reads a function's index, and notes it where it changes.
func (s *scanner) function() {
	at := s.r.pos
	index := s.r.u32()
	if shifted := s.m.function(&s.r, index); shifted != index {
		s.events = append(s.events, event{kind: functionIndex, at: at, end: s.r.pos, arg: shifted})
	}
}

// help notes that a helper is called for the instruction that was read.
func (s *scanner) help(what kind, at int, h helper) {
	if h.needsMemory() && s.m.memories == 0 {
		s.r.fail("a memory instruction without a memory")
		return
	}
	s.call(false)
	s.ranges = s.ranges || what == fillOrCopy
	s.events = append(s.events, event{kind: what, at: at, end: s.r.pos, arg: s.m.helper(h)})
}

// memoryIndex reads the index of the memory: there is one at most.
func (s *scanner) memoryIndex() {
	if s.r.byte() != 0 {
		s.r.fail("a second memory")
	}
}
