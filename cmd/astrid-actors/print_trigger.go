package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/astrid-actors/astrid-actors/messages"
)

// triggerAnswer is the output of trigger --json.
type triggerAnswer struct {
	Topic     string          `json:"topic"`
	Responses json.RawMessage `json:"responses"`
	Legs      []triggerLeg    `json:"legs"`
}

type triggerLeg struct {
	Capsule    string          `json:"capsule"`
	Action     string          `json:"action"`
	Priority   uint32          `json:"priority"`
	Outcome    string          `json:"outcome"`
	Value      json.RawMessage `json:"value,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	Generation uint64          `json:"generation"`
	DurationUS int64           `json:"duration_us"`
}

// printTrigger prints a trigger's responses on one line. What the line does not show goes to
// the standard error: that no capsule listens, and unless fail reports them, the legs that
// failed. At a terminal these are also the legs without an answer.
func (a *app) printTrigger(reply *messages.Reply, fail bool) error {
	if err := a.print(string(reply.Responses) + "\n"); err != nil {
		return err
	}
	if len(reply.Legs) == 0 {
		fmt.Fprintf(a.stderr, "note: no capsule has an interceptor for %q; `astrid-actors topics` lists them\n", reply.Topic)
		return nil
	}
	fmt.Fprint(a.stderr, triggerNotes(reply, func(o messages.Outcome) bool {
		return o == messages.OutcomeEmpty && isTerminal(a.stderr) || failed(o) && !fail
	}))
	return nil
}

// failed reports whether an outcome is no answer.
func failed(o messages.Outcome) bool {
	switch o {
	case messages.OutcomeContinue, messages.OutcomeFinal, messages.OutcomeEmpty:
		return false
	default:
		return true
	}
}

// failedLegs returns an error that names the legs of a reply that failed; nil if none did.
func failedLegs(reply *messages.Reply) error {
	var problems []error
	for i := range reply.Legs {
		if leg := &reply.Legs[i]; failed(leg.Outcome) {
			problems = append(problems, errors.New(legText(leg)))
		}
	}
	return errors.Join(problems...)
}

// legText describes a leg without a value: "greeter (greet): crashed: trap in ...".
func legText(leg *messages.Leg) string {
	text := fmt.Sprintf("%s (%s): %s", printable(leg.Capsule), printable(leg.Action), leg.Outcome)
	if leg.Reason != "" {
		text += ": " + shortened(leg.Reason, 200)
	}
	return text
}

func triggerJSON(reply *messages.Reply) triggerAnswer {
	answer := triggerAnswer{
		Topic: reply.Topic, Responses: reply.Responses, Legs: make([]triggerLeg, 0, len(reply.Legs)),
	}
	for _, leg := range reply.Legs {
		answer.Legs = append(answer.Legs, triggerLeg{
			Capsule: leg.Capsule, Action: leg.Action, Priority: leg.Priority,
			Outcome: leg.Outcome.String(), Value: leg.Value, Reason: leg.Reason,
			Generation: leg.Generation, DurationUS: leg.Duration.Microseconds(),
		})
	}
	return answer
}

// notesShown is how many legs are noted one by one.
const notesShown = 10

// triggerNotes lists the first legs with certain outcomes, and the reasons.
func triggerNotes(reply *messages.Reply, noted func(messages.Outcome) bool) string {
	var b strings.Builder
	n := 0
	for i := range reply.Legs {
		leg := &reply.Legs[i]
		if !noted(leg.Outcome) {
			continue
		}
		if n++; n <= notesShown {
			fmt.Fprintf(&b, "note: %s\n", legText(leg))
		}
	}
	if n > notesShown {
		fmt.Fprintf(&b, "note: and %d more; --json shows all\n", n-notesShown)
	}
	return b.String()
}

// printJSON prints a value on one line, without escaping HTML.
func (a *app) printJSON(value any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return a.print(b.String())
}
