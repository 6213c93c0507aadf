package serdejson

import "iter"

// Members yields the members of an object in the form of Compact, in order: each key as
// it is written, without its quotes, and its value. It yields nothing for other values.
func Members(compact []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		if len(compact) < len("{}") || compact[0] != '{' {
			return
		}
		for at := 1; compact[at] != '}'; {
			key := width(compact[at:])
			from := at + key + len(":")
			n := width(compact[from:])
			if !yield(string(compact[at+1:at+key-1]), compact[from:from+n]) {
				return
			}
			if at = from + n; compact[at] == ',' {
				at++
			}
		}
	}
}

// Elements yields the elements of an array in the form of Compact, in order. It yields
// nothing for other values.
func Elements(compact []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if len(compact) < len("[]") || compact[0] != '[' {
			return
		}
		for at := 1; compact[at] != ']'; {
			n := width(compact[at:])
			if !yield(compact[at : at+n]) {
				return
			}
			if at += n; compact[at] == ',' {
				at++
			}
		}
	}
}

// width returns the length of the first value in compact, valid JSON text.
func width(compact []byte) int {
	depth, inText := 0, false
	for n := 0; n < len(compact); n++ {
		switch c := compact[n]; {
		case inText && c == '\\':
			n++
		case c == '"':
			inText = !inText
			if !inText && depth == 0 {
				return n + 1
			}
		case inText:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth == 0 {
				return n // the end of a number or a word
			}
			if depth--; depth == 0 {
				return n + 1
			}
		case c == ',' && depth == 0:
			return n
		}
	}
	return len(compact)
}
