package capsulehost

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxJSONDepth is how deep JSON may nest: the reference's parser's limit.
const maxJSONDepth = 127

// CompactJSON returns b as the reference hands JSON on, which is parsed and
// printed again: without spaces, the keys of objects sorted by their bytes, of a
// key that is given twice the last value, strings with the fewest escapes,
// numbers as integers of 64 bits where they are some and else as the shortest
// text of the nearest float64 (1e2 is 100.0), where the reference's own parser
// may be one off in the last of 17 digits. So equal values have equal bytes, and
// no two readers can disagree about a repeated key.
//
// It refuses what the reference's parser refuses, some of which encoding/json
// takes: invalid UTF-8, half a surrogate pair, a number outside of float64, and
// more than 127 levels.
func CompactJSON(b []byte) ([]byte, error) {
	r := jsonReader{in: b}
	out, err := r.value(make([]byte, 0, len(b)))
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// jsonReader reads JSON from the front.
type jsonReader struct {
	in    []byte
	at    int
	depth int
}

// value appends the value that comes next, as CompactJSON prints it.
func (r *jsonReader) value(out []byte) ([]byte, error) {
	switch c := r.peek(); {
	case c == '{':
		return r.object(out)
	case c == '[':
		out = append(out, '[')
		err := r.list('[', ']', func(n int) (err error) {
			if n > 0 {
				out = append(out, ',')
			}
			out, err = r.value(out)
			return err
		})
		return append(out, ']'), err
	case c == '"':
		text, err := r.text()
		return appendJSONString(out, text), err
	case c == '-' || isDigit(c):
		return r.number(out)
	default:
		word, err := r.word()
		return append(out, word...), err
	}
}

// list reads what stands between two brackets, separated by commas: item reads
// the nth.
func (r *jsonReader) list(open, end byte, item func(n int) error) error {
	if r.peek() != open {
		return r.unexpected(strconv.QuoteRune(rune(open)))
	}
	if r.depth++; r.depth > maxJSONDepth {
		return r.problem("nested deeper than %d levels", maxJSONDepth)
	}
	r.at++
	for n := 0; ; n++ {
		c := r.peek()
		if c == end && n == 0 {
			break
		}
		if err := item(n); err != nil {
			return err
		}
		if c = r.peek(); c == end {
			break
		}
		if c != ',' {
			return r.unexpected("a comma or " + strconv.QuoteRune(rune(end)))
		}
		r.at++
	}
	r.at++
	r.depth--
	return nil
}

// members reads an object: member is called with each key, and reads its value.
func (r *jsonReader) members(member func(n int, key string) error) error {
	return r.list('{', '}', func(n int) error {
		if r.peek() != '"' {
			return r.unexpected("a key")
		}
		key, err := r.text()
		if err != nil {
			return err
		}
		if r.peek() != ':' {
			return r.unexpected("a colon")
		}
		r.at++
		return member(n, key)
	})
}

// printed is where a member of an object stands in the output.
type printed struct {
	key      string
	from, to int
}

func (r *jsonReader) object(out []byte) ([]byte, error) {
	var all []printed
	inOrder := true
	out = append(out, '{')
	begin := len(out)
	err := r.members(func(n int, key string) (err error) {
		if n > 0 {
			out = append(out, ',')
			inOrder = inOrder && all[n-1].key < key
		}
		from := len(out)
		out = append(appendJSONString(out, key), ':')
		out, err = r.value(out)
		all = append(all, printed{key, from - begin, len(out) - begin})
		return err
	})
	if err == nil && !inOrder {
		out = sortMembers(out[:begin], bytes.Clone(out[begin:]), all)
	}
	return append(out, '}'), err
}

// sortMembers appends the members that stand in text, sorted by key; the last of
// each key.
func sortMembers(out, text []byte, all []printed) []byte {
	slices.SortStableFunc(all, func(a, b printed) int { return strings.Compare(a.key, b.key) })
	first := true
	for n, m := range all {
		if n+1 < len(all) && all[n+1].key == m.key {
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
func (r *jsonReader) number(out []byte) ([]byte, error) {
	text, whole, err := r.digits()
	if err != nil {
		return out, err
	}
	if whole && text != "-0" { // which only a float can be
		_, signed := strconv.ParseInt(text, 10, 64)
		_, unsigned := strconv.ParseUint(text, 10, 64)
		if signed == nil || unsigned == nil {
			return append(out, text...), nil
		}
	}
	f, _ := strconv.ParseFloat(text, 64) // its one error is an infinity
	if math.IsInf(f, 0) {
		r.at -= len(text)
		return out, r.problem("number out of range")
	}
	return appendFloat(out, f), nil
}

// appendJSONString appends s, which is UTF-8, as JSON text with no more escapes
// than JSON asks for.
func appendJSONString(out []byte, s string) []byte {
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

// appendFloat appends a finite number with a fraction or an exponent, so that it
// reads as a float again.
func appendFloat(out []byte, f float64) []byte {
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
