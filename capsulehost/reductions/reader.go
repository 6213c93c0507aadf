package reductions

import (
	"errors"
	"fmt"
)

// reader decodes bytes. It keeps the first error: reads after it return zero, and
// the position stays within the bytes.
type reader struct {
	b   []byte
	pos int
	err error
}

// ErrTruncated is wrapped by the error for a module, or a part of one, that ends too early.
var ErrTruncated = errors.New("it ends too early")

func (r *reader) more() bool { return r.pos < len(r.b) && r.err == nil }

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *reader) truncated() {
	if r.err == nil {
		r.err = ErrTruncated
	}
	r.pos = len(r.b)
}

func (r *reader) byte() byte {
	if r.pos < len(r.b) {
		b := r.b[r.pos]
		r.pos++
		return b
	}
	r.truncated()
	return 0
}

func (r *reader) skip(n uint64) {
	if n > uint64(len(r.b)-r.pos) { //nolint:gosec // pos is inside
		r.truncated()
		return
	}
	r.pos += int(n) //nolint:gosec // not past the end
}

// take returns the next n bytes.
func (r *reader) take(n uint32) []byte {
	from := r.pos
	r.skip(uint64(n))
	return r.b[from:r.pos]
}

// u32 reads an unsigned LEB128 of at most 32 bits.
func (r *reader) u32() uint32 {
	if r.pos < len(r.b) && r.b[r.pos] < 0x80 {
		r.pos++
		return uint32(r.b[r.pos-1])
	}
	return r.u32Long()
}

func (r *reader) u32Long() uint32 {
	var v uint32
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		if r.err != nil {
			return 0
		}
		if shift == 28 && b > 0x0f {
			break
		}
		v |= uint32(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	r.fail("a number has more than 32 bits")
	return 0
}

// s33 reads a block or heap type: a signed LEB128 of at most 33 bits.
func (r *reader) s33() int64 {
	var v int64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		if r.err != nil {
			return 0
		}
		v |= int64(b&0x7f) << shift
		if b >= 0x80 {
			continue
		}
		unused := 64 - min(shift+7, 33)
		return v << unused >> unused
	}
	r.fail("a type has more than 33 bits")
	return 0
}

// skipLEB skips a LEB128 no longer than most bytes. The compiler validates its value.
func (r *reader) skipLEB(most int) {
	for range most {
		if r.byte() < 0x80 {
			return
		}
	}
	r.fail("a number takes more than %d bytes", most)
}

// name reads a length and that many bytes.
func (r *reader) name() []byte { return r.take(r.u32()) }

// count reads the length of a vector whose elements have at least one byte each.
// It refuses a length beyond the remaining bytes, which limits the allocations for it.
func (r *reader) count() uint32 {
	n := r.u32()
	if uint64(n) > uint64(len(r.b)-r.pos) { //nolint:gosec // pos is within b
		r.truncated()
		return 0
	}
	return n
}

// appendU32 appends an unsigned LEB128.
func appendU32(out []byte, v uint32) []byte {
	for v >= 0x80 {
		out = append(out, byte(v)|0x80)
		v >>= 7
	}
	return append(out, byte(v))
}

// appendS64 appends a signed LEB128.
func appendS64(out []byte, v int64) []byte {
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && b&0x40 == 0) || (v == -1 && b&0x40 != 0) {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}
