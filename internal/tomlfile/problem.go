package tomlfile

import (
	"strconv"
	"strings"
)

// Problem is one fault in one file.
type Problem struct {
	File    string
	Line    int    // from 1; 0 if the fault concerns the whole file
	Key     string // in TOML's notation, `package.name`; "" if there is none
	Message string
}

// String returns one line: "file:line: key: message".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		b.WriteByte(':')
		b.WriteString(strconv.Itoa(p.Line))
	}
	if p.Key != "" {
		b.WriteString(": ")
		b.WriteString(p.Key)
	}
	b.WriteString(": ")
	b.WriteString(p.Message)
	return b.String()
}

// Error returns the same as String.
func (p Problem) Error() string { return p.String() }

// Problems lists all faults, in the order of their lines. A non-nil error of this type is
// never empty.
type Problems []Problem

// Error returns one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}
