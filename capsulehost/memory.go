package capsulehost

import (
	"fmt"
	"reflect"

	"github.com/tetratelabs/wazero/api"
)

const (
	// stackLimit is the maximum size of a guest's call stack in bytes. wazero doubles the
	// stack, starting from 10 KiB, so a guest can use at least 5 MiB. Compiled code rarely
	// needs 1 MiB.
	stackLimit = 8 << 20
	// keptStack is the maximum stack size that an idle instance keeps, in bytes.
	keptStack = 64 << 10
)

// callee is the export that an instance called last. wazero allocates a call stack for
// each callee, which may grow to 80 MB and never shrinks. So an instance keeps only one
// callee, and drops it if its stack is large.
type callee struct {
	api.Function        // nil for none
	export       string // its name
	stack        int    // index of the field that holds the stack, in wazero's type behind Function; -1 if unknown
	word         int    // size of the stack's elements in bytes
}

func newCallee(export string, f api.Function) callee {
	c := callee{Function: f, export: export, stack: -1}
	// wazero has no method for this. A test checks that the field exists.
	if t := reflect.TypeOf(f); t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct {
		if field, ok := t.Elem().FieldByName("stack"); ok && field.Type.Kind() == reflect.Slice && len(field.Index) == 1 {
			c.stack, c.word = field.Index[0], int(field.Type.Elem().Size())
		}
	}
	return c
}

// stackBytes returns the size of the call stack.
func (c *callee) stackBytes() uint64 {
	if c.Function == nil || c.stack < 0 {
		return 0
	}
	return uint64(reflect.ValueOf(c.Function).Elem().Field(c.stack).Len() * c.word) //nolint:gosec // not negative
}

// returned must be called after each call.
func (c *callee) returned() {
	if c.stackBytes() > keptStack {
		*c = callee{}
	}
}

// stopIfDeep panics if the stack is too large. Ticks call it: between two ticks a guest
// enters some thousands of functions at most, and a function with a large frame costs
// more reductions.
func (c *callee) stopIfDeep() {
	if n := c.stackBytes(); n > stackLimit {
		panic(&stopped{KindStackOverflow, fmt.Errorf("its calls take %d KiB, over the limit of %d KiB: recursion without end?", n>>10, stackLimit>>10)})
	}
}
