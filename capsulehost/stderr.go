package capsulehost

import (
	"regexp"
	"strings"
)

const (
	stderrKept  = 32 << 10 // bytes: Go says why it panics before a trace of up to so many
	stderrShown = 4 << 10  // bytes
)

// stderr keeps the end of what a guest writes to its standard error.
type stderr struct{ kept []byte }

// Write never fails.
func (s *stderr) Write(p []byte) (int, error) {
	n := len(p)
	p = p[max(0, n-stderrKept):]
	if over := len(s.kept) + len(p) - stderrKept; over > stderrKept { // now and then
		s.kept = append(s.kept[:0], s.kept[over:]...)
	}
	s.kept = append(s.kept, p...)
	return n, nil
}

// panicLine is how Go and Rust begin to say that something is broken.
var panicLine = regexp.MustCompile(`(?m)^(panic: |fatal error: |thread .* panicked at ).*$`)

// end is what the guest wrote last, and its one line that says most. Where it
// panicked that is where the text begins, else where it ends.
func (s *stderr) end() (text, word string) {
	text = strings.TrimRight(lossy(s.kept[max(0, len(s.kept)-stderrKept):]), "\n ")
	if panics := panicLine.FindAllStringIndex(text, -1); panics != nil {
		last := panics[len(panics)-1]
		word, text = text[last[0]:last[1]], text[last[0]:]
		if strings.HasSuffix(word, ":") { // Rust's message is on the next line
			message, _, _ := strings.Cut(strings.TrimPrefix(text[len(word):], "\n"), "\n")
			word += " " + message
		}
		return lossy([]byte(text[:min(len(text), stderrShown)])), word
	}
	text = lossy([]byte(text[max(0, len(text)-stderrShown):]))
	return text, lastLine(text)
}
