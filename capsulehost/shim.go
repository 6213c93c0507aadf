package capsulehost

import (
	"context"
	"slices"
	"sync"

	"github.com/tetratelabs/wazero/api"
)

// shimFunctions are the functions of the module "shim", through which QuickJS capsules make
// the system calls: by number, since JavaScript has no imports of its own. An unknown number
// answers with 0, as in the reference.
var shimFunctions = []hostFunction{
	{"__get_function_arg_type", []api.ValueType{i32, i32}, []api.ValueType{i32}, func(_ context.Context, _ *Instance, stack []uint64) error {
		f, ok := shimCall(stack[0])
		stack[0] = shimType(ok && api.DecodeU32(stack[1]) < uint32(len(f.params)))
		return nil
	}},
	{"__get_function_return_type", []api.ValueType{i32}, []api.ValueType{i32}, func(_ context.Context, _ *Instance, stack []uint64) error {
		f, ok := shimCall(stack[0])
		stack[0] = shimType(ok && len(f.results) > 0)
		return nil
	}},
	{"__invokeHostFunc", []api.ValueType{i32, i64, i64, i64, i64, i64}, []api.ValueType{i64}, shimInvoke},
}

// shimType returns the number of a type: that of an i64, or of nothing.
func shimType(isI64 bool) uint64 {
	if isI64 {
		return 2
	}
	return 0
}

func shimInvoke(ctx context.Context, i *Instance, stack []uint64) error {
	f, ok := shimCall(stack[0])
	if !ok {
		stack[0] = 0
		return nil
	}
	arguments := make([]uint64, max(len(f.params), len(f.results)))
	copy(arguments, stack[1:1+len(f.params)])
	if err := f.call(ctx, i, arguments); err != nil {
		return &hostCallError{call: f.name, err: err}
	}
	stack[0] = 0
	if len(f.results) > 0 {
		stack[0] = arguments[0]
	}
	return nil
}

// shimCall returns the system call with a number.
func shimCall(number uint64) (hostFunction, bool) {
	if n := api.DecodeU32(number); n < uint32(len(shimOrder)) { //nolint:gosec // 49
		return shimCalls()[n], true
	}
	return hostFunction{}, false
}

// shimCalls are the system calls by their numbers.
var shimCalls = sync.OnceValue(func() []hostFunction { //nolint:gochecknoglobals // made once, never changed
	all := userFunctions()
	calls := make([]hostFunction, len(shimOrder))
	for n, name := range shimOrder {
		calls[n] = all[slices.IndexFunc(all, func(f hostFunction) bool { return f.name == "astrid_"+name })]
	}
	return calls
})

// shimOrder are the system calls in the order of their numbers, which is part of the ABI.
var shimOrder = []string{
	"fs_exists", "fs_mkdir", "fs_readdir", "fs_stat", "fs_unlink", "read_file", "write_file",
	"ipc_publish", "ipc_subscribe", "ipc_unsubscribe", "ipc_poll", "ipc_recv", "uplink_register", "uplink_send",
	"kv_get", "kv_set", "kv_delete", "kv_list_keys", "kv_clear_prefix", "get_config", "get_caller", "http_request",
	"trigger_hook", "log", "spawn_host", "net_bind_unix", "net_accept", "net_read", "net_write", "elicit",
	"has_secret", "signal_ready", "clock_ms", "get_interceptor_handles", "request_approval",
	"identity_resolve", "identity_link", "identity_unlink", "identity_create_user", "identity_list_links",
	"check_capsule_capability", "spawn_background_host", "read_process_logs_host", "kill_process_host",
	"net_close_stream", "net_poll_accept", "http_stream_start", "http_stream_read", "http_stream_close",
}
