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

// TopicMatches reports whether a topic matches a pattern of an interceptor or of a
// grant: both have the same number of segments, and `*` matches any one.
func TopicMatches(topic, pattern string) bool {
	return ValidTopic(topic) && matchSegments(topic, pattern, false)
}

// SubscriptionMatches reports whether a topic matches the pattern of a subscription:
// as TopicMatches, but a `*` at the end, after another segment, matches one or more.
func SubscriptionMatches(topic, pattern string) bool {
	if prefix, ok := strings.CutSuffix(pattern, ".*"); ok {
		return ValidTopic(topic) && matchSegments(topic, prefix, true)
	}
	return TopicMatches(topic, pattern)
}

// matchSegments compares segment by segment. With deeper, the topic must have more
// segments than the pattern.
func matchSegments(topic, pattern string, deeper bool) bool {
	for {
		t, topicRest, moreTopic := strings.Cut(topic, ".")
		p, patternRest, morePattern := strings.Cut(pattern, ".")
		switch {
		case p == "" || p != "*" && p != t:
			return false
		case !morePattern:
			return moreTopic == deeper
		case !moreTopic:
			return false
		}
		topic, pattern = topicRest, patternRest
	}
}
