package supervisor

import (
	"cmp"
	"fmt"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/topiclog"
)

// Topic says of a topic whether it is durable, and what it keeps.
type Topic = manifest.Topic

// What a durable topic keeps if nothing else is said.
const (
	defaultTopicAge   = 7 * 24 * time.Hour
	defaultTopicBytes = 1 << 30
)

// declareTopics makes the topics durable that the operator or a manifest declares. It is
// called whenever a manifest has come, changed or gone.
func (t *tree) declareTopics() {
	t.declaring.Lock() // the set that was read last is declared last
	defer t.declaring.Unlock()
	declared := map[string]topiclog.Keep{}
	decided := map[string]bool{}
	declare := func(topics []Topic) {
		for _, topic := range topics {
			if decided[topic.Name] {
				continue // the first one counts
			}
			decided[topic.Name] = true
			if topic.Durable {
				declared[topic.Name] = keepOf(topic)
			}
		}
	}
	declare(*t.cfg.overrides.topics.Load())
	for _, e := range t.owner.entriesNow() { // in start order
		declare(e.Manifest.Topics)
	}
	t.topics.Declare(declared)
	t.bus.TopicsChanged()
}

// keepOf returns what a topic keeps: as long as it says, as much as it says, or both
// defaults.
func keepOf(topic Topic) topiclog.Keep {
	keep := topiclog.Keep{Age: topic.Age, Bytes: cmp.Or(topic.Bytes, defaultTopicBytes)}
	if topic.Age == 0 && topic.Bytes == 0 {
		keep.Age = defaultTopicAge
	}
	return keep
}

// topicProblems returns what is wrong with the operator's topics.
func topicProblems(topics []Topic) (found []error) {
	seen := map[string]bool{}
	for _, topic := range topics {
		if problem := manifest.DurableTopicProblem(topic.Name); problem != "" {
			found = append(found, fmt.Errorf("config: the name of a topic %s", problem))
		}
		if topic.Age < 0 {
			found = append(found, fmt.Errorf("config: topic %q keeps %v: it can't be negative", topic.Name, topic.Age))
		}
		if seen[topic.Name] {
			found = append(found, fmt.Errorf("config: topic %q is there twice", topic.Name))
		}
		seen[topic.Name] = true
	}
	return found
}

// ShowBus fills the subscriptions and the durable topics into a snapshot.
func (t *tree) ShowBus(b *messages.Bus) {
	t.bus.Show(b)
	t.topics.Show(b)
}
