package capsulehost

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

// An active segment out of range refuses the module, for any form of offset. A segment that
// just fits does not, nor does a passive one.
func TestSegmentsOutOfRange(t *testing.T) {
	constant := func(n int64) []byte { return append(sleb(n), 0x0b) }
	at := func(n int64) []byte { return append([]byte{0x41}, constant(n)...) }
	// A table of 4 functions, one of 2, one page of memory, and globals of 3 and 3+2.
	module := func(elements, data []byte) []byte {
		m := &wasmModule{}
		m.function(ExportInterceptor, nil, []api.ValueType{i32}, 0x41, 0)
		m.memory(1)
		m.section(4, vector([]byte{0x70, 0, 4}, []byte{0x70, 1, 2, 9}))
		m.section(6, vector(slices.Concat([]byte{0x7f, 0}, at(3)),
			[]byte{0x7f, 0, 0x41, 3, 0x41, 2, 0x6a, 0x0b},
			[]byte{0x70, 0, 0xd0, 0x70, 0x0b}, []byte{0x7c, 0, 0x44, 1, 2, 3, 4, 5, 6, 7, 8, 0x0b}))
		if elements != nil {
			m.section(9, vector(elements))
		}
		if data != nil {
			m.section(12, []byte{1})
			m.section(11, vector(data))
		}
		return m.bytes()
	}
	h := newHost(t, Config{})
	for _, tt := range []struct {
		name           string
		elements, data []byte
		want           string // "" passes
	}{
		{"elements", slices.Concat([]byte{0}, at(2), []byte{2, 0, 0}), nil, ""},
		{"elements, one too far", slices.Concat([]byte{0}, at(3), []byte{2, 0, 0}), nil,
			"element segment 0 puts 2 elements at 3 into table 0, which begins with 4"},
		{"none", slices.Concat([]byte{0}, at(4), []byte{0}), nil, ""},
		{"none, one too far", slices.Concat([]byte{0}, at(5), []byte{0}), nil, "0 elements at 5"},
		{"below zero", slices.Concat([]byte{0}, at(-1), []byte{1, 0}), nil, "at 4294967295"},
		{"the other table", slices.Concat([]byte{2, 1}, at(1), []byte{0, 2, 0, 0}), nil, "at 1 into table 1, which begins with 2"},
		{"expressions", slices.Concat([]byte{4}, at(3), []byte{2, 0xd2, 0, 0x0b, 0xd0, 0x70, 0x0b}), nil, "2 elements at 3"},
		{"expressions with a type", slices.Concat([]byte{6, 0}, at(3), []byte{0x70, 2, 0xd2, 0, 0x0b, 0xd0, 0x70, 0x0b}), nil, "2 elements at 3"},
		{"a global", []byte{0, 0x23, 0, 0x0b, 2, 0, 0}, nil, "2 elements at 3"},
		{"a sum", []byte{0, 0x23, 1, 0x41, 1, 0x6b, 0x0b, 1, 0}, nil, "1 elements at 4"},
		{"a sum that fits", []byte{0, 0x23, 1, 0x41, 2, 0x6b, 0x0b, 1, 0}, nil, ""},
		{"passive", []byte{1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil, ""},
		{"declarative", []byte{3, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil, ""},
		{"data", nil, slices.Concat([]byte{0}, at(65535), []byte{1, 'x'}), ""},
		{"data, one too far", nil, slices.Concat([]byte{0}, at(65535), []byte{2, 'x', 'y'}),
			"data segment 0 puts 2 bytes at 65535 into the memory, which begins with 65536"},
		{"no data, too far", nil, slices.Concat([]byte{2, 0}, at(65537), []byte{0}), "0 bytes at 65537"},
		{"passive data", nil, []byte{1, 2, 'x', 'y'}, ""},
	} {
		m, err := h.Compile(context.Background(), module(tt.elements, tt.data))
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			if i, err := m.Instantiate(context.Background(), &world{}); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			} else {
				_ = i.Close(context.Background())
			}
			_ = m.Close(context.Background())
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), string(KindBadModule)) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "only trap") {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}
