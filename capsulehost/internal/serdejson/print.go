package serdejson

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// maxDepth is the maximum nesting of JSON, the same as in the reference's parser.
const maxDepth = 127

// Compact returns b, or a copy, parsed and printed again. The result has no spaces. Object
// keys are sorted by their bytes; of a repeated key, the last value counts. Strings have the
// fewest escapes. Numbers are 64-bit integers if possible, or else the shortest text of the
// nearest float64 (1e2 becomes 100.0); the reference's own parser may differ by one in the
// last of 17 digits. So equal values have equal bytes, and all readers agree on repeated
// keys.
//
// It refuses the same input as the reference's parser, some of which encoding/json accepts:
// invalid UTF-8, half a surrogate pair, a number outside the range of float64, and more than
// 127 levels.
func Compact(b []byte) ([]byte, error) {
	if len(b) > 0 && plain(b, 0) == len(b) {
		return b, nil
	}
	r, _ := readers.Get().(*reader)
	defer r.free()
	r.in = b
	var err error
	if r.out, err = r.value(r.out); err == nil {
		err = r.end()
	}
	switch {
	case err != nil:
		return nil, err
	case bytes.Equal(r.out, b):
		return b, nil
	default:
		return bytes.Clone(r.out), nil
	}
}

// readers pools readers with their output buffers: much JSON is already compact, so Compact
// then allocates nothing.
var readers = sync.Pool{New: func() any { return &reader{} }} //nolint:gochecknoglobals // a pool is shared by design

// Limits for a reader to return to the pool, in bytes and in object members.
const (
	bytesKept   = 64 << 10
	membersKept = 64
)

// free returns a reader to the pool, without references to its input.
func (r *reader) free() {
	if cap(r.out) > bytesKept || cap(r.open) > membersKept {
		return
	}
	clear(r.open[:cap(r.open)])
	*r = reader{open: r.open[:0], out: r.out[:0]}
	readers.Put(r)
}

// reader parses JSON from left to right.
type reader struct {
	in    []byte
	at    int
	depth int
	open  []printed // members of the open objects
	out   []byte    // the output of Compact
}

// printed is an object member's position in the output.
type printed struct {
	key      []byte
	from, to int
}

// value appends the next value in the form of Compact.
func (r *reader) value(out []byte) ([]byte, error) {
	switch c := r.peek(); {
	case c == '{':
		return r.object(out)
	case c == '[':
		return r.array(out)
	case c == '"':
		text, err := r.text()
		return AppendString(out, text), err
	case c == '-' || isDigit(c):
		return r.number(out)
	default:
		word, err := r.word()
		return append(out, word...), err
	}
}

func (r *reader) array(out []byte) ([]byte, error) {
	out = append(out, '[')
	if err := r.enter(); err != nil {
		return out, err
	}
	for n := 0; ; n++ {
		more, err := r.next(n, ']')
		if err != nil || !more {
			return append(out, ']'), err
		}
		if n > 0 {
			out = append(out, ',')
		}
		if out, err = r.value(out); err != nil {
			return out, err
		}
	}
}

func (r *reader) object(out []byte) ([]byte, error) {
	out = append(out, '{')
	if err := r.enter(); err != nil {
		return out, err
	}
	begin, mine, inOrder := len(out), len(r.open), true
	for n := 0; ; n++ {
		more, err := r.next(n, '}')
		if err != nil {
			return out, err
		}
		if !more {
			break
		}
		if n > 0 {
			out = append(out, ',')
		}
		key, err := r.key()
		if err != nil {
			return out, err
		}
		inOrder = inOrder && (n == 0 || bytes.Compare(r.open[len(r.open)-1].key, key) < 0)
		from := len(out)
		out = append(AppendString(out, key), ':')
		if out, err = r.value(out); err != nil {
			return out, err
		}
		r.open = append(r.open, printed{key, from - begin, len(out) - begin})
	}
	if !inOrder {
		out = sortMembers(out[:begin], bytes.Clone(out[begin:]), r.open[mine:])
	}
	r.open = r.open[:mine]
	return append(out, '}'), nil
}

// sortMembers appends the members in text, sorted by key; of a repeated key, only the last.
func sortMembers(out, text []byte, all []printed) []byte {
	slices.SortStableFunc(all, func(a, b printed) int { return bytes.Compare(a.key, b.key) })
	first := true
	for n, m := range all {
		if n+1 < len(all) && bytes.Equal(all[n+1].key, m.key) {
			continue
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = append(out, text[m.from:m.to]...)
	}
	return out
}

// number appends the next number.
func (r *reader) number(out []byte) ([]byte, error) {
	text, whole, err := r.digits()
	if err != nil {
		return out, err
	}
	if whole && isInteger(text) {
		return append(out, text...), nil
	}
	f, _ := strconv.ParseFloat(string(text), 64) // its only error is an overflow to infinity
	if math.IsInf(f, 0) {
		r.at -= len(text)
		return out, r.problem("number out of range")
	}
	return AppendFloat(out, f), nil
}

// AppendNumber appends a number given as JSON text: an integer of up to 64 bits unchanged,
// any other as a float.
func AppendNumber(out []byte, number string) []byte {
	if !strings.ContainsAny(number, ".eE") && isInteger([]byte(number)) {
		return append(out, number...)
	}
	f, _ := strconv.ParseFloat(number, 64)
	return AppendFloat(out, f)
}

// isInteger reports whether a number without fraction and exponent fits in 64 bits.
func isInteger(text []byte) bool {
	if len(text) < 19 {
		return string(text) != "-0" // -0 exists only as a float
	}
	_, signed := strconv.ParseInt(string(text), 10, 64)
	_, unsigned := strconv.ParseUint(string(text), 10, 64)
	return signed == nil || unsigned == nil
}

// AppendString appends s, which must be UTF-8, as JSON text with only the required escapes.
func AppendString[T string | []byte](out []byte, s T) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	from := 0
	for n := range len(s) {
		c := s[n]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		out = append(out, s[from:n]...)
		from = n + 1
		switch c {
		case '"', '\\':
			out = append(out, '\\', c)
		case '\b':
			out = append(out, `\b`...)
		case '\f':
			out = append(out, `\f`...)
		case '\n':
			out = append(out, `\n`...)
		case '\r':
			out = append(out, `\r`...)
		case '\t':
			out = append(out, `\t`...)
		default:
			out = append(out, `\u00`...)
			out = append(out, hex[c>>4], hex[c&15])
		}
	}
	return append(append(out, s[from:]...), '"')
}

// AppendFloat appends the shortest text for f, with a fraction or an exponent, so that it is
// read as a float again. Infinities and NaN become null, since JSON has neither.
func AppendFloat(out []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(out, "null"...)
	}
	from := len(out)
	if size := math.Abs(f); size == 0 || size >= 1e-5 && size < 1e16 {
		out = strconv.AppendFloat(out, f, 'f', -1, 64)
		if bytes.IndexByte(out[from:], '.') < 0 {
			out = append(out, ".0"...)
		}
		return out
	}
	text := strconv.FormatFloat(f, 'e', -1, 64) // the exponent has at least two digits
	digits, exponent, _ := strings.Cut(text, "e")
	out = append(append(out, digits...), 'e', exponent[0])
	return append(out, strings.TrimLeft(exponent[1:], "0")...)
}
