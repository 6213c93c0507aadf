package capsulehost

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
)

// hostFunction is a function that guests import. An error traps the guest.
type hostFunction struct {
	name            string
	params, results []api.ValueType
	call            func(ctx context.Context, i *Instance, stack []uint64) error
}

// hostCallError is a host function's error, which traps its guest.
type hostCallError struct {
	call string
	err  error
}

func (e *hostCallError) Error() string { return e.call + ": " + e.err.Error() }
func (e *hostCallError) Unwrap() error { return e.err }

// export adds the function to a host module. In wazero, a panic traps the guest.
func (f hostFunction) export(b wazero.HostModuleBuilder) {
	b.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(ctx context.Context, stack []uint64) {
		i, _ := ctx.Value(instanceKey{}).(*Instance)
		i.meter.charge(hostCallCost)
		if err := f.call(ctx, i, stack); err != nil {
			panic(&hostCallError{call: f.name, err: err})
		}
	}), f.params, f.results).Export(f.name)
}

// owning returns a function that frees its arguments afterwards. It frees them only
// after storing the result: a PDK may free an argument itself, and must not free a
// result that reuses its offset.
func (f hostFunction) owning() hostFunction {
	call := f.call
	f.call = func(ctx context.Context, i *Instance, stack []uint64) error {
		var given [2]uint64
		copy(given[:], stack[:len(f.params)])
		if err := call(ctx, i, stack); err != nil {
			return err
		}
		i.kernel.Free(given[0])
		i.kernel.Free(given[1])
		return nil
	}
	return f
}

// bytes reads an argument: a block of at most limit bytes. Offset 0 means empty.
func (i *Instance) bytes(what string, offset, limit uint64) ([]byte, error) {
	n, ok := i.kernel.Length(offset)
	if !ok {
		return nil, fmt.Errorf("%s: offset %d is not the start of a block", what, offset)
	}
	if n > limit {
		return nil, fmt.Errorf("%s of %d bytes is over the limit of %d", what, n, limit)
	}
	i.meter.charge(n / bytesPerReduction)
	return i.kernel.Bytes(offset, n), nil
}

// text reads an argument as UTF-8, and replaces invalid bytes.
func (i *Instance) text(what string, offset, limit uint64) (string, error) {
	b, err := i.bytes(what, offset, limit)
	return lossy(b), err
}

// answer stores data as the result of a host function.
func (i *Instance) answer(stack []uint64, data string) error {
	return i.answerBytes(stack, []byte(data))
}

func (i *Instance) answerBytes(stack []uint64, data []byte) error {
	i.meter.charge(uint64(len(data)) / bytesPerReduction)
	offset, err := i.kernel.Store(data)
	if err != nil {
		return fmt.Errorf("answer of %d bytes: %w", len(data), err)
	}
	stack[0] = offset
	return nil
}

// The status bytes with which some host functions begin their answers.
const (
	statusOK    = 0 // the result follows
	statusError = 1 // a message follows, in UTF-8
)

// answerStatus stores the result of a host function that answers with a status: data, or
// an error, which the guest can handle. But if its call has ended, the guest ends.
func (i *Instance) answerStatus(stack []uint64, data []byte, err error) error {
	switch {
	case err == nil:
		return i.answerBytes(stack, append(append(make([]byte, 0, 1+len(data)), statusOK), data...))
	case i.ctx.Err() != nil:
		return err
	default:
		return i.answerBytes(stack, append([]byte{statusError}, err.Error()...))
	}
}

// lossy replaces invalid UTF-8 in the same way as Rust's from_utf8_lossy: one U+FFFD
// for each maximal prefix of a valid sequence.
func lossy(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	out := make([]byte, 0, len(b)+8)
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			size = invalidPrefix(b)
		}
		out = utf8.AppendRune(out, r)
		b = b[size:]
	}
	return string(out)
}

