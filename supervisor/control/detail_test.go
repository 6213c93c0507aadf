package control_test

import (
	"testing"

	"connectrpc.com/connect"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

// One capsule in detail, and its log, over the socket.
func TestCapsuleAndLogs(t *testing.T) {
	d := start(t, "all-seven")
	if _, err := d.client.Trigger(patiently(t), control.TriggerRequest{Topic: "test.all-seven"}); err != nil {
		t.Fatal(err)
	}
	detail, err := d.client.Capsule(patiently(t), "all-seven")
	if err != nil {
		t.Fatal(err)
	}
	if detail.Capsule.Calls != 1 || len(detail.RecentCalls) != 1 || len(detail.Log) == 0 {
		t.Errorf("detail %+v", detail)
	}
	read := func(id string, follow bool) (lines []messages.LogLine, err error) {
		for line, err := range d.client.Logs(patiently(t), id, 0, follow) {
			if err != nil {
				return nil, err
			}
			lines = append(lines, line)
			if follow {
				break
			}
		}
		return lines, nil
	}
	for _, follow := range []bool{false, true} {
		lines, err := read("all-seven", follow)
		if err != nil || len(lines) == 0 || lines[0].Sequence != 1 || lines[0].Message != detail.Log[0].Message {
			t.Errorf("follow %v: %v, %v", follow, lines, err)
		}
	}
	_, err = d.client.Capsule(patiently(t), "nobody")
	if connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("an unknown capsule: %v", err)
	}
	if _, err := read("nobody", false); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("an unknown capsule's log: %v", err)
	}
}
