package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// Limits of the event bus, per capsule unless it says otherwise.
const (
	// MaxSubscriptions includes those of a run loop's interceptors.
	MaxSubscriptions = 128
	// MaxPublishedPerSecond is in bytes of payload, of one instance.
	MaxPublishedPerSecond = 10 << 20
	// MaxBatchBytes is the size of all payloads that one poll returns.
	MaxBatchBytes = 10 << 20
	// MaxReceiveWait is how long astrid_ipc_recv waits at most.
	MaxReceiveWait = 60 * time.Second

	maxBusNumber = 32 // bytes of a handle or a time-out, in digits
)

// Bus gives a guest the event bus. The methods are called on the goroutine that runs the
// guest; an error traps it.
type Bus interface {
	// Grants returns the patterns of the topics that the capsule may publish and
	// subscribe to. None means none.
	Grants() (publish, subscribe []string)

	// Publish delivers a message, and does not wait for its receivers.
	Publish(ctx context.Context, topic string, payload Payload) error

	// Subscribe returns the handle of a new subscription. The pattern is well formed, and
	// granted.
	Subscribe(pattern string) (handle uint64, err error)

	// Unsubscribe ends a subscription. Those of interceptors can't be ended.
	Unsubscribe(handle uint64) error

	// Receive returns what a subscription has, or waits for the next message. With none
	// after wait, the batch is empty. It returns early when ctx ends.
	Receive(ctx context.Context, handle uint64, wait time.Duration) (Batch, error)

	// Interceptors returns the subscriptions that stand for a run loop's interceptors.
	Interceptors() []InterceptorHandle
}

// InterceptorHandle is a subscription that stands for an interceptor of a run loop.
type InterceptorHandle struct {
	Handle uint64
	Action string
	Topic  string // the interceptor's pattern
}

// errNoBus is for a guest without a bus: it has no subscription either.
var errNoBus = errors.New("this capsule has no event bus")

// busCalls are the functions of the event bus, in `extism:host/user`.
var busCalls = []hostFunction{
	{"astrid_ipc_publish", []api.ValueType{i64, i64}, nil, astridIPCPublish},
	{"astrid_ipc_subscribe", []api.ValueType{i64}, []api.ValueType{i64}, astridIPCSubscribe},
	{"astrid_ipc_unsubscribe", []api.ValueType{i64}, nil, astridIPCUnsubscribe},
	{"astrid_ipc_poll", []api.ValueType{i64}, []api.ValueType{i64}, astridIPCPoll},
	{"astrid_ipc_recv", []api.ValueType{i64, i64}, []api.ValueType{i64}, astridIPCRecv},
	{"astrid_get_interceptor_handles", nil, []api.ValueType{i64}, astridGetInterceptorHandles},
}

func astridIPCPublish(_ context.Context, i *Instance, stack []uint64) error {
	if n, ok := i.kernel.Length(stack[0]); ok && n > MaxTopicBytes {
		return fmt.Errorf("topic of %d bytes is over the limit of %d", n, MaxTopicBytes)
	}
	size, ok := i.kernel.Length(stack[1])
	if !ok {
		return fmt.Errorf("payload: offset %d is not the start of a block", stack[1])
	}
	if err := i.sent.add(size, time.Now()); err != nil {
		return err
	}
	topic, err := i.bytes("topic", stack[0], MaxTopicBytes)
	if err != nil {
		return err
	}
	bus := i.services().Bus
	if err := CheckPublish(bus, string(topic)); err != nil {
		return err
	}
	text, err := i.bytes("payload", stack[1], MaxBusPayload)
	if err != nil {
		return err
	}
	payload, err := ParsePayload(text)
	if err != nil {
		return fmt.Errorf("payload for topic %q is not JSON: %w", topic, err)
	}
	i.outside(func() { err = bus.Publish(i.ctx, string(topic), payload) })
	return err
}

func astridIPCSubscribe(_ context.Context, i *Instance, stack []uint64) error {
	pattern, err := i.bytes("topic pattern", stack[0], MaxTopicBytes)
	if err != nil {
		return err
	}
	bus := i.services().Bus
	if err := CheckSubscribe(bus, string(pattern)); err != nil {
		return err
	}
	handle, err := bus.Subscribe(string(pattern))
	if err != nil {
		return err
	}
	return i.answer(stack, strconv.FormatUint(handle, 10))
}

func astridIPCUnsubscribe(_ context.Context, i *Instance, stack []uint64) error {
	handle, err := i.number("subscription handle", stack[0])
	if err != nil {
		return err
	}
	bus := i.services().Bus
	if bus == nil {
		return errNoBus
	}
	return bus.Unsubscribe(handle)
}

func astridIPCPoll(_ context.Context, i *Instance, stack []uint64) error {
	handle, err := i.number("subscription handle", stack[0])
	if err != nil {
		return err
	}
	return i.receive(stack, handle, 0)
}

func astridIPCRecv(_ context.Context, i *Instance, stack []uint64) error {
	handle, err := i.number("subscription handle", stack[0])
	if err != nil {
		return err
	}
	milliseconds, err := i.number("time-out", stack[1])
	if err != nil {
		return err
	}
	limit := uint64(MaxReceiveWait / time.Millisecond)
	return i.receive(stack, handle, time.Duration(min(milliseconds, limit))*time.Millisecond)
}

