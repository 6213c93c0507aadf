package manifest

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/tomlfile"
)

// topics reads each [[topic]]. In astrid-capsule it describes a topic; here it may also
// say that the topic is durable.
func (r *reader) topics(root *tomlfile.Node, m *Manifest) {
	m.Topics = r.durableTopics(root, MaxTopicBytes)
	for n, t := range r.topicTables(root) {
		name := t.Keys()["name"]
		switch durable := t.Keys()["durable"]; {
		case durable == nil || durable.Text != "true" || name == nil:
		case n >= MaxTopics:
			r.Wrong(t, "is one too many: a capsule has at most %d", MaxTopics)
		case !granted(name.Text, m.Capabilities.IPCPublish):
			r.Wrong(name, "is %q, and a capsule declares topics that its ipc_publish grants; an operator can declare any", name.Text)
		}
	}
}

func granted(topic string, patterns []string) bool {
	for _, p := range patterns {
		if capsulehost.TopicMatches(topic, p) {
			return true
		}
	}
	return false
}

// ReadTopics reads each [[topic]] of the operator's configuration.
func ReadTopics(in *tomlfile.Reader, root *tomlfile.Node) []Topic {
	return (&reader{in}).durableTopics(root, math.MaxInt64)
}

func (r *reader) topicTables(root *tomlfile.Node) []*tomlfile.Node {
	n := root.Key("topic")
	if n == nil || n.Kind != unstable.Array {
		return nil
	}
	return n.Items
}

// durableTopics returns the topics that set `durable`.
func (r *reader) durableTopics(root *tomlfile.Node, maxBytes int64) []Topic {
	var all []Topic
	seen := map[string]bool{}
	for _, t := range r.Nodes(root, "topic", unstable.Table) {
		ignored(t, t.Names()...) // the others are astrid-capsule's, which warns of none
		if t.Key("durable") == nil {
			if keep := t.Key("keep"); keep != nil {
				r.Wrong(keep, "has no effect: the topic is not durable")
			}
			continue
		}
		topic := Topic{Durable: r.Flag(t, "durable")}
		topic.Age, topic.Bytes = r.keep(t, maxBytes)
		name := r.Required(t, "name", "it says which topic is durable")
		if name == nil {
			continue
		}
		topic.Name = name.Text
		switch problem := DurableTopicProblem(topic.Name); {
		case problem != "":
			r.Wrong(name, "%s", problem)
		case seen[topic.Name]:
			r.Wrong(name, "is %q, and was declared before", topic.Name)
		}
		seen[topic.Name] = true
		all = append(all, topic)
	}
	return all
}

// DurableTopicProblem says why a topic can't be durable; "" if it can. Dead letters need
// room for a segment before it.
func DurableTopicProblem(name string) string {
	quoted := "is " + strconv.Quote(name) + ", and a durable topic "
	switch {
	case !capsulehost.ValidTopic(name):
		return quoted + "has no empty segment"
	case strings.ContainsAny(name, "*/"):
		return quoted + "is one topic, without * and /"
	case strings.HasPrefix(name, "astrid."):
		return quoted + "is none of the kernel's own, which begin with astrid."
	case strings.Count(name, ".")+1 >= capsulehost.MaxTopicSegments:
		return quoted + "has at most " + strconv.Itoa(capsulehost.MaxTopicSegments-1) + " segments"
	case len(name) > maxDurableName:
		return quoted + "has at most " + strconv.Itoa(maxDurableName) + " bytes"
	}
	return ""
}

// maxDurableName leaves room for the prefix of dead letters.
const maxDurableName = capsulehost.MaxTopicBytes - 16

// keep reads how long messages are kept, or how many bytes of them.
func (r *reader) keep(t *tomlfile.Node, maxBytes int64) (age time.Duration, bytes uint64) {
	n := t.Key("keep")
	switch {
	case n == nil:
	case n.Kind == unstable.Integer:
		if whole := r.Whole(t, "keep", 1, maxBytes); whole != nil {
			bytes = uint64(*whole) //nolint:gosec // positive
		}
	case r.Is(n, unstable.String):
		days, isDays := strings.CutSuffix(n.Text, "d")
		count, err := strconv.ParseUint(days, 10, 16)
		if isDays && err == nil && count > 0 {
			return time.Duration(count) * 24 * time.Hour, 0
		}
		age, err = time.ParseDuration(n.Text)
		if err != nil || age <= 0 {
			r.Wrong(n, `is %q, and must be a time span such as "7d" or "12h", or a number of bytes`, n.Text)
			return 0, 0
		}
	}
	return age, bytes
}
