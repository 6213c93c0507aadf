package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-actors/astrid-actors/capsulehost/reductions"
)

// maxHostFunctionInput is the size of the largest argument of a HostFunction, in bytes.
const maxHostFunctionInput = 10 << 20

// HostFunction is a function that a program offers to its guests, besides the system
// calls. A guest imports it from Namespace by Name, as a function (i64) -> i64 of two
// blocks: its argument and its result.
//
//	capsulehost.HostFunction{Namespace: "example:text", Name: "upper",
//		Call: func(_ context.Context, c capsulehost.HostCall) ([]byte, error) {
//			return bytes.ToUpper(c.Input), nil
//		}}
type HostFunction struct {
	// Namespace must not be one of the host's own: one that begins with "extism:",
	// "astrid" or "wasi", "shim", "host".
	Namespace string
	Name      string
	// Status puts a status byte before the result, as in astrid_read_file: 0 and the
	// result, or 1 and the text of the error. Without it, an error traps the guest.
	Status bool
	// Call is called on the goroutine that runs the guest, for several guests at once. It
	// must return when ctx ends: that is the deadline of the guest's call, or its stop. A
	// panic kills only the guest.
	Call func(ctx context.Context, call HostCall) ([]byte, error)
}

// HostCall is one call of a HostFunction.
type HostCall struct {
	Capsule string  // the id of the capsule that calls
	Caller  *Caller // on whose behalf it runs, or nil
	Input   []byte  // at most 10 MiB; the function's own
}

// HostFunctionProblems returns why functions can't be offered, an error for each problem.
func HostFunctionProblems(functions []HostFunction) []error {
	var found []error
	seen := map[[2]string]bool{}
	for _, f := range functions {
		var problem string
		switch key := [2]string{f.Namespace, f.Name}; {
		case f.Namespace == "":
			problem = "it has no name space"
		case f.Name == "":
			problem = "it has no name"
		case f.Call == nil:
			problem = "Call is nil"
		case isReserved(f.Namespace):
			problem = "the name space is one of the host's own"
		case seen[key]:
			problem = "there is another one with this name"
		default:
			seen[key] = true
			continue
		}
		found = append(found, fmt.Errorf("host function %q of %q: %s", f.Name, f.Namespace, problem))
	}
	return found
}

// isReserved reports whether guests import something else from a name space.
func isReserved(namespace string) bool {
	return slices.Contains([]string{shimModuleName, kernelImports, reductions.ImportModule}, namespace) ||
		slices.ContainsFunc([]string{"extism:", "astrid", "wasi"}, func(prefix string) bool { return strings.HasPrefix(namespace, prefix) })
}

// offer instantiates the modules of the host functions, one for each name space.
func (h *Host) offer(ctx context.Context, functions []HostFunction) error {
	if err := errors.Join(HostFunctionProblems(functions)...); err != nil {
		return err
	}
	spaces := map[string][]hostFunction{}
	for _, f := range functions {
		spaces[f.Namespace] = append(spaces[f.Namespace], hostFunction{f.Name, []api.ValueType{i64}, []api.ValueType{i64}, f.serve})
	}
	h.offered = map[string]api.Module{}
	for name, all := range spaces {
		m, err := h.hostModule(ctx, name, all)
		if err != nil {
			return err
		}
		h.offered[name] = m
	}
	return nil
}

// serve decodes and answers one call.
func (f HostFunction) serve(_ context.Context, i *Instance, stack []uint64) error {
	input, err := i.bytes("argument", stack[0], maxHostFunctionInput)
	if err != nil {
		return err
	}
	var result []byte
	call := HostCall{Capsule: i.hostAPI.Name(), Caller: i.hostAPI.Caller(), Input: input}
	i.outside(func() { result, err = f.Call(i.ctx, call) })
	if f.Status {
		return i.answerStatus(stack, result, err)
	}
	if err != nil {
		return err
	}
	return i.answer(stack, string(result))
}
