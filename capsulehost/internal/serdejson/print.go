package serdejson

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// maxDepth is how deep JSON may nest: the reference's parser's limit.
const maxDepth = 127

// Compact returns b, or a copy, parsed and printed again: without spaces, the keys of objects sorted by their bytes, of a
// key that is given twice the last value, strings with the fewest escapes,
// numbers as integers of 64 bits where they are some and else as the shortest
// text of the nearest float64 (1e2 is 100.0), where the reference's own parser
// may be one off in the last of 17 digits. So equal values have equal bytes, and
// no two readers can disagree about a repeated key.
//
// It refuses what the reference's parser refuses, some of which encoding/json
// takes: invalid UTF-8, half a surrogate pair, a number outside of float64, and
// more than 127 levels.
func Compact(b []byte) ([]byte, error) {
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

// readers are kept with what they print into: most JSON is found to be compact
// already, and nothing new is needed.
var readers = sync.Pool{New: func() any { return &reader{} }} //nolint:gochecknoglobals // a pool is one for all

// What a reader may keep, in bytes and in members of objects.
const (
	bytesKept   = 64 << 10
	membersKept = 64
)

// free gives a reader back, without what it has read.
func (r *reader) free() {
	if cap(r.out) > bytesKept || cap(r.open) > membersKept {
		return
	}
	clear(r.open[:cap(r.open)])
	*r = reader{open: r.open[:0], out: r.out[:0]}
	readers.Put(r)
}

// reader reads JSON from the front.
type reader struct {
	in    []byte
	at    int
	depth int
	open  []printed // the members of the objects that are being read
	out   []byte    // what Compact prints
}

// printed is where a member of an object stands in the output.
type printed struct {
	key      []byte
	from, to int
}

// value appends the value that comes next, as Compact prints it.
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

// sortMembers appends the members that stand in text, sorted by key; the last of
// each key.
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

// number appends a number.
func (r *reader) number(out []byte) ([]byte, error) {
	text, whole, err := r.digits()
	if err != nil {
		return out, err
	}
	if whole && isInteger(text) {
		return append(out, text...), nil
	}
	f, _ := strconv.ParseFloat(string(text), 64) // its one error is an infinity
	if math.IsInf(f, 0) {
		r.at -= len(text)
		return out, r.problem("number out of range")
	}
	return AppendFloat(out, f), nil
}

// AppendNumber appends a number that is JSON text already: an integer of up to 64
// bits as it is, any other as a float.
func AppendNumber(out []byte, number string) []byte {
	if !strings.ContainsAny(number, ".eE") && isInteger([]byte(number)) {
		return append(out, number...)
	}
	f, _ := strconv.ParseFloat(number, 64)
	return AppendFloat(out, f)
}

// isInteger says whether a number without a fraction or an exponent has 64 bits.
func isInteger(text []byte) bool {
	if len(text) < 19 {
		return string(text) != "-0" // which only a float can be
	}
	_, signed := strconv.ParseInt(string(text), 10, 64)
	_, unsigned := strconv.ParseUint(string(text), 10, 64)
	return signed == nil || unsigned == nil
}

// AppendString appends s, which must be UTF-8, as JSON text with no more escapes
// than JSON asks for.
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

// AppendFloat appends the shortest digits that mean f, with a fraction or an
// exponent, so that it reads as a float again. JSON has no infinities: they are null.
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
	text := strconv.FormatFloat(f, 'e', -1, 64) // with two digits of exponent or more
	digits, exponent, _ := strings.Cut(text, "e")
	out = append(append(out, digits...), 'e', exponent[0])
	return append(out, strings.TrimLeft(exponent[1:], "0")...)
}
