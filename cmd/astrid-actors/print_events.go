package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/astrid-actors/astrid-actors/messages"
)

// printEvent prints one event as one line.
func (a *app) printEvent(e *messages.Event, asJSON bool) error {
	if asJSON {
		line, err := eventJSON(e)
		if err != nil {
			return fmt.Errorf("write event %d: %w", e.GetSequence(), err)
		}
		return a.print(line + "\n")
	}
	return a.print(eventText(e) + "\n")
}

// eventText is an event as a person reads it.
func eventText(e *messages.Event) string {
	whom := e.GetPath()
	if whom == "" {
		whom = "system"
	}
	if e.GetGeneration() > 0 {
		whom = fmt.Sprintf("%s #%d", whom, e.GetGeneration())
	}
	return fmt.Sprintf("%5d  %s  %-24s  %s", e.GetSequence(),
		e.GetAt().AsTime().Local().Format("15:04:05.000"), printable(whom), printable(eventWhat(e)))
}

func eventWhat(e *messages.Event) string {
	because := func(what, cause string) string {
		if cause == "" {
			return what
		}
		return what + ": " + cause
	}
	switch what := e.GetWhat().(type) {
	case *messages.Event_SystemStarted:
		return fmt.Sprintf("started, capsules: %d", what.SystemStarted.GetCapsules())
	case *messages.Event_SystemStopping:
		return because("stopping", what.SystemStopping.GetCause())
	case *messages.Event_SystemStopped:
		return because("stopped", strings.Join(what.SystemStopped.GetLeftRunning(), ", "))
	case *messages.Event_ActorRestarted:
		return because("an actor of the system failed and was restarted", what.ActorRestarted.GetCause())
	case *messages.Event_CapsuleRejected:
		r := what.CapsuleRejected
		return fmt.Sprintf("rejected: %s: %s", r.GetDirectory(), r.GetProblem())
	case *messages.Event_CapsuleLoading:
		return "loading version " + what.CapsuleLoading.GetVersion()
	case *messages.Event_CapsuleStarting:
		return "starting: it has not signalled yet"
	case *messages.Event_CapsuleReady:
		return "ready after " + duration(what.CapsuleReady.GetTook().AsDuration())
	case *messages.Event_ReadinessTimedOut:
		return fmt.Sprintf("has not signalled for %s: the others start without it",
			duration(what.ReadinessTimedOut.GetWaited().AsDuration()))
	case *messages.Event_CapsuleCrashed:
		c := what.CapsuleCrashed
		return fmt.Sprintf("crashed (%s): %s", c.GetDuring(), c.GetFailure().GetMessage())
	case *messages.Event_RestartScheduled:
		r := what.RestartScheduled
		when := "now"
		if d := r.GetDelay().AsDuration(); d > 0 {
			when = "in " + duration(d)
		}
		return fmt.Sprintf("restarts %s: %s; restarts spent: %d/%d in %s", when, r.GetCause(),
			r.GetBudgetSpent(), r.GetBudget(), duration(r.GetWindow().AsDuration()))
	case *messages.Event_CapsuleFailed:
		f := what.CapsuleFailed
		return fmt.Sprintf("failed for good: %s: %s", f.GetDecision(), f.GetFailure().GetMessage())
	case *messages.Event_CapsuleStopping:
		return because("stopping", what.CapsuleStopping.GetCause())
	case *messages.Event_CapsuleStopped:
		return because("stopped", what.CapsuleStopped.GetCause())
	case *messages.Event_EventsLost:
		return fmt.Sprintf("events that are not kept any more: %d", what.EventsLost.GetCount())
	}
	return "an event that this version does not know"
}

// eventJSON is an event as one flat JSON object: who and when, the event's name,
// and the fields of what happened under the names that event.proto gives them;
// a duration's name ends in _ms.
func eventJSON(e *messages.Event) (string, error) {
	var o object
	o.add("sequence", e.GetSequence())
	o.add("at", e.GetAt().AsTime())
	o.add("path", e.GetPath())
	o.add("generation", e.GetGeneration())
	m := e.ProtoReflect()
	if field := m.WhichOneof(m.Descriptor().Oneofs().ByName("what")); field != nil {
		o.add("event", string(field.Name()))
		o.addFields(m.Get(field).Message())
	}
	return o.close()
}

// object is a JSON object in the making, whose fields keep their order.
type object struct {
	text bytes.Buffer
	err  error
}

func (o *object) add(name string, value any) {
	separator := byte(',')
	if o.text.Len() == 0 {
		separator = '{'
	}
	o.text.WriteByte(separator)
	fmt.Fprintf(&o.text, "%q:", name)
	encoder := json.NewEncoder(&o.text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil && o.err == nil {
		o.err = err
	}
	o.text.Truncate(o.text.Len() - len("\n"))
}

func (o *object) close() (string, error) {
	if o.text.Len() == 0 {
		return "{}", o.err
	}
	return o.text.String() + "}", o.err
}

// addFields adds all fields of a message, also those that are empty.
func (o *object) addFields(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		name, value := string(field.Name()), m.Get(field)
		switch {
		case field.IsList():
			list := make([]any, value.List().Len())
			for j := range list {
				list[j] = value.List().Get(j).Interface()
			}
			o.add(name, list)
		case field.Message() == nil:
			o.add(name, value.Interface())
		default:
			o.addMessage(name, value.Message())
		}
	}
}

func (o *object) addMessage(name string, m protoreflect.Message) {
	switch inner := m.Interface().(type) {
	case *durationpb.Duration:
		o.add(name+"_ms", float64(inner.AsDuration())/float64(time.Millisecond))
	case *timestamppb.Timestamp:
		if !m.IsValid() {
			o.add(name, nil)
			return
		}
		o.add(name, inner.AsTime())
	default:
		if !m.IsValid() {
			o.add(name, nil)
			return
		}
		var nested object
		nested.addFields(m)
		text, err := nested.close()
		if o.err == nil {
			o.err = err
		}
		o.add(name, json.RawMessage(text))
	}
}
