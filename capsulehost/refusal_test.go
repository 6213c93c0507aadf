package capsulehost

import (
	"context"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

// Refusals name the unsupported proposal and how to build without it.
func TestRefusalsNameTheWayOut(t *testing.T) {
	code := func(body ...byte) func(*wasmModule) []byte {
		return func(m *wasmModule) []byte {
			m.memory(1)
			return body
		}
	}
	section := func(id byte, content ...[]byte) func(*wasmModule) []byte {
		return func(m *wasmModule) []byte {
			m.section(id, vector(content...))
			return nil
		}
	}
	typ := func(b ...byte) func(*wasmModule) []byte {
		return func(m *wasmModule) []byte {
			m.types = append(m.types, b)
			return nil
		}
	}
	h := newHost(t, Config{MemoryLimitPages: 16})
	for _, tt := range []struct {
		name   string
		module func(*wasmModule) []byte // returns the first instructions of its export
		want   []string
	}{
		{"try", code(0x06, 0x40, 0x19, 0x0b), []string{"it uses legacy exceptions (opcode 0x06)", "-fno-exceptions", "-sDISABLE_EXCEPTION_CATCHING=1"}},
		{"catch", code(0x07, 0), []string{"legacy exceptions (opcode 0x07)"}},
		{"rethrow", code(0x09, 0), []string{"legacy exceptions (opcode 0x09)"}},
		{"delegate", code(0x18, 0), []string{"legacy exceptions (opcode 0x18)"}},
		{"catch_all", code(0x19), []string{"legacy exceptions (opcode 0x19)"}},
		{"try_table", code(0x1f, 0x40, 0, 0x0b), []string{"it uses exceptions (try_table)", "-fno-exceptions"}},
		{"throw", code(0x08, 0), []string{"exceptions (throw)"}},
		{"throw_ref", code(0xd0, 0x69, 0x0a), []string{"exceptions (throw_ref)"}},
		{"a tag", section(13, []byte{0, 0}), []string{"exceptions (tag section)"}},
		{"relaxed SIMD", code(0xfd, 0x80, 0x02), []string{"relaxed SIMD (opcode 0xfd 0x100)", "-mrelaxed-simd"}},
		{"relaxed SIMD, the last", code(0xfd, 0x93, 0x02), []string{"relaxed SIMD (opcode 0xfd 0x113)"}},
		{"no SIMD", code(0xfd, 0x9a, 0x01), []string{"unknown instruction 0xfd 0x9a"}},
		{"struct", typ(0x5f, 0), []string{"garbage collection", "linear memory"}},
		{"array", typ(0x5e, 0x7f, 0), []string{"garbage collection"}},
		{"sub", typ(0x50, 0, 0x60, 0, 0), []string{"garbage collection"}},
		{"anyref", typ(0x60, 1, 0x6e, 0), []string{"garbage collection"}},
		{"i31", code(0xfb, 0x1c), []string{"garbage collection"}},
		{"a fence", code(0xfe, 3, 0), []string{"threads (atomic.fence", "-pthread", "atomics"}},
		{"shared memory", section(5, []byte{3, 1, 2}), []string{"threads (shared memory)", "-pthread"}},
		{"two memories", section(5, []byte{0, 1}, []byte{0, 1}), []string{"several memories (at most one memory allowed in module, but read 2)"}},
		{"the second memory", code(0x3f, 1), []string{"several memories (a second memory)"}},
		{"a long memory", section(5, []byte{4, 1}), []string{"64-bit memory", "wasm32"}},
		{"a long table", section(4, []byte{0x70, 4, 1}), []string{"64-bit memory or tables"}},
		{"pages of a byte", section(5, []byte{8, 1, 0}), []string{"custom page sizes"}},
		{"wide arithmetic", code(0xfc, 0x13), []string{"wide arithmetic (opcode 0xfc 0x13)"}},
		{"much memory", section(5, []byte{0, 20}), []string{"begins with 20 pages of 64 KiB, over the limit of 16:", "raise MemoryLimitPages to 20 or more"}},
		{"no instruction", code(0xc5), []string{"the module does not compile", "unknown instruction 0xc5"}},
	} {
		m := &wasmModule{}
		m.function(ExportInterceptor, nil, []api.ValueType{i32}, append(tt.module(m), 0x41, 0)...)
		_, err := h.Compile(context.Background(), m.bytes())
		for _, want := range append(tt.want, string(KindBadModule)+": ") {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", tt.name, err, want)
			}
		}
	}
}
