package serdejson

import "encoding/binary"

// plainDepth is the maximum nesting of plain JSON. Deeper text is parsed.
const plainDepth = 16

// plain returns the length of the JSON value at the start of b if it certainly has the
// form of Compact, and its text is plain: ASCII without escapes, and integers of at most
// 18 digits. Most of what capsules exchange is. It returns 0 for anything else, including
// text that is not JSON.
func plain(b []byte, depth int) int {
	if len(b) == 0 {
		return 0
	}
	switch c := b[0]; {
	case c == '{' || c == '[':
		if depth == plainDepth {
			return 0
		}
		return plainList(b, depth+1)
	case c == '"':
		return plainText(b)
	case c == '-' || isDigit(c):
		return plainInteger(b)
	case len(b) >= 4 && (string(b[:4]) == "null" || string(b[:4]) == "true"):
		return 4
	case len(b) >= 5 && string(b[:5]) == "false":
		return 5
	}
	return 0
}

// plainList is plain for an object, whose keys must rise, or an array.
func plainList(b []byte, depth int) int {
	end := b[0] + 2 // in ASCII, } is { plus 2, and ] is [ plus 2
	if len(b) > 1 && b[1] == end {
		return 2
	}
	var last []byte // the last key
	for at := 1; ; at++ {
		if end == '}' {
			n := plainText(b[at:])
			if n == 0 || at+n == len(b) || b[at+n] != ':' {
				return 0
			}
			key := b[at+1 : at+n-1]
			if string(key) <= string(last) && last != nil {
				return 0
			}
			last, at = key, at+n+1
		}
		n := plain(b[at:], depth)
		if at += n; n == 0 || at == len(b) {
			return 0
		}
		switch b[at] {
		case end:
			return at + 1
		case ',':
		default:
			return 0
		}
	}
}

// plainText is plain for a string.
func plainText(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	n := 1
	for n+8 <= len(b) && isPlainWord(binary.LittleEndian.Uint64(b[n:])) {
		n += 8
	}
	for ; n < len(b); n++ {
		switch c := b[n]; {
		case c == '"':
			return n + 1
		case c < ' ' || c == '\\' || c >= 0x80:
			return 0
		}
	}
	return 0
}

// isPlainWord reports whether all of eight bytes are plain text inside a string. In each
// term, the highest bit of a byte is set if that byte, or a lower one, is not: below a space,
// a quote, a backslash, or not ASCII.
func isPlainWord(w uint64) bool {
	const ones, highest = 0x0101010101010101, 0x8080808080808080
	quote, backslash := w^(ones*'"'), w^(ones*'\\')
	return ((w-ones*' ')|(quote-ones)|(backslash-ones)|w)&highest == 0
}

// plainInteger is plain for a number.
func plainInteger(b []byte) int {
	digits := b
	if b[0] == '-' {
		digits = b[1:]
	}
	n := 0
	for n < len(digits) && isDigit(digits[n]) {
		n++
	}
	switch {
	case n == 0 || n > 18,
		digits[0] == '0' && (n > 1 || len(digits) < len(b)), // a leading zero, or -0
		n < len(digits) && (digits[n] == '.' || digits[n]|0x20 == 'e'):
		return 0
	}
	return len(b) - len(digits) + n
}
