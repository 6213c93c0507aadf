package capsulehost

import (
	"bytes"
	"regexp"
	"strings"
)

// shown is the maximum number of bytes of a guest's output in a Failure.
const shown = 4 << 10

// capture keeps two parts of a guest's output on a standard stream: its end, and the
// part that starts at the first panic message of a call. A stack trace may be long
// enough to push the message out of the end.
type capture struct {
	tail []byte
	head []byte // starts at the panic message; nil if there is none
	line []byte // start of the current line, while head is nil
}

// newCall drops the panic message of an earlier call, from which the guest recovered.
func (c *capture) newCall() {
	c.head, c.line = nil, c.line[:0]
}

// Write never returns an error.
func (c *capture) Write(p []byte) (int, error) {
	rest := p
	for c.head == nil && len(rest) > 0 {
		line, _, ended := bytes.Cut(rest, []byte{'\n'})
		c.line = append(c.line, line[:min(len(line), shown-len(c.line))]...)
		if !ended {
			rest = nil
			break
		}
		rest = rest[len(line):]
		if panicLine.Match(c.line) {
			c.head, c.line = c.line, nil
			break
		}
		rest, c.line = rest[1:], c.line[:0]
	}
	c.head = append(c.head, rest[:max(0, min(len(rest), shown-len(c.head)))]...)

	end := p[max(0, len(p)-shown):]
	if over := len(c.tail) + len(end) - shown; over > shown { // only now and then
		c.tail = append(c.tail[:0], c.tail[over:]...)
	}
	c.tail = append(c.tail, end...)
	return len(p), nil
}

// panicLine matches the first line of a Go or Rust panic message.
var panicLine = regexp.MustCompile(`^(panic: |fatal error: |fatal: |thread .* panicked at )`)

// end returns the guest's last output, and its most informative line. If the guest
// panicked, the text starts at the panic message.
func (c *capture) end() (text, word string) {
	head := c.head
	if head == nil && panicLine.Match(c.line) {
		head = c.line
	}
	if head != nil {
		text = lossy(head)
		text = strings.TrimRight(strings.ToValidUTF8(text[:min(len(text), shown)], ""), "\n ")
		word, rest, _ := strings.Cut(text, "\n")
		if strings.HasSuffix(word, ":") { // Rust puts the message on the next line
			message, _, _ := strings.Cut(rest, "\n")
			word += " " + message
		}
		return text, word
	}
	text = strings.TrimRight(lossy(c.tail[max(0, len(c.tail)-shown):]), "\n ")
	text = strings.ToValidUTF8(text[max(0, len(text)-shown):], "") // replacing invalid bytes made it longer
	return text, lastLine(text)
}