// invalidPrefix returns the length of the incomplete sequence at the start of b, which
// must not start with a valid one; at least 1.
func invalidPrefix(b []byte) int {
	low, high, need := byte(0x80), byte(0xBF), 0
	switch c := b[0]; {
	case c >= 0xC2 && c <= 0xDF:
		need = 1
	case c >= 0xE0 && c <= 0xEF:
		need = 2
		if c == 0xE0 {
			low = 0xA0
		} else if c == 0xED {
			high = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		need = 3
		if c == 0xF0 {
			low = 0x90
		} else if c == 0xF4 {
			high = 0x8F
		}
	}
	n := 1
	for n <= need && n < len(b) && b[n] >= low && b[n] <= high {
		low, high = 0x80, 0xBF
		n++
	}
	return n
}

// maxVariables is the maximum size of a guest's variables in bytes, names and values
// together.
const maxVariables = 1 << 20

// variables holds the values of var_set for the lifetime of the instance.
type variables struct {
	values map[string][]byte
	size   int
}

func (v *variables) set(key string, value []byte) error {
	old, had := v.values[key]
	size := v.size
	if had {
		size -= len(key) + len(old)
	}
	size += len(key) + len(value)
	if size > maxVariables {
		return fmt.Errorf("variable %q of %d bytes: all variables together would take %d bytes, over the limit of %d",
			key, len(value), size, maxVariables)
	}
	if v.values == nil {
		v.values = map[string][]byte{}
	}
	v.values[key], v.size = value, size
	return nil
}

func (v *variables) remove(key string) {
	if old, had := v.values[key]; had {
		v.size -= len(key) + len(old)
		delete(v.values, key)
	}
}

// envFunctions are the functions of `extism:host/env` that need the host; the kernel
// implements the others. Their names and types are those of the Extism PDKs. Like
// Extism's, they free the blocks of their arguments, since PDKs don't.
var envFunctions = []hostFunction{
	{"config_get", []api.ValueType{i64}, []api.ValueType{i64}, func(_ context.Context, i *Instance, stack []uint64) error {
		key, err := i.text("key", stack[0], maxConfigKey)
		if err != nil {
			return err
		}
		return i.answer(stack, i.hostAPI.Config(key))
	}},
	{"var_get", []api.ValueType{i64}, []api.ValueType{i64}, func(_ context.Context, i *Instance, stack []uint64) error {
		key, err := i.text("key", stack[0], maxVariables)
		if err != nil {
			return err
		}
		return i.answer(stack, string(i.vars.values[key]))
	}},
	{"var_set", []api.ValueType{i64, i64}, nil, func(_ context.Context, i *Instance, stack []uint64) error {
		key, err := i.text("key", stack[0], maxVariables)
		if err != nil {
			return err
		}
		if stack[1] == 0 {
			i.vars.remove(key)
			return nil
		}
		value, err := i.bytes("value", stack[1], maxVariables)
		if err != nil {
			return err
		}
		return i.vars.set(key, value)
	}},
	{"http_request", []api.ValueType{i64, i64}, []api.ValueType{i64}, extismHTTPRequest},
	{"http_status_code", nil, []api.ValueType{i32}, extismHTTPStatusCode},
	{"http_headers", nil, []api.ValueType{i64}, extismHTTPHeaders},
	logFunction("log_trace", LevelTrace), logFunction("log_debug", LevelDebug), logFunction("log_info", LevelInfo),
	logFunction("log_warn", LevelWarn), logFunction("log_error", LevelError),
	{"get_log_level", nil, []api.ValueType{i32}, func(_ context.Context, _ *Instance, stack []uint64) error {
		stack[0] = uint64(LevelTrace) // a capsule's log accepts all levels
		return nil
	}},
}

// logFunction returns one of Extism's own log functions. Its message has no documented
// limit, so a message longer than a line of astrid_log is truncated, not refused.
func logFunction(name string, level LogLevel) hostFunction {
	return hostFunction{name, []api.ValueType{i64}, nil, func(_ context.Context, i *Instance, stack []uint64) error {
		n, ok := i.kernel.Length(stack[0])
		if !ok {
			return fmt.Errorf("message: offset %d is not the start of a block", stack[0])
		}
		i.meter.charge(min(n, maxLogMessage) / bytesPerReduction)
		message := lossy(i.kernel.Bytes(stack[0], min(n, maxLogMessage)))
		if n > maxLogMessage {
			message = strings.TrimRight(message, "\uFFFD") // half a character
		}
		i.hostAPI.Log(level, message)
		return nil
	}}
}
