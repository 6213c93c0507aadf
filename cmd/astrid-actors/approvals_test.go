package main

import (
	"bufio"
	"encoding/json"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptDecide waits for a request for an approval, and answers it.
func scriptDecide(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: decide approve|deny [FLAG...]")
	}
	watch := command(ts, "approvals", "--watch", "--json")
	output, err := watch.StdoutPipe()
	ts.Check(err)
	ts.Check(watch.Start())
	line, err := bufio.NewReader(output).ReadBytes('\n')
	_ = watch.Process.Kill()
	_ = watch.Wait()
	ts.Check(err)
	var asked struct{ ID, Capsule, Action, Expires string }
	ts.Check(json.Unmarshal(line, &asked))
	if asked.ID == "" || asked.Capsule == "" || asked.Action == "" || asked.Expires == "" {
		ts.Fatalf("approvals --watch --json has printed %s", line)
	}
	ts.Check(ts.Exec("astrid-actors", append(args, asked.ID)...))
}
