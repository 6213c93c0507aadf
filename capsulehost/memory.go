package capsulehost

import (
	"fmt"
	"reflect"

	"github.com/tetratelabs/wazero/api"
)

const (
	// stackLimit is how large a guest's call stack may grow, in bytes. wazero doubles
	// it, from 10 KiB on: so a guest can use 5 MiB at least. Compilers' output rarely
	// needs one.
	stackLimit = 8 << 20
	// keptStack is how large a stack an idle instance keeps.
	keptStack = 64 << 10
)

// callee is the export that an instance called last. With it wazero keeps a call
// stack of its own, which grows up to 80 MB and never shrinks: so an instance has
// one, and forgets it where it has grown large.
type callee struct {
	api.Function        // nil for none
	export       string // its name
	stack        int    // the index of the field that holds the stack, in what wazero has behind Function
}

func newCallee(export string, f api.Function) callee {
	c := callee{Function: f, export: export, stack: -1}
	// wazero has no method to ask. A test makes sure that the field is there.
	if t := reflect.TypeOf(f); t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct {
		if field, ok := t.Elem().FieldByName("stack"); ok && field.Type.Kind() == reflect.Slice && len(field.Index) == 1 {
			c.stack = field.Index[0]
		}
	}
	return c
}

// stackBytes is how large the call stack is.
func (c *callee) stackBytes() uint64 {
	if c.Function == nil || c.stack < 0 {
		return 0
	}
	stack := reflect.ValueOf(c.Function).Elem().Field(c.stack)
	return uint64(stack.Len()) * uint64(stack.Type().Elem().Size()) //nolint:gosec // not negative
}

// returned is called after each call.
func (c *callee) returned() {
	if c.stackBytes() > keptStack {
		*c = callee{}
	}
}

// stopIfDeep panics where the stack is too large. It is asked at ticks: between two
// of them a guest enters some thousands of functions, and a function with a large
// frame counts more.
func (c *callee) stopIfDeep() {
	if n := c.stackBytes(); n > stackLimit {
		panic(&stopped{KindStackOverflow, fmt.Errorf("its calls take %d KiB, over the limit of %d KiB: recursion without end?", n>>10, stackLimit>>10)})
	}
}
