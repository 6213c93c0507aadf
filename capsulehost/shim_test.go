package capsulehost

import (
	"slices"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

// Every system call has a number, and its type.
func TestShimNumbers(t *testing.T) {
	i := errand(t, Services{})
	number := func(function string, n, argument uint32) uint64 {
		stack := []uint64{uint64(n), uint64(argument)}
		at := slices.IndexFunc(shimFunctions, func(f hostFunction) bool { return f.name == function })
		if err := shimFunctions[at].call(t.Context(), i, stack); err != nil {
			t.Fatal(err)
		}
		return stack[0]
	}
	calls := userFunctions()
	if len(shimOrder) != len(calls) || len(slices.Compact(slices.Sorted(slices.Values(shimOrder)))) != len(calls) {
		t.Fatalf("there are %d numbers for %d calls", len(shimOrder), len(calls))
	}
	for n, name := range shimOrder {
		f := calls[slices.IndexFunc(calls, func(f hostFunction) bool { return f.name == "astrid_"+name })]
		for argument := range uint32(4) {
			want := uint64(0)
			if argument < uint32(len(f.params)) {
				want = 2
			}
			if got := number("__get_function_arg_type", uint32(n), argument); got != want {
				t.Errorf("%s: argument %d has type %d, want %d", name, argument, got, want)
			}
		}
		if got := number("__get_function_return_type", uint32(n), 0); got != 2*uint64(len(f.results)) {
			t.Errorf("%s returns type %d", name, got)
		}
	}
	for _, n := range []uint32{49, 1 << 31, 1<<32 - 1} {
		if number("__get_function_arg_type", n, 0) != 0 || number("__get_function_return_type", n, 0) != 0 || number("__invokeHostFunc", n, 0) != 0 {
			t.Errorf("there is a call with the number %d", n)
		}
	}
}

// A guest makes calls by their numbers: log (23) and get_config (19), with two arguments
// and with a result.
func TestShimCalls(t *testing.T) {
	m := &wasmModule{}
	m.imported(shimModuleName, "__invokeHostFunc", []api.ValueType{i32, i64, i64, i64, i64, i64}, []api.ValueType{i64})
	m.imported("extism:host/env", "alloc", []api.ValueType{i64}, []api.ValueType{i64})
	m.imported("extism:host/env", "error_set", []api.ValueType{i64}, nil)
	call := func(n byte, arguments ...byte) []byte { // each argument is the block of that size, all zeros
		code := []byte{0x41, n}
		for k := range 5 {
			if k < len(arguments) {
				code = append(code, 0x42, arguments[k], 0x10, 1)
			} else {
				code = append(code, 0x42, 0)
			}
		}
		return append(code, 0x10, 0)
	}
	body := append(call(23, 4, 3), 0x1a) // drop
	body = append(append(body, call(19, 1)...), 0x10, 2, 0x41, 1)
	m.function(ExportRun, nil, []api.ValueType{i32}, body...)
	w := &world{config: map[string]string{"\x00": "the value"}}
	i := mustInstantiate(t, newHost(t, Config{}), m.bytes(), w)
	_, err := i.Call(t.Context(), ExportRun, nil)
	if err == nil || err.Error() != "run: the value" && err.Error() != "the value" {
		t.Errorf("get_config answered with %v", err)
	}
	if len(w.lines) != 1 || w.lines[0] != "INFO \x00\x00\x00" {
		t.Errorf("the log has %q", w.lines)
	}
}
