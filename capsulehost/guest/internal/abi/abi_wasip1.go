package abi

import (
	"encoding/binary"
)

// The kernel's functions. They identify a block of bytes by its offset; 0 is no block.

//go:wasmimport extism:host/env alloc
func alloc(n uint64) uint64

//go:wasmimport extism:host/env free
func free(block uint64)

//go:wasmimport extism:host/env length
func length(block uint64) uint64

//go:wasmimport extism:host/env load_u8
func loadU8(p uint64) uint32

//go:wasmimport extism:host/env load_u64
func loadU64(p uint64) uint64

//go:wasmimport extism:host/env store_u8
func storeU8(p uint64, x uint32)

//go:wasmimport extism:host/env store_u64
func storeU64(p, x uint64)

//go:wasmimport extism:host/env input_length
func inputLength() uint64

//go:wasmimport extism:host/env input_load_u8
func inputLoadU8(i uint64) uint32

//go:wasmimport extism:host/env input_load_u64
func inputLoadU64(i uint64) uint64

//go:wasmimport extism:host/env output_set
func outputSet(block, n uint64)

//go:wasmimport extism:host/env error_set
func errorSet(block uint64)

// The system calls.

//go:wasmimport extism:host/user astrid_log
func astridLog(level, message uint64)

//go:wasmimport extism:host/user astrid_get_config
func astridGetConfig(key uint64) uint64

//go:wasmimport extism:host/user astrid_get_caller
func astridGetCaller() uint64

//go:wasmimport extism:host/user astrid_signal_ready
func astridSignalReady()

//go:wasmimport extism:host/user astrid_clock_ms
func astridClockMS() uint64

//go:wasmimport extism:host/user astrid_trigger_hook
func astridTriggerHook(request uint64) uint64

//go:wasmimport extism:host/user astrid_check_capsule_capability
func astridCheckCapsuleCapability(request uint64) uint64

//go:wasmimport extism:host/user astrid_ipc_publish
func astridIPCPublish(topic, payload uint64)

//go:wasmimport extism:host/user astrid_ipc_subscribe
func astridIPCSubscribe(pattern uint64) uint64

//go:wasmimport extism:host/user astrid_ipc_unsubscribe
func astridIPCUnsubscribe(handle uint64)

//go:wasmimport extism:host/user astrid_ipc_poll
func astridIPCPoll(handle uint64) uint64

//go:wasmimport extism:host/user astrid_ipc_recv
func astridIPCRecv(handle, milliseconds uint64) uint64

//go:wasmimport extism:host/user astrid_get_interceptor_handles
func astridGetInterceptorHandles() uint64

//go:wasmimport extism:host/user astrid_kv_get
func astridKVGet(key uint64) uint64

//go:wasmimport extism:host/user astrid_kv_set
func astridKVSet(key, value uint64)

//go:wasmimport extism:host/user astrid_kv_delete
func astridKVDelete(key uint64)

//go:wasmimport extism:host/user astrid_kv_list_keys
func astridKVListKeys(prefix uint64) uint64

//go:wasmimport extism:host/user astrid_kv_clear_prefix
func astridKVClearPrefix(prefix uint64) uint64

// Input returns the input of the current call.
func Input() string { return read(inputLength(), 0, inputLoadU64, inputLoadU8) }

// Output sets b as the output of the current call.
func Output(b []byte) {
	block := put(string(b))
	outputSet(block, uint64(len(b)))
}

// Fail stores err for the host, and returns the result code of a failed call.
func Fail(err error) int32 {
	errorSet(put(err.Error()))
	return 1
}

// Log calls astrid_log.
func Log(level, message string) {
	l, m := put(level), put(message)
	astridLog(l, m)
	free(l)
	free(m)
}

// Config calls astrid_get_config.
func Config(key string) string { return ask(astridGetConfig, key) }

// Caller calls astrid_get_caller.
func Caller() string { return take(astridGetCaller()) }

// SignalReady calls astrid_signal_ready.
func SignalReady() { astridSignalReady() }

// ClockMillis calls astrid_clock_ms.
func ClockMillis() string { return take(astridClockMS()) }

// Trigger calls astrid_trigger_hook.
func Trigger(request string) string { return ask(astridTriggerHook, request) }

// CheckCapability calls astrid_check_capsule_capability.
func CheckCapability(request string) string { return ask(astridCheckCapsuleCapability, request) }

// Publish calls astrid_ipc_publish.
func Publish(topic, payload string) {
	t, p := put(topic), put(payload)
	astridIPCPublish(t, p)
	free(t)
	free(p)
}

// Subscribe calls astrid_ipc_subscribe.
func Subscribe(pattern string) string { return ask(astridIPCSubscribe, pattern) }

// Unsubscribe calls astrid_ipc_unsubscribe.
func Unsubscribe(handle string) {
	h := put(handle)
	astridIPCUnsubscribe(h)
	free(h)
}

// Poll calls astrid_ipc_poll.
func Poll(handle string) string { return ask(astridIPCPoll, handle) }

// Receive calls astrid_ipc_recv.
func Receive(handle, milliseconds string) string {
	h, m := put(handle), put(milliseconds)
	answer := take(astridIPCRecv(h, m))
	free(h)
	free(m)
	return answer
}

// InterceptorHandles calls astrid_get_interceptor_handles.
func InterceptorHandles() string { return take(astridGetInterceptorHandles()) }

// StateGet calls astrid_kv_get.
func StateGet(key string) string { return ask(astridKVGet, key) }

// StateSet calls astrid_kv_set.
func StateSet(key, value string) {
	k, v := put(key), put(value)
	astridKVSet(k, v)
	free(k)
	free(v)
}

// StateDelete calls astrid_kv_delete.
func StateDelete(key string) {
	k := put(key)
	astridKVDelete(k)
	free(k)
}

// StateKeys calls astrid_kv_list_keys.
func StateKeys(prefix string) string { return ask(astridKVListKeys, prefix) }

// StateClear calls astrid_kv_clear_prefix.
func StateClear(prefix string) string { return ask(astridKVClearPrefix, prefix) }

// ask passes s to a call and returns its answer. It frees both blocks: the host frees all
// blocks after a call, but a run loop is a single call without an end.
func ask(call func(uint64) uint64, s string) string {
	block := put(s)
	answer := take(call(block))
	free(block)
	return answer
}

// take reads a block and frees it.
func take(block uint64) string {
	s := read(length(block), block, loadU64, loadU8)
	free(block)
	return s
}

// put copies s into a new block, eight bytes per call. It panics if the kernel has no memory
// left, since block 0 would mean an empty text.
func put(s string) uint64 {
	block := alloc(uint64(len(s)))
	if block == 0 && s != "" {
		panic("guest: the host's memory is full")
	}
	b, p := []byte(s), block
	for ; len(b) >= 8; b, p = b[8:], p+8 {
		storeU64(p, binary.LittleEndian.Uint64(b))
	}
	for ; len(b) > 0; b, p = b[1:], p+1 {
		storeU8(p, uint32(b[0]))
	}
	return block
}

// read copies n bytes starting at p, eight bytes per call.
func read(n, p uint64, eight func(uint64) uint64, one func(uint64) uint32) string {
	b := make([]byte, 0, n)
	for ; n >= 8; n, p = n-8, p+8 {
		b = binary.LittleEndian.AppendUint64(b, eight(p))
	}
	for ; n > 0; n, p = n-1, p+1 {
		b = append(b, byte(one(p)))
	}
	return string(b)
}
