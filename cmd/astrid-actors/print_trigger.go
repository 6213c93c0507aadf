package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/astrid-actors/astrid-actors/messages"
)

// triggerAnswer is what trigger --json prints.
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

// printTrigger prints a trigger's answer on one line. Whoever reads it at a
// terminal is told beside it what the line does not show.
func (a *app) printTrigger(reply *messages.TriggerReply, asJSON bool) error {
	if asJSON {
		return a.printJSON(triggerJSON(reply))
	}
	if err := a.print(reply.GetResponses() + "\n"); err != nil {
		return err
	}
	if isTerminal(a.stderr) {
		fmt.Fprint(a.stderr, triggerRemarks(reply))
	}
	return nil
}

func triggerJSON(reply *messages.TriggerReply) triggerAnswer {
	answer := triggerAnswer{
		Topic: reply.GetTopic(), Responses: json.RawMessage(reply.GetResponses()), Legs: make([]triggerLeg, 0, len(reply.GetLegs())),
	}
	for _, leg := range reply.GetLegs() {
		answer.Legs = append(answer.Legs, triggerLeg{
			Capsule: leg.GetCapsule(), Action: leg.GetAction(), Priority: leg.GetPriority(),
			Outcome: leg.GetOutcome().Word(), Value: json.RawMessage(leg.GetValue()), Reason: leg.GetReason(),
			Generation: leg.GetGeneration(), DurationUS: leg.GetDuration().AsDuration().Microseconds(),
		})
	}
	return answer
}

// triggerRemarks says which capsules gave no response, and why.
func triggerRemarks(reply *messages.TriggerReply) string {
	if len(reply.GetLegs()) == 0 {
		return fmt.Sprintf("hint: no capsule has an interceptor for %q\n", reply.GetTopic())
	}
	var b bytes.Buffer
	for _, leg := range reply.GetLegs() {
		if len(leg.GetValue()) > 0 {
			continue
		}
		fmt.Fprintf(&b, "%s (%s): %s", printable(leg.GetCapsule()), printable(leg.GetAction()), leg.GetOutcome().Word())
		if leg.GetReason() != "" {
			fmt.Fprintf(&b, ": %s", shortened(leg.GetReason(), 200))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// printJSON prints a value on one line, with the characters of its strings as
// they are.
func (a *app) printJSON(value any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return a.print(b.String())
}
