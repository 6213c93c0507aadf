package actors

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// How much is kept and shown of texts that guests make, in bytes: they may be as
// long as a guest's memory, and there are many.
const (
	reasonKept = 4 << 10
	topicKept  = 256
	frameKept  = 256 // of a stack
)

// maxAnswer is how long an interceptor's answer may be, in bytes: open triggers
// hold the answers to all their legs.
const maxAnswer = 4 << 20

// shortened is a guest's text, or its first most bytes and how much it had.
func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	n := most
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return fmt.Sprintf("%s … (%d bytes in all)", text[:n], len(text))
}

// shortStack is a guest's stack, whose names are the module's own.
func shortStack(frames []string) []string {
	short := make([]string, len(frames))
	for i, frame := range frames {
		short[i] = strings.Clone(shortened(frame, frameKept)) // and not the text that it is a part of
	}
	return short
}
