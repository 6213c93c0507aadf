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

// printTrigger prints a trigger's reply on one line. On the standard error it notes that no
// capsule listens and, at a terminal, the legs that the line does not show.
func (a *app) printTrigger(reply *messages.Reply, asJSON bool) error {
	if asJSON {
		return a.printJSON(triggerJSON(reply))
	}
	if err := a.print(string(reply.Responses) + "\n"); err != nil {
		return err
	}
	switch {
	case len(reply.Legs) == 0:
		fmt.Fprintf(a.stderr, "note: no capsule has an interceptor for %q; `astrid-actors topics` lists them\n", reply.Topic)
	case isTerminal(a.stderr):
		fmt.Fprint(a.stderr, triggerRemarks(reply))
	}
	return nil
}

// failedLegs returns an error that names the legs of a reply that are no answer; nil if all
// are: continue, final or empty.
func failedLegs(reply *messages.Reply) error {
	var failed []error
	for i := range reply.Legs {
		switch leg := &reply.Legs[i]; leg.Outcome {
		case messages.OutcomeContinue, messages.OutcomeFinal, messages.OutcomeEmpty:
		default:
			failed = append(failed, errors.New(legText(leg)))
		}
	}
	return errors.Join(failed...)
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

// triggerRemarks lists the capsules that gave no response, and the reasons.
func triggerRemarks(reply *messages.Reply) string {
	var b strings.Builder
	for i := range reply.Legs {
		if leg := &reply.Legs[i]; len(leg.Value) == 0 {
			b.WriteString(legText(leg) + "\n")
		}
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