// receive answers with the envelope of a subscription.
func (i *Instance) receive(stack []uint64, handle uint64, wait time.Duration) error {
	bus := i.services().Bus
	if bus == nil {
		return errNoBus
	}
	var batch Batch
	var err error
	receive := func() { batch, err = bus.Receive(i.ctx, handle, wait) }
	if wait > 0 {
		i.outside(receive)
	} else {
		receive()
	}
	if err != nil {
		return err
	}
	if wait > 0 && i.ctx.Err() != nil { // it was woken to end
		return context.Cause(i.ctx)
	}
	return i.answer(stack, string(batch.appendJSON(nil)))
}

func astridGetInterceptorHandles(_ context.Context, i *Instance, stack []uint64) error {
	var handles []InterceptorHandle
	if bus := i.services().Bus; bus != nil {
		handles = bus.Interceptors()
	}
	text := []byte{'['}
	for n, h := range handles {
		if n > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendUint(append(text, `{"handle_id":`...), h.Handle, 10)
		text = serdejson.AppendString(append(text, `,"action":`...), h.Action)
		text = serdejson.AppendString(append(text, `,"topic":`...), h.Topic)
		text = append(text, '}')
	}
	return i.answer(stack, string(append(text, ']')))
}

// number reads an argument in decimal digits.
func (i *Instance) number(what string, offset uint64) (uint64, error) {
	b, err := i.bytes(what, offset, maxBusNumber)
	if err != nil {
		return 0, err
	}
	digits := string(b)
	if len(b) > 1 {
		digits = strings.TrimPrefix(digits, "+")
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s %q is not a number of 64 bits", what, b)
	}
	return n, nil
}

// CheckPublish reports why a guest with that bus may not publish to a topic; nil if it
// may.
func CheckPublish(bus Bus, topic string) error {
	if err := CheckTopic(topic); err != nil {
		return err
	}
	var granted []string
	if bus != nil {
		granted, _ = bus.Grants()
	}
	return allowed("publish", topic, granted)
}

// CheckSubscribe reports why a guest with that bus may not subscribe to a pattern; nil if
// it may.
func CheckSubscribe(bus Bus, pattern string) error {
	if err := CheckPattern(pattern); err != nil {
		return err
	}
	var granted []string
	if bus != nil {
		_, granted = bus.Grants()
	}
	return allowed("subscribe", pattern, granted)
}

// CheckTopic reports why nobody can publish to a topic; nil if it is well formed.
func CheckTopic(topic string) error {
	if isPlainTopic(topic) {
		return nil
	}
	if err := checkForm("topic", topic); err != nil {
		return err
	}
	return checkDepth("topic", topic)
}

// CheckPattern reports why nobody can subscribe to a pattern; nil if it is well formed.
func CheckPattern(pattern string) error {
	if err := checkForm("topic pattern", pattern); err != nil {
		return err
	}
	segments := strings.Split(pattern, ".")
	if at := slices.Index(segments, "*"); at >= 0 && at < len(segments)-1 {
		return fmt.Errorf("topic pattern %q: `*` may only be its last segment", pattern)
	}
	return checkDepth("topic pattern", pattern)
}

func checkForm(what, topic string) error {
	switch {
	case len(topic) > MaxTopicBytes:
		return fmt.Errorf("%s of %d bytes is over the limit of %d", what, len(topic), MaxTopicBytes)
	case !utf8.ValidString(topic):
		return fmt.Errorf("%s %q is not UTF-8", what, topic)
	case !ValidTopic(topic):
		return fmt.Errorf("%s %q has an empty segment", what, topic)
	}
	return nil
}

func checkDepth(what, topic string) error {
	if n := strings.Count(topic, ".") + 1; n > MaxTopicSegments {
		return fmt.Errorf("%s %q has %d segments, over the limit of %d", what, topic, n, MaxTopicSegments)
	}
	return nil
}

// allowed checks a topic against the patterns that are granted. Of a subscription it is
// the pattern: `a.*` needs a grant of `a.*`, and none of `a.b` allows it.
func allowed(verb, topic string, granted []string) error {
	for _, pattern := range granted {
		if TopicMatches(topic, pattern) {
			return nil
		}
	}
	if len(granted) == 0 {
		return fmt.Errorf("may not %s to %q: the manifest grants no `ipc_%s`", verb, topic, verb)
	}
	return fmt.Errorf("may not %s to %q: the manifest's `ipc_%s` grants %q", verb, topic, verb, granted)
}

// publishRate counts the bytes that one instance publishes, in windows of one second.
type publishRate struct {
	since time.Time
	bytes uint64
}

// add counts a payload, or refuses it.
func (r *publishRate) add(size uint64, now time.Time) error {
	if size > MaxBusPayload {
		return fmt.Errorf("payload of %d bytes is over the limit of %d", size, MaxBusPayload)
	}
	if r.since.IsZero() || now.Sub(r.since) >= time.Second {
		r.since, r.bytes = now, 0
	}
	if r.bytes+size > MaxPublishedPerSecond {
		return fmt.Errorf("payload of %d bytes: with %d before it in this second, that is over the limit of %d bytes a second",
			size, r.bytes, MaxPublishedPerSecond)
	}
	r.bytes += size
	return nil
}
