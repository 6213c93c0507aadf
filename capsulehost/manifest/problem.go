package manifest

import (
	"strconv"
	"strings"
)

// Problem is one thing that is wrong in one file.
type Problem struct {
	File    string
	Line    int    // from 1; 0 where the fault is the whole file's
	Key     string // as TOML writes it, `package.name`; "" where it has none
	Message string
}

// String is one line: "file:line: key: message".
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

// Error is the same line.
func (p Problem) Error() string { return p.String() }

// Problems is everything that is wrong, in the order of the lines. As an error
// it is never empty.
type Problems []Problem

// Error is one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}
