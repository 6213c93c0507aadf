package serdejson

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

func (r *reader) problem(format string, args ...any) error {
	return fmt.Errorf("%s at byte %d", fmt.Sprintf(format, args...), r.at)
}

// peek skips spaces and returns the next byte, or 0 at the end.
func (r *reader) peek() byte {
	for ; r.at < len(r.in); r.at++ {
		switch c := r.in[r.at]; c {
		case ' ', '\n', '\t', '\r':
		default:
			return c
		}
	}
	return 0
}

// unexpected returns an error for the next character, which is not the wanted one.
func (r *reader) unexpected(wanted string) error {
	if r.at >= len(r.in) {
		return r.problem("the text ends where %s should be,", wanted)
	}
	c, _ := utf8.DecodeRune(r.in[r.at:])
	return r.problem("%q where %s should be,", c, wanted)
}

// end checks that only spaces follow.
func (r *reader) end() error {
	if r.peek(); r.at < len(r.in) {
		return r.unexpected("the end")
	}
	return nil
}

// enter reads the next byte, an opening bracket.
func (r *reader) enter() error {
	if r.depth++; r.depth > maxDepth {
		return r.problem("nested deeper than %d levels", maxDepth)
	}
	r.at++
	return nil
}

// next reads the separator before the nth element of a list: nothing or a comma. At the end
// of the list it reads the closing bracket and returns false.
func (r *reader) next(n int, end byte) (more bool, err error) {
	switch c := r.peek(); {
	case c == end:
		r.at++
		r.depth--
		return false, nil
	case n == 0:
		return true, nil
	case c != ',':
		return false, r.unexpected("a comma or " + strconv.QuoteRune(rune(end)))
	}
	r.at++
	if r.peek() == end {
		return false, r.unexpected("something")
	}
	return true, nil
}

// key reads a member's key and the colon.
func (r *reader) key() ([]byte, error) {
	if r.peek() != '"' {
		return nil, r.unexpected("a key")
	}
	key, err := r.text()
	if err != nil {
		return nil, err
	}
	if r.peek() != ':' {
		return nil, r.unexpected("a colon")
	}
	r.at++
	return key, nil
}

// word reads null, true or false.
func (r *reader) word() (string, error) {
	for _, word := range []string{"null", "true", "false"} {
		if bytes.HasPrefix(r.in[r.at:], []byte(word)) {
			r.at += len(word)
			return word, nil
		}
	}
	return "", r.unexpected("a value")
}

// digits reads a number's text; whole reports whether it has neither a fraction nor an
// exponent.
func (r *reader) digits() (text []byte, whole bool, err error) {
	from := r.at
	if r.here() == '-' {
		r.at++
	}
	if r.here() == '0' {
		if r.at++; isDigit(r.here()) {
			return nil, false, r.problem("a number with a leading zero")
		}
	} else if err := r.someDigits(); err != nil {
		return nil, false, err
	}
	whole = true
	if r.here() == '.' {
		r.at++
		if whole, err = false, r.someDigits(); err != nil {
			return nil, false, err
		}
	}
	if c := r.here(); c == 'e' || c == 'E' {
		if r.at++; r.here() == '+' || r.here() == '-' {
			r.at++
		}
		if whole, err = false, r.someDigits(); err != nil {
			return nil, false, err
		}
	}
	return r.in[from:r.at], whole, nil
}

func (r *reader) someDigits() error {
	if !isDigit(r.here()) {
		return r.unexpected("a digit")
	}
	for isDigit(r.here()) {
		r.at++
	}
	return nil
}

// here returns the next byte without skipping spaces, or 0 at the end.
func (r *reader) here() byte {
	if r.at < len(r.in) {
		return r.in[r.at]
	}
	return 0
}

