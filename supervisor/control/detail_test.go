package control_test

import (
	"testing"

	"connectrpc.com/connect"

	"github.com/astrid-actors/astrid-actors/messages"
)

// One capsule closely, and its log, over the socket.
func TestCapsuleAndLogs(t *testing.T) {
	d := start(t, "all-seven")
	if _, err := d.client.Trigger(patiently(t), connect.NewRequest(&messages.TriggerRequest{Topic: "test.all-seven"})); err != nil {
		t.Fatal(err)
	}
	detail, err := d.client.Capsule(patiently(t), connect.NewRequest(&messages.CapsuleRequest{Id: "all-seven"}))
	if err != nil {
		t.Fatal(err)
	}
	if got := detail.Msg; got.Capsule.Calls != 1 || len(got.RecentCalls) != 1 || len(got.Log) == 0 {
		t.Errorf("detail %v", got)
	}
	read := func(r *messages.LogsRequest) (lines []messages.LogLine, err error) {
		stream, err := d.client.Logs(patiently(t), connect.NewRequest(r))
		if err != nil {
			return nil, err
		}
		defer stream.Close()
		for stream.Receive() {
			lines = append(lines, stream.Msg())
			if r.Follow {
				break
			}
		}
		return lines, stream.Err()
	}
	for _, follow := range []bool{false, true} {
		lines, err := read(&messages.LogsRequest{Id: "all-seven", Follow: follow})
		if err != nil || len(lines) == 0 || lines[0].Sequence != 1 || lines[0].Message != detail.Msg.Log[0].Message {
			t.Errorf("follow %v: %v, %v", follow, lines, err)
		}
	}
	_, err = d.client.Capsule(patiently(t), connect.NewRequest(&messages.CapsuleRequest{Id: "nobody"}))
	if connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("an unknown capsule: %v", err)
	}
	if _, err := read(&messages.LogsRequest{Id: "nobody"}); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("an unknown capsule's log: %v", err)
	}
}
