package reductions

import "errors"

// MaxLocals is the maximum number of locals in a function, the same as in browsers.
// Without it, a few bytes of a module could declare billions, for which compilers
// allocate memory.
const MaxLocals = 50_000

// slotsPerReduction is the number of slots in a function's frame per extra
// reduction at its entry. It limits the growth of the call stack between two ticks
// to some MiB.
const slotsPerReduction = 128

// rewriteCode makes every function charge reductions, and adds the helpers.
func (m *module) rewriteCode(r *reader, out []byte) []byte {
	n := r.count()
	if n != m.functions-m.importedFunctions {
		r.fail("%d functions have code, and %d are declared", n, m.functions-m.importedFunctions)
		return nil
	}
	e := newEmitter(m)
	bodies := make([]byte, 0, len(r.b)+len(r.b)/2)
	for i := range n {
		code := r.name()
		if r.err != nil {
			return nil
		}
		e.r = reader{b: code}
		body := e.function(m.functionTypes[i])
		if limit := (*LimitError)(nil); errors.As(e.r.err, &limit) {
			r.fail("%w", tooMuch("function %s: %s", m.named(m.importedFunctions+i), limit.message))
			return nil
		}
		if e.r.err != nil {
			r.fail("function %s, byte %d: %w", m.named(m.importedFunctions+i), e.r.pos, e.r.err)
			return nil
		}
		m.volume.add(&e.shape, m.importedFunctions+i, e.locals, len(code))
		if err := m.withinBudget(&e.shape, m.importedFunctions+i, len(code)); err != nil {
			r.fail("%w", err)
			return nil
		}
		bodies = append(appendU32(bodies, uint32(len(body))), body...) //nolint:gosec // a small multiple of the input
	}
	for _, h := range m.helpers {
		body := e.helper(h)
		bodies = append(appendU32(bodies, uint32(len(body))), body...) //nolint:gosec // some tens of bytes
	}
	out = appendU32(out, n+uint32(len(m.helpers))) //nolint:gosec // few helpers
	return append(out, bodies...)
}

// emitter rewrites function bodies.
type emitter struct {
	scanner
	out []byte // the last function's output; its memory is reused

	// Code sequences to insert.
	count     []byte // charge one reduction
	countBack []byte // give one reduction back
	below     []byte // push whether the counter is below zero
	check     []byte // call the tick if the counter is below zero
}

func newEmitter(m *module) *emitter {
	e := &emitter{scanner: scanner{m: m}}
	e.count = e.countBy([]byte{opI64Const, 1})
	e.countBack = e.countBy(appendS64([]byte{opI64Const}, -1))
	e.below = append(appendU32([]byte{opGlobalGet}, m.counter()), opI64Const, 0, opI64LtS)
	e.check = append(e.check, e.below...)
	e.check = append(e.check, opIf, emptyBlock, opCall)
	e.check = append(appendU32(e.check, m.tick()), opEnd)
	return e
}

// countBy returns code that subtracts amount, code that pushes an i64, from the counter.
func (e *emitter) countBy(amount []byte) []byte {
	code := appendU32([]byte{opGlobalGet}, e.m.counter())
	code = append(code, amount...)
	code = append(code, opI64Sub, opGlobalSet)
	return appendU32(code, e.m.counter())
}

// function returns the rewritten body of the function in e.r. The result is valid
// until the next call.
func (e *emitter) function(typ uint32) []byte {
	r := &e.r
	parameters := e.m.parameters[typ]
	e.locals = uint64(parameters)
	groups := r.count()
	from := r.pos
	for range groups {
		e.locals += uint64(r.u32())
		e.m.checkedType(r)
	}
	if r.err == nil && e.locals-uint64(parameters) > MaxLocals {
		r.fail("%w", tooMuch("%d locals, over the limit of %d", e.locals-uint64(parameters), MaxLocals))
	}
	if r.err != nil {
		return nil
	}
	done := r.pos
	if e.scan(typ); r.err != nil {
		return nil
	}
	spare := uint32(e.locals) //nolint:gosec // at most MaxLocals and the parameters
	var out []byte
	if e.ranges { // declare the spare local
		out = append(appendU32(e.out[:0], groups+1), r.b[from:done]...)
		out = append(out, 1, 0x7f)
	} else {
		out = e.out[:0]
		out = append(out, r.b[:done]...)
	}
	if large := e.shape.slots / slotsPerReduction; large > 0 {
		out = append(out, e.countBy(appendS64([]byte{opI64Const}, int64(large)+1))...) //nolint:gosec // fewer than the module's bytes
	} else {
		out = append(out, e.count...)
	}
	if e.calls {
		// A function without calls and loops ends soon, and needs no check: its caller
		// checks the counter.
		out = append(out, e.check...)
	}
	for _, v := range e.events {
		switch v.kind {
		case loopStart:
			out = append(out, r.b[done:v.at]...)
			out = e.loop(out, r.b[v.at:v.end], v.arg == 1)
			done = v.end
			continue
		case branch, branchTable, loopEnd:
			if e.events[v.loop].arg == 0 {
				continue // the loop was not doubled
			}
		default:
		}
		out = append(out, r.b[done:v.at]...)
		done = v.at
		switch v.kind {
		case charge:
			out = append(out, e.count...)
		case chargeCheck:
			out = append(append(out, e.count...), e.check...)
		case callBefore:
			out = appendU32(append(out, opCall), v.arg)
		case fillOrCopy:
			c := code{e: e, out: out}
			c.fillOrCopy(r.b[v.at:v.end], spare, v.arg)
			out, done = c.out, v.end
		case functionIndex:
			out = appendU32(out, v.arg)
			done = v.end
		case branch:
			out = appendU32(append(out, r.b[v.at]), v.arg+1)
			done = v.end
		case branchTable:
			out = e.branchTable(out, r.b[v.at:v.end], v.arg)
			done = v.end
		case loopEnd:
			out = append(out, opEnd)
		case loopStart:
		}
	}
	out = append(out, r.b[done:]...)
	e.out = out
	return out
}

// loop emits the start of a loop; first is its first instruction.
//
// A call in a loop is expensive even if it never runs, because the compiler keeps
// no values in registers across it. So a loop without calls of its own is doubled:
// a second loop around it holds the call of the tick.
//
//	charge one
//	loop              ;; check the counter, and call the tick; give one back
//	  loop            ;; charge one, and branch to the outer loop if the counter is below zero
//
// Each iteration charges one on either path. Both loops have the same parameters,
// so the branch can carry them; all other values are in locals. The labels of
// branches out of the loop increase by one.
func (e *emitter) loop(out, first []byte, doubled bool) []byte {
	if !doubled {
		out = append(out, first...)
		return append(append(out, e.count...), e.check...)
	}
	out = append(append(out, e.count...), first...)
	out = append(append(out, e.check...), e.countBack...)
	out = append(append(out, first...), e.count...)
	return append(append(out, e.below...), opBrIf, 1)
}

// branchTable copies a br_table of a doubled loop. Labels below inside stay in the
// loop; the others increase by one.
func (e *emitter) branchTable(out, code []byte, inside uint32) []byte {
	r := reader{b: code, pos: 1}
	n := r.u32()
	out = appendU32(append(out, opBrTable), n)
	for range uint64(n) + 1 {
		label := r.u32()
		if label >= inside {
			label++
		}
		out = appendU32(out, label)
	}
	return out
}
