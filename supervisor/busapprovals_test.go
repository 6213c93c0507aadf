package supervisor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

const responses = "astrid.v1.approval.response."

// answering publishes the answer that its payload has, as a front end does.
func answering(id string, uplink bool) supervisor.Capsule {
	c := supervisortest.Func(id, id, func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		var answer struct{ ID, Decision string }
		if err := json.Unmarshal(c.Payload, &answer); err != nil {
			return capsulehost.Result{}, err
		}
		return capsulehost.Result{}, respond(ctx, c, answer.ID, answer.Decision)
	})
	c.Manifest += fmt.Sprintf("[capabilities]\nuplink = %t\nipc_publish = [\"astrid.v1.approval.response.*\"]\n", uplink)
	return c
}

func respond(ctx context.Context, c *supervisortest.Call, id, decision string) error {
	payload, err := capsulehost.ParsePayload(response(id, decision))
	if err != nil {
		return err
	}
	return c.Services().Bus.Publish(ctx, responses+id, payload)
}

func response(id, decision string) []byte {
	return fmt.Appendf(nil, `{"type":"approval_response","request_id":%q,"decision":%q}`, id, decision)
}

// asking asks for approval of its payload, and then approves itself, which does not count.
func asking() supervisor.Capsule {
	c := supervisortest.Func("asker", "ask", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		bus := c.Services().Bus
		announced, err := bus.Subscribe("astrid.v1.approval")
		if err != nil {
			return capsulehost.Result{}, err
		}
		answers := make(chan capsulehost.Approval, 1)
		go func() {
			a, err := c.Services().Approvals.RequestApproval(ctx, capsulehost.ApprovalRequest{Action: "push", Resource: string(c.Payload), Risk: "high", Principal: "ada"})
			if err != nil {
				a.Decision = err.Error()
			}
			answers <- a
		}()
		for {
			batch, err := bus.Receive(ctx, announced, 5*time.Millisecond)
			if err != nil {
				return capsulehost.Result{}, err
			}
			for _, m := range batch.Messages {
				var asked struct {
					ID string `json:"request_id"`
				}
				if err := json.Unmarshal(m.Payload.Bytes(), &asked); err != nil {
					return capsulehost.Result{}, err
				}
				if err := respond(ctx, c, asked.ID, "approve_always"); err != nil {
					return capsulehost.Result{}, err
				}
			}
			select {
			case a := <-answers:
				return supervisortest.JSON(a.Decision)
			default:
			}
		}
	})
	c.Manifest += "[capabilities]\nuplink = true\nipc_publish = [\"astrid.v1.approval.response.*\"]\nipc_subscribe = [\"astrid.v1.approval\"]\n"
	return c
}

// A front end learns of a request on the bus, and answers it there. What does not come from
// a person does not count.
func TestApprovalsOverTheBus(t *testing.T) {
	t.Parallel()
	sys := supervisortest.Start(t, supervisor.Config{}, asking(), answering("front", true), answering("other", false))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	announced := sys.Subscribe(ctx, "astrid.v1.approval")
	steps := []struct {
		resource, from, decision, want string
	}{
		{"one", "front", "deny", "deny"},
		{"one", "front", "perhaps", "deny"},
		{"one", "outside", "approve", "approve"},
		{"one", "front for ada", "approve_session", "approve_session"},
	}
	answers := make(chan *supervisor.Reply, 1)
	begin := func() {
		go func() {
			reply, err := sys.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "ask", Payload: []byte(`"one"`)})
			if err != nil {
				t.Error(err)
			}
			answers <- reply
		}()
	}
	answer := func(from, id, decision string) {
		payload := fmt.Appendf(nil, `{"id":%q,"decision":%q}`, id, decision)
		capsule, principal, _ := strings.Cut(from, " for ")
		reply, err := sys.Trigger(t.Context(), supervisor.TriggerRequest{Topic: capsule, Payload: payload, Caller: &supervisor.Caller{Principal: principal}})
		if err != nil || reply.Legs[0].Reason != "" {
			t.Fatalf("%s: %+v, %v", from, reply, err)
		}
	}
	begin()
	for m, err := range announced {
		if err != nil {
			t.Fatal(err)
		}
		var asked map[string]string
		if err := json.Unmarshal(m.Payload, &asked); err != nil || m.SourceID != "00000000-0000-0000-0000-000000000000" {
			t.Fatalf("%+v, %v", m, err)
		}
		id := asked["request_id"]
		if asked["type"] != "approval_required" || asked["action"] != "push" || asked["resource"] != `"one"` || asked["risk_level"] != "high" || !strings.Contains(asked["reason"], "asker") {
			t.Errorf("announced: %v", asked)
		}
		// None of these counts.
		answer("other", id, "approve_always")
		answer("front for mallory", id, "approve_always")
		for _, payload := range []string{`{"decision":"approve_always"}`, `"approve_always"`, `null`} {
			if err := sys.Publish(t.Context(), responses+id, json.RawMessage(payload), nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := sys.Publish(t.Context(), responses+"elsewhere", response("elsewhere", "approve_always"), nil); err != nil {
			t.Fatal(err)
		}
		if err := sys.Publish(t.Context(), responses+id, response(id, "approve_always"), &supervisor.Caller{SourceID: "11111111-2222-3333-4444-555555555555"}); err != nil {
			t.Fatal(err)
		}
		step := steps[0]
		if step.from == "outside" {
			if err := sys.Publish(t.Context(), responses+id, response(id, step.decision), nil); err != nil {
				t.Fatal(err)
			}
		} else {
			answer(step.from, id, step.decision)
		}
		if reply := <-answers; string(reply.Legs[0].Value) != `"`+step.want+`"` {
			t.Fatalf("%s says %s: the capsule has %s%s", step.from, step.decision, reply.Legs[0].Value, reply.Legs[0].Reason)
		}
		if steps = steps[1:]; len(steps) == 0 {
			break
		}
		begin()
	}
	if len(steps) > 0 {
		t.Fatalf("nothing was announced; the capsule has %+v", (<-answers).Legs)
	}
	sys.Expect("ask", `"one"`, `asker continue "allowance"`)
	if got := strings.Join(sys.Timeline("asker"), "\n"); !strings.Contains(got, "approve: a person, on the bus") || !strings.Contains(got, "approve_session: a person, through capsule front") {
		t.Errorf("the timeline is\n%s", got)
	}
}
