package main

import (
	"bytes"
	"encoding/json"
	"fmt"

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

// printTrigger prints a trigger's reply on one line. At a terminal it also prints, on
// the standard error, the legs that the line does not show.
func (a *app) printTrigger(reply *messages.Reply, asJSON bool) error {
	if asJSON {
		return a.printJSON(triggerJSON(reply))
	}
	if err := a.print(string(reply.Responses) + "\n"); err != nil {
		return err
	}
	if isTerminal(a.stderr) {
		fmt.Fprint(a.stderr, triggerRemarks(reply))
	}
	return nil
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
	if len(reply.Legs) == 0 {
		return fmt.Sprintf("hint: no capsule has an interceptor for %q\n", reply.Topic)
	}
	var b bytes.Buffer
	for _, leg := range reply.Legs {
		if len(leg.Value) > 0 {
			continue
		}
		fmt.Fprintf(&b, "%s (%s): %s", printable(leg.Capsule), printable(leg.Action), leg.Outcome)
		if leg.Reason != "" {
			fmt.Fprintf(&b, ": %s", shortened(leg.Reason, 200))
		}
		b.WriteByte('\n')
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
