package capsulehost

import "strings"

// Limits of topics and patterns on the event bus.
const (
	MaxTopicBytes    = 256
	MaxTopicSegments = 8
)

// ValidTopic reports whether a topic, or a pattern, is well formed: dot-separated
// segments, none of them empty. A malformed one matches nothing.
func ValidTopic(topic string) bool {
	if topic == "" {
		return false
	}
	for segment := range strings.SplitSeq(topic, ".") {
		if segment == "" {
			return false
		}
	}
	return true
}

// isPlainTopic reports whether a topic is certainly fit to publish to: ASCII within the
// limits. It looks once at each byte, as every publisher does it; any other topic needs the
// whole check.
func isPlainTopic(topic string) bool {
	if len(topic) > MaxTopicBytes {
		return false
	}
	segments, before := 1, byte('.')
	for n := range len(topic) {
		c := topic[n]
		switch {
		case c >= 0x80, c == '.' && before == '.':
			return false
		case c == '.':
			segments++
		}
		before = c
	}
	return before != '.' && segments <= MaxTopicSegments
}

// TopicMatches reports whether a topic matches a pattern of an interceptor or of a
// grant: both have the same number of segments, and `*` matches any one.
func TopicMatches(topic, pattern string) bool {
	for ValidTopic(topic) {
		t, topicRest, moreTopic := strings.Cut(topic, ".")
		p, patternRest, morePattern := strings.Cut(pattern, ".")
		if p == "" || p != "*" && p != t || moreTopic != morePattern {
			return false
		}
		if !moreTopic {
			return true
		}
		topic, pattern = topicRest, patternRest
	}
	return false
}