// text reads a string. A string without escapes is a slice of the input.
func (r *reader) text() ([]byte, error) {
	r.at++ // the quote
	from := r.at
	var unescaped []byte // the text before the last escape
	for ; r.at < len(r.in); r.at++ {
		c := r.in[r.at]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		plain := r.in[from:r.at]
		if !utf8.Valid(plain) {
			return nil, r.problem("invalid UTF-8 in the string")
		}
		switch c {
		case '"':
			r.at++
			if unescaped == nil {
				return plain, nil
			}
			return append(unescaped, plain...), nil
		case '\\':
			c, err := r.escape()
			if err != nil {
				return nil, err
			}
			unescaped = utf8.AppendRune(append(unescaped, plain...), c)
			from = r.at + 1
		default:
			return nil, r.problem("control character %q in a string", rune(c))
		}
	}
	return nil, r.problem("a string has no end:")
}

// escape reads an escape sequence, up to its last byte.
func (r *reader) escape() (rune, error) {
	r.at++
	switch c := r.here(); c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
	default:
		return 0, r.unexpected("an escape")
	}
	c, ok := r.unit(r.at)
	if !ok {
		return 0, r.problem("four hexadecimal digits are missing")
	}
	if utf16.IsSurrogate(c) {
		low, ok := r.unit(r.at + 6)
		if c = utf16.DecodeRune(c, low); !ok || r.in[r.at+5] != '\\' || c == utf8.RuneError {
			return 0, r.problem("lone surrogate")
		}
		r.at += 6
	}
	r.at += 4
	return c, nil
}

// unit reads the code unit after the u at the given position.
func (r *reader) unit(at int) (rune, bool) {
	if at+5 > len(r.in) || r.in[at] != 'u' {
		return 0, false
	}
	unit := rune(0)
	for _, c := range r.in[at+1 : at+5] {
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		unit = unit<<4 | rune(c)
	}
	return unit, true
}

// skip reads a value and discards it. Like the reference, it checks only the grammar of such
// a value: its nesting is unlimited, its numbers may be infinite, its strings invalid UTF-8.
func (r *reader) skip() error {
	var open []byte // the open brackets
	for {
		switch c := r.peek(); {
		case c == '{' || c == '[':
			open = append(open, c)
			r.at++
			if r.peek() != c+2 { // in ASCII, } is { plus 2, and ] is [ plus 2
				if err := r.skipKey(c); err != nil {
					return err
				}
				continue
			}
			open = open[:len(open)-1]
			r.at++
		case c == '"':
			if err := r.skipText(); err != nil {
				return err
			}
		case c == '-' || isDigit(c):
			if _, _, err := r.digits(); err != nil {
				return err
			}
		default:
			if _, err := r.word(); err != nil {
				return err
			}
		}
		// A value has ended; close all lists that end here.
		for len(open) > 0 && r.peek() == open[len(open)-1]+2 {
			open = open[:len(open)-1]
			r.at++
		}
		if len(open) == 0 {
			return nil
		}
		if r.peek() != ',' {
			return r.unexpected("a comma or an end")
		}
		r.at++
		if err := r.skipKey(open[len(open)-1]); err != nil {
			return err
		}
	}
}

// skipKey reads a member's key and the colon if open is an object's bracket.
func (r *reader) skipKey(open byte) error {
	if open != '{' {
		return nil
	}
	if r.peek() != '"' {
		return r.unexpected("a key")
	}
	if err := r.skipText(); err != nil {
		return err
	}
	if r.peek() != ':' {
		return r.unexpected("a colon")
	}
	r.at++
	return nil
}

func (r *reader) skipText() error {
	for r.at++; r.at < len(r.in); r.at++ {
		switch c := r.in[r.at]; {
		case c == '"':
			r.at++
			return nil
		case c < ' ':
			return r.problem("control character %q in a string", rune(c))
		case c == '\\':
			r.at++
			if c := r.here(); c == 'u' {
				if _, ok := r.unit(r.at); !ok {
					return r.problem("four hexadecimal digits are missing")
				}
				r.at += 4
			} else if !strings.ContainsRune(`"\/bfnrt`, rune(c)) || c == 0 {
				return r.unexpected("an escape")
			}
		}
	}
	return r.problem("a string has no end:")
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
