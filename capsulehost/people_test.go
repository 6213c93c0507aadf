package capsulehost

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// errand returns an instance of the capsule that makes calls for approvals, uplinks,
// sockets and processes.
func errand(t testing.TB, s Services) *Instance {
	t.Helper()
	return mustInstantiate(t, newHost(t, Config{}), fixture(t, "errand"), &world{services: s})
}

// approver answers each request in the same way, and records it.
type approver struct {
	answer Approval
	err    error
	asked  []ApprovalRequest
}

func (a *approver) RequestApproval(_ context.Context, r ApprovalRequest) (Approval, error) {
	a.asked = append(a.asked, r)
	return a.answer, a.err
}

func TestRequestApproval(t *testing.T) {
	a := &approver{answer: Approval{Approved: true, Decision: "approve_session"}}
	i := errand(t, Services{Approvals: a})
	request := func(action, resource, risk string) string {
		text, err := json.Marshal(map[string]string{"action": action, "resource": resource, "risk_level": risk})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got := ask(t, i, "approve", request(" git\u202e push\x07 ", "git push\norigin", strings.Repeat("r", 99))); got != `continue {"approved":true,"decision":"approve_session"}` {
		t.Errorf("approved: %s", got)
	}
	want := ApprovalRequest{Action: "git push", Resource: "git pushorigin", Risk: strings.Repeat("r", 64)}
	if len(a.asked) != 1 || a.asked[0] != want {
		t.Errorf("asked for %+v", a.asked)
	}
	if got := ask(t, errand(t, Services{}), "approve", request("a", "b", "low")); got != `continue {"approved":false,"decision":"deny"}` {
		t.Errorf("nobody is there: %s", got)
	}
	a.err = errors.New("the disk is full")
	for text, want := range map[string]string{
		request("a", "b", "low"):                     "the disk is full",
		request("", "b", "low"):                      "the action is empty",
		request("\x01 \u200b", "b", "low"):           "the action is empty",
		request(strings.Repeat("é", 257), "b", ""):   "the action has 257 characters, over the limit of 256",
		`{"action":"a","resource":"b"}`:              "missing field `risk_level`",
		`{"action":1,"resource":"","risk_level":""}`: "not a string",
		`[]`: "invalid approval request",
	} {
		if got := ask(t, errand(t, Services{Approvals: a}), "approve", text); !strings.HasPrefix(got, "error: ") || !strings.Contains(got, want) {
			t.Errorf("%.60s: %s, want %q", text, got, want)
		}
	}
}

// prompted answers questions, and records them.
type prompted struct {
	answer Answer
	err    error
	asked  []Question
}

func (p *prompted) Elicit(_ context.Context, q Question) (Answer, error) {
	p.asked = append(p.asked, q)
	return p.answer, p.err
}

func (p *prompted) HasSecret(_ context.Context, key string) (bool, error) {
	return key == "there", p.err
}

func TestElicit(t *testing.T) {
	p := &prompted{answer: Answer{Value: "b\"", Values: []string{"x", "y"}}}
	i := errand(t, Services{Prompts: p})
	for request, want := range map[string]string{
		`{"type":"text","key":"k","description":"d\u0007","options":null,"default":"z"}`: `continue {"value":"b\""}`,
		`{"type":"secret","key":"k"}`:                         `continue {"ok":true}`,
		`{"type":"array","key":"k"}`:                          `continue {"values":["x","y"]}`,
		`{"type":"select","key":"k","options":["a","b\""]}`:   `continue {"value":"b\""}`,
		`{"type":"text","key":"k","unknown":{"type":"deep"}}`: `continue {"value":"b\""}`,
	} {
		if got := ask(t, i, "elicit", request); got != want {
			t.Errorf("%s: %s", request, got)
		}
	}
	for _, q := range p.asked {
		if q.Key != "k" || strings.ContainsRune(q.Description, 7) {
			t.Errorf("asked for %+v", q)
		}
	}
	for request, want := range map[string]string{
		`{"type":"select","key":"k","options":["a","c"]}`:          `"b\"" is none of the options`,
		`{"type":"select","key":"k","options":[]}`:                 "non-empty options",
		`{"type":"select","key":"k"}`:                              "non-empty options",
		`{"type":"select","key":"k","options":["a\nb"]}`:           "control characters",
		`{"type":"select","key":"k","options":"a"}`:                "field `options` has the wrong type",
		`{"type":"checkbox","key":"k"}`:                            `unknown elicit type: "checkbox"`,
		`{"type":"text"}`:                                          "missing field",
		`{"type":"text","key":" "}`:                                "the key is empty",
		`{"type":"secret","key":"a:b"}`:                            "contains `:`",
		`{"type":"text","key":"` + strings.Repeat("k", 257) + `"}`: "over the limit of 256",
		`{"type":"select","key":"k","options":[` + strings.TrimRight(strings.Repeat(`"a",`, 101), ",") + `]}`: "over the limit of 100",
		`1`: "not a JSON object",
	} {
		if got := ask(t, errand(t, Services{Prompts: p}), "elicit", request); !strings.HasPrefix(got, "error: ") || !strings.Contains(got, want) {
			t.Errorf("%.60s: %s, want %q", request, got, want)
		}
	}
	for key, want := range map[string]string{"there": "true", "gone": "false"} {
		if got := ask(t, i, "has-secret", `{"key":"`+key+`"}`); got != `continue {"exists":`+want+`}` {
			t.Errorf("%s: %s", key, got)
		}
	}
}

// Outside of an installation nobody is asked.
func TestElicitOnlyInHooks(t *testing.T) {
	for action, request := range map[string]string{"elicit": `{"type":"text","key":"k"}`, "has-secret": `{"key":"k"}`} {
		if got := ask(t, errand(t, Services{}), action, request); !strings.Contains(got, "only while a capsule is installed or upgraded") {
			t.Errorf("%s: %s", action, got)
		}
	}
}
