package capsulehost

import (
	"bytes"
	"regexp"
	"strings"
)

// shown is the most bytes of a guest's output that a Failure shows.
const shown = 4 << 10

// capture keeps two parts of what a guest writes to a standard stream: its end, and
// what follows the first line of a call that says why the guest panics. A trace may be
// of any length.
type capture struct {
	tail []byte
	head []byte // from the line that says why; nil where none did
	line []byte // the beginning of the line that is being written, while there is no head
}

// newCall forgets why the guest panicked in an earlier call: it has recovered.
func (c *capture) newCall() {
	c.head, c.line = nil, c.line[:0]
}

// Write never fails.
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
	if over := len(c.tail) + len(end) - shown; over > shown { // now and then
		c.tail = append(c.tail[:0], c.tail[over:]...)
	}
	c.tail = append(c.tail, end...)
	return len(p), nil
}

// panicLine is how Go and Rust begin to say that something is broken.
var panicLine = regexp.MustCompile(`^(panic: |fatal error: |fatal: |thread .* panicked at )`)

// end is what the guest wrote last, and its one line that says most. Where it
// panicked that is where the text begins, else where it ends.
func (c *capture) end() (text, word string) {
	head := c.head
	if head == nil && panicLine.Match(c.line) {
		head = c.line
	}
	if head != nil {
		text = lossy(head)
		text = strings.TrimRight(strings.ToValidUTF8(text[:min(len(text), shown)], ""), "\n ")
		word, rest, _ := strings.Cut(text, "\n")
		if strings.HasSuffix(word, ":") { // Rust's message is on the next line
			message, _, _ := strings.Cut(rest, "\n")
			word += " " + message
		}
		return text, word
	}
	text = strings.TrimRight(lossy(c.tail[max(0, len(c.tail)-shown):]), "\n ")
	text = strings.ToValidUTF8(text[max(0, len(text)-shown):], "") // it had become longer
	return text, lastLine(text)
}
